"""A kernel called alone from Python: for tests, and to step through a network.

The engine does not call these methods; it copies the Op struct and calls its pointers without the GIL.
"""
from libc.string cimport memset

import numpy as np


cdef void *address(object array, str name, str dtype, Py_ssize_t size) except? NULL:
    """Where a buffer begins, after its dtype, layout and size were checked. None is NULL."""
    if array is None:
        return NULL
    if not isinstance(array, np.ndarray) or array.dtype.name != dtype or not array.flags.c_contiguous:
        raise TypeError(f"Kernel: {name} must be a C-contiguous array of {dtype}, got "
                        f"{getattr(array, 'dtype', type(array).__name__)}.")
    if array.size != size:
        raise ValueError(f"Kernel: {name} must hold {size} numbers, got {array.size}.")
    return <void*><size_t>array.ctypes.data


cdef class Kernel:
    """An op filled for one dtype: sizes and a table of function pointers.

    Made by the functions of ``ldl_cy._kernels``, one for each kind of layer.
    """

    def __cinit__(self):
        memset(&self.op, 0, sizeof(Op))
        self.group = 1

    def __repr__(self):
        numbers = ", ".join(f"{key}={value!r}" for key, value in (self.config or {}).items())
        return f"<kernel {self.name} {self.dtype}: {numbers}>"

    @property
    def x_size(self):
        return self.op.x_size

    @property
    def y_size(self):
        return self.op.y_size

    @property
    def n_params(self):
        return self.op.n_params

    @property
    def n_state(self):
        return self.op.n_state

    @property
    def n_derived(self):
        return self.op.n_derived

    @property
    def n_partial(self):
        return self.op.n_partial

    @property
    def cache_size(self):
        return self.op.cache_size

    @property
    def scratch_size(self):
        return self.op.scratch_size

    @property
    def scratch_fixed(self):
        return self.op.scratch_fixed

    @property
    def flops(self):
        return self.op.flops

    def name_layer(self, int layer):
        """Tell the kernel its layer's place in the model: part of the name of its random stream."""
        self.op.layer = layer

    def freeze(self):
        """Stop looking at the batch: an op that couples rows works with its stored state from now on."""
        self.op.flags &= ~COUPLES_ROWS
        self.op.reduce = NULL
        self.op.combine = NULL

    def fuse(self, Kernel after, rows):
        """A kernel that does this one's work and then that of ``after``, which alone reads its output.

        Parameters
        ----------
        after : Kernel
            Without weights: those of the result are this one's, and so is what it derives from them.
        rows : int
            The most rows of one call.

        Returns
        -------
        Kernel, or None where the two are as well done one by one
        """
        return self._frozen_like(None if self.fuser is None else self.fuser(after, rows))

    def fuse_add(self):
        """A kernel that does this one's work and then adds another value, its second input.

        Returns
        -------
        Kernel, or None where the two are as well done one by one
        """
        return self._frozen_like(None if self.adder is None else self.adder())

    def _frozen_like(self, Kernel fused):
        if fused is not None and fused.couples_rows and not self.couples_rows:
            fused.freeze()
        return fused

    def fold(self, Kernel after):
        """The same for inference alone, where ``after`` may bring weights and a state: they go into this one's weights.

        Returns
        -------
        Kernel, or None
            Its theta is this one's followed by the other's, its state is the other's where that has one.
        """
        return None if self.folder is None else self.folder(after)

    @property
    def couples_rows(self):
        return bool(self.op.flags & COUPLES_ROWS)

    @property
    def recomputed(self):
        return bool(self.op.flags & RECOMPUTED)

    @property
    def adds(self):
        return bool(self.op.flags & ADDS)

    @property
    def draws(self):
        return bool(self.op.flags & DRAWS)

    @property
    def calls_python(self):
        return bool(self.op.flags & PYTHON)

    @property
    def gathers(self):
        return bool(self.op.flags & GATHERS)

    @property
    def uses_lengths(self):
        return bool(self.op.flags & USES_LENGTHS)

    @property
    def column_tiles(self):
        """(of forward_columns, of dx_columns); 0 where there are none."""
        return self.op.y_tiles, self.op.x_tiles

    @property
    def gradient_tile(self):
        return self.op.gradient_tile

    def forward(self, theta, x, *, state=None, keep=True, y=None, cache=None, derived=None,
                scratch=None, **options):
        """One forward pass over the rows of x.

        Parameters
        ----------
        theta : array of shape (n_params,)
        x : array of shape (n, x_size) or any shape with as many numbers
        state : array of shape (n_state,), default=None
            Running statistics; updated in place when ``training``.
        keep : bool, default=True
            Fill a cache for ``backward``; without it the kernel runs as at prediction.
        y, cache, derived, scratch : arrays, default=None
            Buffers to use; new ones full of NaN otherwise.
        **options : training, seed, epoch, step, row0, lengths; order, where the op ``gathers``; x2, where it adds

        Returns
        -------
        y : array of shape (n, y_size)
        cache : array, to hand to ``backward``; None with ``keep=False``
        derived : array made from theta
        """
        cdef Call call
        cdef Op *op = &self.op
        fill_call(self, &call, options, x)
        n, call.backward = call.n, keep
        derived = undefined(derived, op.n_derived, self.dtype)
        scratch = undefined(scratch, n * op.scratch_size + op.scratch_fixed, self.dtype)
        y = undefined(y, (n, op.y_size), self.dtype)
        cache = undefined(cache, n * op.cache_size, self.dtype) if keep else None
        cdef void *p_theta = address(theta, "theta", self.dtype, op.n_params)
        cdef void *p_state = address(state, "state", self.dtype, op.n_state)
        cdef void *p_derived = address(derived, "derived", self.dtype, op.n_derived)
        cdef void *p_x = address(x, "x", self.dtype, n * op.x_size if call.order == NULL else x.size)
        cdef void *p_y = address(y, "y", self.dtype, n * op.y_size)
        cdef void *p_cache = address(cache, "cache", self.dtype, n * op.cache_size)
        cdef void *p_scratch = address(scratch, "scratch", self.dtype, scratch.size)
        total = batch_sums(self, &call, theta, x, None, None, cache, state)
        with nogil:
            # where the engine would not prepare, derived stays undefined
            if op.prepare != NULL and (call.backward or not op.flags & DERIVED_FOR_DX):
                op.prepare(op, &call, p_theta, p_state, p_derived)
            op.forward(op, &call, p_theta, p_state, p_derived, p_x, p_y, p_cache, p_scratch)
        del total                                   # kept alive until here: call.partial points into it
        raise_error(self)
        return y, cache, derived

    def backward(self, theta, x, y, dy, cache, *, state=None, derived=None, dx=None, grad=None,
                 scratch=None, **options):
        """The backward pass after a ``forward`` with ``keep=True``; dy and cache are used up.

        Parameters
        ----------
        dx : array of shape (n, x_size), default=None
            Overwritten with the gradient of x; None is NULL: not wanted.
        grad : array of shape (n_params,), default=None
            The gradient of theta is added to it; None is NULL: frozen.
        """
        cdef Call call
        cdef Op *op = &self.op
        fill_call(self, &call, options, x)
        n = call.n
        scratch = undefined(scratch, n * op.scratch_size + op.scratch_fixed, self.dtype)
        make_derived = derived is None and op.prepare != NULL
        derived = undefined(derived, op.n_derived, self.dtype)
        call.backward = True
        cdef void *p_theta = address(theta, "theta", self.dtype, op.n_params)
        cdef void *p_state = address(state, "state", self.dtype, op.n_state)
        cdef void *p_derived = address(derived, "derived", self.dtype, op.n_derived)
        cdef void *p_x = address(x, "x", self.dtype, n * op.x_size)
        cdef void *p_y = address(y, "y", self.dtype, n * op.y_size)
        cdef void *p_dy = address(dy, "dy", self.dtype, n * op.y_size)
        cdef void *p_dx = address(dx, "dx", self.dtype, n * op.x_size)
        cdef void *p_grad = address(grad, "grad", self.dtype, op.n_params)
        cdef void *p_cache = address(cache, "cache", self.dtype, n * op.cache_size)
        cdef void *p_scratch = address(scratch, "scratch", self.dtype, scratch.size)
        total = batch_sums(self, &call, theta, x, y, dy, cache, None)
        if make_derived:
            op.prepare(op, &call, p_theta, p_state, p_derived)
        with nogil:
            op.backward(op, &call, p_theta, p_state, p_derived, p_x, p_y, p_dy, p_dx, p_grad, p_cache, p_scratch)
        del total
        raise_error(self)
        return dx, grad

    def gradient(self, x, dy, grad, *, scratch=None):
        """Overwrite grad, tile by tile; dy as ``backward`` without grad left it."""
        cdef Call call
        cdef Op *op = &self.op
        fill_call(self, &call, {}, x)
        scratch = undefined(scratch, call.n * op.scratch_size + op.scratch_fixed, self.dtype)
        for first in range(0, op.n_params, op.gradient_tile):
            part = grad[first:first + op.gradient_tile]
            op.gradient(op, &call, address(x, "x", self.dtype, call.n * op.x_size),
                        address(dy, "dy", self.dtype, call.n * op.y_size),
                        address(part, "grad", self.dtype, part.size),
                        address(scratch, "scratch", self.dtype, scratch.size))
            call.tile += 1
        return grad


cdef int fill_call(Kernel kernel, Call *call, dict options, object x) except -1:
    memset(call, 0, sizeof(Call))
    call.n = x.size // kernel.op.x_size if kernel.op.x_size else x.shape[0]
    call.row0 = options.pop("row0", 0)
    call.training = options.pop("training", False)
    call.seed = options.pop("seed", 0)
    call.epoch = options.pop("epoch", 0)
    call.step = options.pop("step", 0)
    order = options.pop("order", None)
    if order is not None:
        # rows of x in another order, as a gathering op reads them
        call.order, call.x_stride = <const long long*>address(order, "order", "int64", order.size), kernel.op.x_size
        call.n = order.size
    x2 = options.pop("x2", None)
    if x2 is not None:
        call.x2 = address(x2, "x2", kernel.dtype, call.n * kernel.op.y_size)
    lengths = options.pop("lengths", None)
    if lengths is not None:
        call.lengths = <const int*>address(lengths, "lengths", "int32", call.n)
    if options:
        raise TypeError(f"Kernel: unknown arguments {sorted(options)}.")
    return 0


cdef int raise_error(Kernel kernel) except -1:
    error, kernel.error = kernel.error, None
    if error is not None:
        raise error
    return 0


cdef object undefined(array, size, str dtype):
    # undefined on purpose: NaN, so that a kernel that reads before it writes is seen
    return np.full(size, np.nan, dtype) if array is None else array


cdef object batch_sums(Kernel kernel, Call *call, theta, x, y, dy, cache, state):
    """The whole batch's sums of an op that couples rows, as one block; call.partial gets them."""
    cdef Op *op = &kernel.op
    cdef double[::1] one, total
    if op.reduce == NULL or not call.training:
        return None
    one = np.full(op.n_partial, np.nan)
    total = np.full(op.n_partial, np.nan)
    call.partial = &one[0]
    op.reduce(
        op, call, address(theta, "theta", kernel.dtype, op.n_params),
        address(x, "x", kernel.dtype, call.n * op.x_size),
        address(y, "y", kernel.dtype, call.n * op.y_size),
        address(dy, "dy", kernel.dtype, call.n * op.y_size),
        address(cache, "cache", kernel.dtype, call.n * op.cache_size))
    if op.combine != NULL and dy is None:
        op.combine(op, call, 1, &one[0], &total[0],
                   address(state, "state", kernel.dtype, op.n_state))
    else:
        total[:] = one
    call.partial = &total[0]
    return total
