"""A loss called alone from Python: how losses are tested. The engine copies the Loss struct and calls its pointer."""
from libc.string cimport memset

import numpy as np


cdef void keep_in_list(void *owner, object error) noexcept:
    (<list>owner).append(error)


cdef class LossKernel:
    """A loss filled for one dtype and one output shape."""

    def __cinit__(self, *args, **kwargs):
        memset(&self.loss, 0, sizeof(Loss))

    @property
    def target_size(self):
        return self.loss.target_size

    def __call__(self, y, t, w=None, double scale=1.0, *, str gradient="new"):
        """(sum_i w_i l_i, dy) for y (n, steps k), t (n, target_size): the loss alone, for tests.

        ``gradient`` is "new" (an array of its own), "in place" (over a copy of y) or "none".
        """
        cdef Loss loss = self.loss
        y = np.array(y, self.dtype, order="C")
        t = np.ascontiguousarray(t, self.dtype)
        n = y.size // (loss.steps * loss.k)
        if t.size != n * loss.target_size or (w is not None and np.size(w) != n):
            raise ValueError(f"LossKernel: y, t and w do not agree: {y.size}, {t.size}, {np.size(w)}.")
        dy = {"new": np.full_like(y, np.nan), "in place": y, "none": None}[gradient]
        w = None if w is None else np.ascontiguousarray(w, self.dtype)
        cdef size_t p_w = 0 if w is None else w.ctypes.data
        cdef size_t p_dy = 0 if dy is None else dy.ctypes.data
        errors = []
        loss.owner, loss.fail = <void*>errors, keep_in_list
        total = loss.compute(&loss, n, <void*><size_t>y.ctypes.data, <void*><size_t>t.ctypes.data,
                             <void*>p_w, scale, <void*>p_dy)
        if errors:
            raise errors[0]
        return total, dy
