# Transforms of convolution over time: vec/basis.h says what each one does.
#
# A basis is its constants, made once for a layer by _kernels/time_bases.py: matrices of values at points, or the turns
# of a discrete Fourier transform.
from cython cimport floating

from ldl_cy._engine cimport vec

cdef extern from "vec/basis.h" nogil:
    enum:
        LDL_BASIS_STORE, LDL_BASIS_RELU, LDL_BASIS_ADD
        LDL_BASIS_LEFT, LDL_BASIS_RIGHT
        LDL_BASIS_PRODUCT, LDL_BASIS_CONJUGATED_FACTOR, LDL_BASIS_CONJUGATED

    ctypedef struct ldl_basis_f32:
        void (*values)(
            int, Py_ssize_t, const float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*,
            Py_ssize_t) noexcept nogil
        void (*from_values)(
            int, Py_ssize_t, const float*, Py_ssize_t, const float*, Py_ssize_t, const float*, int, float*,
            Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*dft)(
            Py_ssize_t, const float*, const int*, int, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t,
            const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t, Py_ssize_t,
            float*) noexcept nogil
        void (*from_dft)(
            Py_ssize_t, const float*, const int*, int, float, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t,
            const float*, int, float*, Py_ssize_t, Py_ssize_t, float*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
            float*) noexcept nogil

    ctypedef struct ldl_basis_f64:
        void (*values)(
            int, Py_ssize_t, const double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*,
            Py_ssize_t) noexcept nogil
        void (*from_values)(
            int, Py_ssize_t, const double*, Py_ssize_t, const double*, Py_ssize_t, const double*, int, double*,
            Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*dft)(
            Py_ssize_t, const double*, const int*, int, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t,
            const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t, Py_ssize_t,
            double*) noexcept nogil
        void (*from_dft)(
            Py_ssize_t, const double*, const int*, int, double, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t,
            const double*, int, double*, Py_ssize_t, Py_ssize_t, double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
            double*) noexcept nogil

cdef extern from "vec/vec.h" nogil:
    ctypedef struct Table "ldl_vec":
        ldl_basis_f32 basis_f32
        ldl_basis_f64 basis_f64


ctypedef struct Basis:
    int n                       # steps of a tile of the input,
    int m                       # of the output
    int r                       # of a window
    int slabs                   # products of matrices
    int tiles                   # that are transformed together, rows of these matrices: 1, by the DFT 2
    const int *place            # DFT; NULL: values at points
    const void *B               # matrices of values (n, n), (n, m), (n, r); B: turns of the DFT
    const void *A
    const void *G

# Where the steps of a tile are: the first one at `at`, numbers from the sequence's first; low .. high - 1 exist
ctypedef struct Tile:
    Py_ssize_t at
    Py_ssize_t low
    Py_ssize_t high

cdef enum Side:
    INPUT
    INPUT_CONJUGATED            # for the product with OUTPUT that is the gradient of the weights
    OUTPUT


cdef inline Py_ssize_t work_size(const Basis *s) noexcept nogil:
    """Numbers that the transforms below use meanwhile."""
    return 7 * 16 * s.n if s.place != NULL else 0


cdef inline void to_values(
    const Basis *s, const void *C, int k, Py_ssize_t c, const floating *x, const Tile *t, Py_ssize_t step, floating *V,
    Py_ssize_t stride,
) noexcept nogil:
    cdef const Table *table = <const Table*>vec.table
    if floating is float:
        table.basis_f32.values(s.n, k, <const float*>C, c, x + t.at, step, t.low, t.high, V, stride)
    else:
        table.basis_f64.values(s.n, k, <const double*>C, c, x + t.at, step, t.low, t.high, V, stride)


cdef inline void from_values(
    const Basis *s, const void *C, int k, Py_ssize_t c, const floating *V, Py_ssize_t stride, const floating *b,
    int write, floating *y, const Tile *t, Py_ssize_t step,
) noexcept nogil:
    cdef const Table *table = <const Table*>vec.table
    if floating is float:
        table.basis_f32.from_values(s.n, k, <const float*>C, c, V, stride, b, write, y + t.at, step, t.low, t.high)
    else:
        table.basis_f64.from_values(s.n, k, <const double*>C, c, V, stride, b, write, y + t.at, step, t.low, t.high)


cdef inline void to_dft(
    const Basis *s, int factor, Py_ssize_t c, const floating *x, const Tile *t, Py_ssize_t step, floating *V,
    Py_ssize_t stride, Py_ssize_t row, floating *work,
) noexcept nogil:
    cdef const Table *table = <const Table*>vec.table
    if floating is float:
        table.basis_f32.dft(s.n, <const float*>s.B, s.place, factor, c, x + t[0].at, t[0].low, t[0].high, x + t[1].at,
                            t[1].low, t[1].high, step, V, stride, row, work)
    else:
        table.basis_f64.dft(s.n, <const double*>s.B, s.place, factor, c, x + t[0].at, t[0].low, t[0].high, x + t[1].at,
                            t[1].low, t[1].high, step, V, stride, row, work)


cdef inline void from_dft(
    const Basis *s, int product, floating scale, Py_ssize_t c, const floating *V, Py_ssize_t stride, Py_ssize_t row,
    const floating *b, int write, floating *y, const Tile *t, Py_ssize_t step, floating *work,
) noexcept nogil:
    cdef const Table *table = <const Table*>vec.table
    if floating is float:
        table.basis_f32.from_dft(s.n, <const float*>s.B, s.place, product, scale, c, V, stride, row, b, write,
                                 y + t[0].at, t[0].low, t[0].high, y + t[1].at, t[1].low, t[1].high, step, work)
    else:
        table.basis_f64.from_dft(s.n, <const double*>s.B, s.place, product, scale, c, V, stride, row, b, write,
                                 y + t[0].at, t[0].low, t[0].high, y + t[1].at, t[1].low, t[1].high, step, work)


cdef inline void to_basis(
    const Basis *s, Side side, Py_ssize_t c, const floating *x, const Tile *t, Py_ssize_t step,
    floating *V, Py_ssize_t stride, floating *work,
) noexcept nogil:
    """V = B^T x of a tile of the input, A x of one of the output; by the DFT of a pair."""
    if s.place != NULL:
        to_dft(s, LDL_BASIS_RIGHT if side == INPUT_CONJUGATED else LDL_BASIS_LEFT, c, x, t, step, V, stride, c, work)
    else:
        to_values(s, s.A if side == OUTPUT else s.B, s.m if side == OUTPUT else s.n, c, x, t, step, V, stride)


cdef inline void from_basis(
    const Basis *s, Side side, Py_ssize_t c, const floating *V, Py_ssize_t stride, const floating *b, int write,
    floating *y, const Tile *t, Py_ssize_t step, floating *work,
) noexcept nogil:
    """y = A^T V + b of a tile of the output, or x += B V of one of the input."""
    if s.place != NULL:
        from_dft(s, LDL_BASIS_CONJUGATED_FACTOR if side == INPUT else LDL_BASIS_PRODUCT, <floating>(1.0 / s.n), c, V,
                 stride, c, b, write, y, t, step, work)
    else:
        from_values(s, s.A if side == OUTPUT else s.B, s.m if side == OUTPUT else s.n, c, V, stride, b, write, y, t,
                    step)


cdef inline void window_tiles(const Basis *s, Tile *t) noexcept nogil:
    """All steps of a window, as the first of two tiles."""
    t[0].at, t[0].low, t[0].high = 0, 0, s.r
    t[1].at, t[1].low, t[1].high = 0, 0, 0


cdef inline void weights_to_basis(
    const Basis *s, Py_ssize_t size, const floating *g, floating *U, Py_ssize_t stride, floating *work,
) noexcept nogil:
    """U = G g   (slabs, size) of (r, size)"""
    cdef Tile t[2]
    window_tiles(s, t)
    if s.place != NULL:
        to_dft(s, LDL_BASIS_RIGHT, size, g, t, size, U, stride, 0, work)
    else:
        to_values(s, s.G, s.r, size, g, t, size, U, stride)


cdef inline void weights_from_basis(
    const Basis *s, Py_ssize_t size,
    floating *Q,                # IN, destroyed
    Py_ssize_t stride, floating *dg, floating *work,
) noexcept nogil:
    """dg += G^T Q   (r, size) of (slabs, size)"""
    cdef Tile t[2]
    window_tiles(s, t)
    if s.place != NULL:
        # z_k(dy) conj(z_k(x)) conjugated, of both rows of a pair: twice what is wanted, but for k = 0 and n / 2
        vec.scale(2 * stride, <floating>2, Q + (s.slabs - 2) * stride)
        from_dft(s, LDL_BASIS_CONJUGATED, <floating>(0.5 / s.n), size, <const floating*>Q, stride, 0,
                 <const floating*>NULL, LDL_BASIS_ADD, dg, t, size, work)
    else:
        from_values(s, s.G, s.r, size, <const floating*>Q, stride, <const floating*>NULL, LDL_BASIS_ADD,
                    dg, t, size)
