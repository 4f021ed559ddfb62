"""A loss written in NumPy: the engine's blocks of rows are handed to a Python function."""
from libc.string cimport memcpy, memset

from ldl_cy._engine.loss cimport Loss, LossKernel

import numpy as np


cdef object copied(const void *source, tuple shape, str dtype):
    """A copy, since a user's function may keep the array."""
    array = np.empty(shape, dtype)
    memcpy(<void*><size_t>array.ctypes.data, source, array.nbytes)
    return array


cdef double call_back(const Loss *s, Py_ssize_t n, const void *y, const void *t, const void *w, double scale,
                      void *dy) noexcept nogil:
    cdef double total = 0
    with gil:
        try:
            total = (<CustomKernel>s.kernel).call(s, n, y, t, w, scale, dy)
        except BaseException as error:
            s.fail(s.owner, error)
    return total


cdef class CustomKernel(LossKernel):
    """The kernel of ``losses.Custom``.

    Parameters
    ----------
    fn : callable
        (y_pred, y) -> (loss per sample, gradient): float64 (n,), and (n, *output_shape) in ``dtype``
    dtype : str
    y_shape, output_shape : tuple of ints
        Shapes of a sample's target and output.
    scale : float
    """
    cdef object fn
    cdef tuple y_shape, output_shape

    def __init__(self, fn, str dtype, tuple y_shape, tuple output_shape, double scale):
        cdef Loss *s = &self.loss
        self.fn, self.y_shape, self.output_shape = fn, y_shape, output_shape
        self.name, self.dtype, self.python = "custom", dtype, True
        # the function knows the shape of the output: here it is one vector
        s.steps, s.k, s.target_size = 1, int(np.prod(output_shape)), int(np.prod(y_shape))
        s.scale, s.compute, s.kernel = scale, call_back, <void*>self

    cdef double call(self, const Loss *s, Py_ssize_t n, const void *y, const void *t, const void *w, double scale,
                     void *dy) except? -1:
        cdef Py_ssize_t item = 4 if self.dtype == "float32" else 8
        shape = (n, *self.output_shape)
        y_pred = copied(y, shape, self.dtype)
        if dy != NULL:
            memset(dy, 0, n * s.k * item)       # defined even where the function fails
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            losses, gradient = self.fn(y_pred, copied(t, (n, *self.y_shape), self.dtype))
            weights = np.ones(n) if w == NULL else copied(w, (n,), self.dtype)
            used = weights > 0                      # a loss without weight may be infinite
            if dy != NULL:
                change = np.zeros(shape, self.dtype)
                factor = (scale * s.scale * weights[used]).reshape(-1, *[1] * len(self.output_shape))
                change[used] = factor * gradient[used]
                memcpy(dy, <void*><size_t>change.ctypes.data, change.nbytes)
            return (weights[used] * losses[used]).sum() * s.scale
