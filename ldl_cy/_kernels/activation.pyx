"""Activation: y = f(x), dx = dy * f'(x) elementwise; softmax along the last axis.

The functions are in _engine/vec/activations.inc and softmax.inc.
"""
from cython cimport floating

from ldl_cy._engine cimport vec
from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t

from ldl_cy._engine.vec import ACTIVATIONS

ctypedef struct Activation:
    Py_ssize_t vectors          # vectors in a row
    Py_ssize_t k                # their length: softmax runs along it
    int kind
    double slope


cdef void forward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived,
    const floating *x,          # (n, vectors, k)
    floating *y,                # (n, vectors, k)
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Activation *s = <const Activation*>&op.sizes[0]
    vec.activate(s.kind, <floating>s.slope, call.n * s.vectors, s.k, x, y)


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state,
    const floating *derived, const floating *x, const floating *y,
    floating *dy,               # (n, vectors, k)
    floating *dx,               # (n, vectors, k) or NULL
    floating *grad, floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Activation *s = <const Activation*>&op.sizes[0]
    if dx != NULL:
        # dx = dy * f'(x), from x or from y, whichever the derivative is written in
        vec.activate_grad(s.kind, <floating>s.slope, call.n * s.vectors, s.k,
                          x if vec.ldl_keeps_z(s.kind) else y, dy, dx)


def activation(str dtype, *, Py_ssize_t vectors, Py_ssize_t k, str kind, double slope=0.01):
    """The kernel of ``layers.Activation`` for rows of ``vectors`` vectors of k numbers."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Activation *s = <Activation*>&op.sizes[0]
    assert_fits(sizeof(Activation), sizeof(op.sizes))
    s.vectors, s.k, s.kind, s.slope = vectors, k, ACTIVATIONS.index(kind), slope
    op.x_size = op.y_size = vectors * k
    op.flops = 10.0 * vectors * k
    if dtype == "float32":
        op.forward = <forward_t>forward[float]
        op.backward = <backward_t>backward[float]
    else:
        op.forward = <forward_t>forward[double]
        op.backward = <backward_t>backward[double]
    kernel.name, kernel.dtype = "activation", dtype
    kernel.config = {"vectors": vectors, "k": k, "kind": kind, "slope": slope}
    return kernel
