"""The op protocol: what a layer's kernel looks like to the engine.

Laws of a kernel (tests/helpers/contract.py enforces them):

- ``y`` and ``dx`` are overwritten, ``grad`` is added to;
- ``dx`` may be NULL (no layer below needs it), ``grad`` may be NULL (frozen weights);
- what a call writes overlaps nothing else that it is given: ``dx`` is never ``dy``, ``y`` is never ``x``;
- every buffer but ``grad`` arrives undefined; ``dy`` and ``cache`` are the kernel's to destroy
  in ``backward``, which runs at most once after each ``forward``, and after ``reduce`` of the same rows, which may
  leave in ``dy`` what ``backward`` then reads;
- ``cache`` holds whatever ``forward`` left for ``backward``: n * cache_size numbers, laid out as the
  kernel likes; without ``cache`` (NULL: inference) forward keeps nothing;
- an op with ``gradient`` may be asked for it instead of ``grad``: backward runs with grad NULL and leaves in
  ``dy`` what gradient, and dx_columns, read; after the last block, gradient overwrites grad, a range of theta
  at a time, over all rows;
- ``scratch`` holds n * scratch_size + scratch_fixed numbers and is forgotten after the call;
- ``scratch`` and ``derived`` begin on a cache line (64 bytes) when the engine calls, all other buffers where a number
  of the dtype may begin. Called alone from Python, none of them does: alignment may make a kernel faster, never right;
- ``derived`` is what ``prepare`` made from theta and the state; it makes what ``backward`` reads only where
  ``call.backward`` says that one follows, and the engine may keep it while both are bytewise the same. With
  PACKS_TO_PREDICT it is made for predictions of two rows or more, while only the library can write to theta;
- a kernel's own numbers are a struct laid over ``op.sizes``, and ``assert_fits`` checks at compile time that it fits;
- write only what was given; no allocation, GIL, threads, globals, errors, validation;
- an update rule (vec/rules.inc), which is no op, lets NaN in a gradient reach theta: training looks at theta alone;
- an op with ADDS adds ``call.x2``, of y's size, before its activation, and reads it in ``forward`` alone; ``reduce``
  or ``backward`` leaves its gradient in ``dy``;
- rows are independent, unless the op is flagged COUPLES_ROWS;
- results depend on the seed, the epoch or the step only where the op is flagged DRAWS.

``op.flops``, of a forward pass over one row with two for a multiplication and its addition, changes no result's
meaning but decides how the work is cut: whether a phase is shared among threads (program.pyx), how many rows a block
has and how many lanes there are (plan.py), how many rows take the fast path of predict and whether BLAS is limited
to one thread there (predictor.pyx). It is a property of the sizes alone; an op with 0 never wakes a worker.

One table of pointers per dtype: the pointers are fused functions at one type, cast to void*.
Not ``cdef`` classes with fused virtual methods: Cython calls the base method (cython#3607).
"""
from libc.stdint cimport uint64_t

cdef extern from "platform.h" nogil:
    # assert_fits(sizeof(TheStruct), sizeof(op.sizes)), where a kernel overlays its struct: an error of the C compiler
    void assert_fits "LDL_ASSERT_FITS"(size_t own, size_t available)

cdef enum Flag:
    COUPLES_ROWS = 1        # forward needs sums over the whole batch: has reduce
    USES_LENGTHS = 2        # looks across steps and reads call.lengths
    DRAWS = 4               # draws random numbers in training, by ``rng.layer_key``
    RECOMPUTED = 8          # y costs little to make from x a second time, and reduce and backward do not read it
    PYTHON = 16             # calls Python: the program runs on the calling thread
    DERIVED_FOR_DX = 32     # derived is read by backward with dx alone: not prepared where dx is NULL
    GATHERS = 64            # forward reads call.order, backward does not read x: rows in any order and at any distance
    PACKS_TO_PREDICT = 128  # with call.packed, forward reads derived in place of theta's matrix, with the same bits
    ADDS = 256              # has a second input: call.x2

ctypedef struct Call:
    Py_ssize_t n                # rows of this call
    Py_ssize_t row0             # the first of them, counted within the whole batch, of all processes
    int training
    int backward                # a backward pass follows: prepare makes what it needs too
    int packed                  # PACKS_TO_PREDICT only: prepare packs theta's matrix, forward reads it from derived
    uint64_t seed
    uint64_t epoch
    uint64_t step
    Py_ssize_t tile             # which one gradient, forward_columns, dx_columns make
    const int *lengths          # (n,) valid steps of each row, or NULL
    const void *x2              # ADDS, forward only: (n, y_size)
    double *partial             # (n_partial,) written by reduce; the total while forward, backward run
    const int *stop             # the abort flag, for very long calls
    const long long *order      # GATHERS only: row i of x begins at x + order[i] * x_stride; NULL: at i * x_size
    Py_ssize_t x_stride         # numbers

ctypedef void (*prepare_t)(
    const Op *op, const Call *call, const void *theta, const void *state, void *derived) noexcept nogil
ctypedef void (*forward_t)(
    const Op *op, const Call *call, const void *theta, const void *state, const void *derived,
    const void *x, void *y, void *cache, void *scratch) noexcept nogil
ctypedef void (*backward_t)(
    const Op *op, const Call *call, const void *theta, const void *state, const void *derived,
    const void *x, const void *y, void *dy, void *dx, void *grad,
    void *cache, void *scratch) noexcept nogil
# The numbers call.tile * gradient_tile .. of theta's gradient, at most gradient_tile of them, of the whole batch:
# grad points to the first, and they are overwritten.
ctypedef void (*gradient_t)(
    const Op *op, const Call *call, const void *x, const void *dy, void *grad, void *scratch) noexcept nogil
ctypedef void (*tangent_t)(
    const Op *op, const Call *call, const void *theta, const void *dtheta, const void *state,
    const void *derived, const void *x, const void *dx, const void *y, void *dy,
    const void *cache, void *scratch) noexcept nogil
# Tile call.tile of op.y_tiles of the output's columns, or of op.x_tiles of those of dx, over all rows.
ctypedef void (*forward_columns_t)(
    const Op *op, const Call *call, const void *theta, const void *x, void *y, void *cache,
    void *scratch) noexcept nogil
ctypedef void (*dx_columns_t)(
    const Op *op, const Call *call, const void *theta, const void *dz, void *dx, void *scratch) noexcept nogil
# Sums over this block's rows into call.partial; dy is NULL in the forward pass.
ctypedef void (*reduce_t)(
    const Op *op, const Call *call, const void *theta, const void *x, const void *y,
    void *dy, const void *cache) noexcept nogil
# partials (n_blocks, n_partial) in block order -> total (n_partial,); may update the running state
# when state is not NULL. A NULL combine means: added in block order.
ctypedef void (*combine_t)(
    const Op *op, const Call *call, Py_ssize_t n_blocks, const double *partials, double *total,
    void *state) noexcept nogil

ctypedef struct Op:
    # sizes in numbers of the dtype; x, y, cache, scratch per row
    Py_ssize_t x_size
    Py_ssize_t y_size
    Py_ssize_t n_params
    Py_ssize_t n_state
    Py_ssize_t n_derived
    Py_ssize_t n_partial
    Py_ssize_t cache_size
    Py_ssize_t scratch_size
    Py_ssize_t scratch_fixed
    int flags
    int layer                   # place in the model: part of the random stream's name
    Py_ssize_t gradient_tile    # numbers that gradient writes at a time, or 0
    double flops                # of a forward pass over one row
    prepare_t prepare           # theta -> derived, once a step, once a predict; or NULL
    forward_t forward
    backward_t backward
    gradient_t gradient         # or NULL: backward alone makes the gradient
    forward_columns_t forward_columns   # or NULL: forward alone makes y,
    dx_columns_t dx_columns             # and backward dx
    Py_ssize_t y_tiles
    Py_ssize_t x_tiles
    tangent_t tangent           # or NULL: J v is then a central difference
    reduce_t reduce
    combine_t combine
    long long sizes[40]         # the kernel's own numbers; a kernel file overlays its struct on it

cdef class Kernel:
    """An op filled for one dtype. The engine copies ``op``; Python can call it alone."""
    cdef Op op
    cdef readonly str name
    cdef readonly str dtype     # "float32" or "float64"
    cdef public object error    # an exception of a user's function, until the engine raises it
    cdef readonly dict config   # what it was made from, for repr and for stepping through
    cdef public int group       # rows it works on at a time: a block of a multiple of them wastes none
    cdef public tuple parts     # kernels that this one calls through pointers, kept alive
    cdef public object fuser    # see fuse
    cdef public object folder   # see fold
    cdef public object adder    # see fuse_add
