"""Custom: a layer whose forward and backward passes are a user's Python functions on NumPy arrays.

The kernel takes the GIL and calls them; a program with such an op runs on the calling thread. An
exception is kept on the kernel and raises the stop flag; the engine raises it when the step has ended.
"""
from cython cimport floating
from libc.string cimport memcpy

from ldl_cy._engine.op cimport PYTHON, Call, Kernel, Op, backward_t, forward_t

import math

import numpy as np


cdef extern from "Python.h":
    object PyMemoryView_FromMemory(char *start, Py_ssize_t size, int flags)
    int PyBUF_WRITE


cdef object view(floating *p, Py_ssize_t size, shape):
    """A NumPy view of a buffer, which no user's function may see: the buffer ends before an array that is kept."""
    dtype = "float32" if floating is float else "float64"
    if size == 0:
        return np.zeros(shape, dtype)
    memory = PyMemoryView_FromMemory(<char*>p, size * <Py_ssize_t>sizeof(floating), PyBUF_WRITE)
    return np.frombuffer(memory, dtype).reshape(shape)


cdef object copied(const floating *p, Py_ssize_t size, shape):
    """A read-only copy of a buffer, for a user's function, which may keep it."""
    made = np.empty(shape, "float32" if floating is float else "float64")
    if size > 0:
        memcpy(<void*><size_t>made.ctypes.data, p, size * sizeof(floating))
    made.flags.writeable = False
    return made


cdef void keep(const Op *op, const Call *call, object error) noexcept:
    """Remember an exception and stop the run."""
    cdef Kernel kernel = <Kernel><void*><size_t>op.sizes[0]
    kernel.error = error
    if call.stop != NULL:
        (<int*>call.stop)[0] = 1


cdef void forward(
    const Op *op, const Call *call, const floating *theta, const floating *state, const floating *derived,
    const floating *x,          # (n, x_size)
    floating *y,                # (n, y_size)
    floating *cache, floating *scratch,
) noexcept nogil:
    with gil:
        kernel = <Kernel><void*><size_t>op.sizes[0]
        try:
            layer = kernel.config["layer"]
            out = view(y, call.n * op.y_size, (call.n, *kernel.config["output_shape"]))
            out[...] = 0        # defined even where the function fails
            layer.run_forward(
                kernel.config["parameters"], copied(theta, op.n_params, (op.n_params,)),
                copied(x, call.n * op.x_size, (call.n, *kernel.config["input_shape"])), out)
        except BaseException as error:
            keep(op, call, error)


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state, const floating *derived,
    const floating *x,          # (n, x_size)
    const floating *y,          # (n, y_size)
    floating *dy,               # (n, y_size)
    floating *dx,               # (n, x_size) or NULL
    floating *grad,             # (n_params,) or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    with gil:
        kernel = <Kernel><void*><size_t>op.sizes[0]
        try:
            config = kernel.config
            out = None
            if dx != NULL:
                out = view(dx, call.n * op.x_size, (call.n, *config["input_shape"]))
                out[...] = 0
            config["layer"].run_backward(
                config["parameters"], copied(theta, op.n_params, (op.n_params,)),
                copied(x, call.n * op.x_size, (call.n, *config["input_shape"])),
                copied(y, call.n * op.y_size, (call.n, *config["output_shape"])),
                copied(<const floating*>dy, call.n * op.y_size, (call.n, *config["output_shape"])), out,
                None if grad == NULL else view(grad, op.n_params, (op.n_params,)))
        except BaseException as error:
            keep(op, call, error)


def custom(str dtype, *, layer, input_shape, output_shape, parameters):
    """The kernel of ``layers.Custom``; ``parameters`` is a tuple of (name, shape)."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    op.x_size, op.y_size = math.prod(input_shape), math.prod(output_shape)
    op.n_params = sum(math.prod(shape) for _, shape in parameters)
    op.flags = PYTHON
    op.sizes[0] = <long long><size_t><void*>kernel      # the engine keeps the kernel alive
    op.flops = 2.0 * (op.x_size + op.n_params)
    if dtype == "float32":
        op.forward, op.backward = <forward_t>forward[float], <backward_t>backward[float]
    else:
        op.forward, op.backward = <forward_t>forward[double], <backward_t>backward[double]
    kernel.name, kernel.dtype = "custom", dtype
    kernel.config = {"layer": layer, "input_shape": tuple(input_shape), "output_shape": tuple(output_shape),
                     "parameters": tuple(parameters)}
    return kernel
