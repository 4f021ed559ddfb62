# Products of matrices of our own, for any size at which BLAS packs its operands in every call: vec/gemm_packed.h says
# how they work. Everything is row-major.
#
#     pack, gemm_packed       C = op(A) B + S, B packed once, for many products: weights in a step, or in all predicts
#     gemm_by_panels          C = op(A) op(B) + S, B packed a piece at a time, or read in place where packing does not
#                             pay: dW = x^T dz
#
# A number of C is the same whichever of the two makes it, and wherever its row is; one row alone may differ.
#
# In a build without these kernels (v2, MSVC) a packed matrix is a contiguous copy, and BLAS makes the products.
from cython cimport floating
from libc.string cimport memcpy

from ldl_cy._engine cimport vec
from ldl_cy._engine.blas cimport gemm

cdef extern from "vec/gemm_packed.h" nogil:
    ctypedef struct ldl_gemm_packed_f32:
        Py_ssize_t vector
        Py_ssize_t panel
        void (*pack)(Py_ssize_t, Py_ssize_t, int, const float*, Py_ssize_t, float*) noexcept nogil
        void (*multiply)(
            Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t,
            const float*, Py_ssize_t, float*, Py_ssize_t) noexcept nogil

    ctypedef struct ldl_gemm_packed_f64:
        Py_ssize_t vector
        Py_ssize_t panel
        void (*pack)(Py_ssize_t, Py_ssize_t, int, const double*, Py_ssize_t, double*) noexcept nogil
        void (*multiply)(
            Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t,
            const double*, Py_ssize_t, double*, Py_ssize_t) noexcept nogil

cdef extern from "vec/vec.h" nogil:
    ctypedef struct Table "ldl_vec":
        ldl_gemm_packed_f32 gemm_packed_f32
        ldl_gemm_packed_f64 gemm_packed_f64

cdef enum:
    MOST_VECTOR = 16            # numbers of a vector of any instruction set: sizes do not depend on it
    PANEL_ROWS = 256            # fewer would read and write C more often
    PANEL_COLUMNS = 64
    PANEL = PANEL_ROWS * PANEL_COLUMNS      # numbers of scratch of gemm_by_panels
    IN_L1 = 1 << 13             # numbers that fit into L1 with all else
    SMALL = 2 * IN_L1           # a B of up to this many numbers stays close to L1 and is read in place
    IN_L2 = 240 * PANEL_ROWS    # numbers of a strip of A that stays in L2 for all columns of B
    STEP_OF_ROWS = 24           # strips have a multiple of this many rows: whole tiles of any instruction set


cdef inline Py_ssize_t packed_size(Py_ssize_t k, Py_ssize_t n) noexcept nogil:
    """Numbers of a packed matrix (k, n), for any instruction set."""
    return k * ((n + MOST_VECTOR - 1) // MOST_VECTOR * MOST_VECTOR)


cdef inline bint has_gemm_packed(floating unused) noexcept nogil:
    """Whether this build has these kernels for the instruction set in use."""
    cdef const Table *table = <const Table*>vec.table
    if floating is float:
        return table.gemm_packed_f32.multiply != NULL
    else:
        return table.gemm_packed_f64.multiply != NULL


cdef inline Py_ssize_t panel_width(floating unused, Py_ssize_t n, Py_ssize_t j) noexcept nogil:
    """Numbers of a row of the panel that begins at column j of a packed matrix of n columns.

    Such a panel of a matrix of depth k begins at k j: for those who write into panels themselves. What is in a row
    after the last column may be anything.
    """
    cdef const Table *table = <const Table*>vec.table
    cdef Py_ssize_t vector, panel
    if not has_gemm_packed(<floating>0):
        return n
    if floating is float:
        vector, panel = table.gemm_packed_f32.vector, table.gemm_packed_f32.panel
    else:
        vector, panel = table.gemm_packed_f64.vector, table.gemm_packed_f64.panel
    return min(panel, (n - j + vector - 1) // vector * vector)


cdef inline void pack(
    bint tb, Py_ssize_t k, Py_ssize_t n,
    const floating *B, Py_ssize_t ldb,      # (k, n), or (n, k) if tb; ldb: stride of rows
    floating *packed,                       # packed_size(k, n) numbers
) noexcept nogil:
    """Copy op(B) for gemm_packed."""
    cdef const Table *table = <const Table*>vec.table
    cdef Py_ssize_t i
    if has_gemm_packed(<floating>0):
        if floating is float:
            table.gemm_packed_f32.pack(k, n, tb, B, ldb, packed)
        else:
            table.gemm_packed_f64.pack(k, n, tb, B, ldb, packed)
    elif tb:
        vec.transpose(n, k, B, ldb, packed, n)
    else:
        for i in range(k):
            memcpy(packed + i * n, B + i * ldb, n * sizeof(floating))


cdef inline void multiply(
    bint ta, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const floating *A, Py_ssize_t lda,
    const floating *B, Py_ssize_t ldb,      # ldb 0: packed
    const floating *S, Py_ssize_t lds, floating *C, Py_ssize_t ldc) noexcept nogil:
    """C = op(A) B + S by the kernels of the instruction set in use, which must be there."""
    cdef const Table *table = <const Table*>vec.table
    cdef Py_ssize_t a_row = 1 if ta else lda, a_depth = lda if ta else 1
    if floating is float:
        table.gemm_packed_f32.multiply(m, n, k, A, a_row, a_depth, B, ldb, S, lds, C, ldc)
    else:
        table.gemm_packed_f64.multiply(m, n, k, A, a_row, a_depth, B, ldb, S, lds, C, ldc)


cdef inline bint in_place(const floating *B, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, Py_ssize_t ldb) noexcept nogil:
    """Whether to read B (k, n) in place: packing it does not pay for m rows of A.

    Measured on Zen 4, GF/s in place and packed, AVX-512 (4 lines of the cache in each row of a panel): 128x784x512 116
    and 111, 128x1024x1024 109 and 106, 128x1024x4096 98 and 96; AVX2, where a panel's lines should stay in L1, which
    they do not at distances of a power of two: 256x256x128 115 and 114, 64x512x512 109 and 104, 128x512x512 both 109,
    128x1024x1024 88 and 100.
    """
    cdef const Table *table = <const Table*>vec.table
    cdef Py_ssize_t stride = ldb * sizeof(floating), vector
    if floating is float:
        vector = table.gemm_packed_f32.vector * sizeof(float)
    else:
        vector = table.gemm_packed_f64.vector * sizeof(double)
    return (m <= 16 or k * n <= SMALL or stride <= 1024 or (m <= 64 or vector == 64) and stride <= 4096)


cdef inline void by_blas(                                               # C = op(A) op(B) + S
    bint ta, bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const floating *A, Py_ssize_t lda,
    const floating *B, Py_ssize_t ldb, const floating *S, Py_ssize_t lds, floating *C, Py_ssize_t ldc) noexcept nogil:
    cdef Py_ssize_t i
    if S != NULL and lds == 0:
        vec.fill_rows(m, n, S, C, ldc)
    elif S != NULL and S != C:
        for i in range(m):
            memcpy(C + i * ldc, S + i * lds, n * sizeof(floating))
    gemm(ta, tb, m, n, k, <floating>1, A, lda, B, ldb, <floating>(0 if S == NULL else 1), C, ldc)


cdef inline void gemm_packed(                                           # C = op(A) B + S
    bint ta, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A, Py_ssize_t lda,      # (m, k), or (k, m) if ta
    const floating *packed,                 # B (k, n), by pack
    const floating *S, Py_ssize_t lds,      # (m, n); NULL: zeros; lds 0: one row for all; S may be C
    floating *C, Py_ssize_t ldc,            # (m, n)
) noexcept nogil:
    if has_gemm_packed(<floating>0):
        multiply(ta, m, n, k, A, lda, packed, <Py_ssize_t>0, S, lds, C, ldc)
    else:
        by_blas(ta, False, m, n, k, A, lda, packed, n, S, lds, C, ldc)


cdef inline void gemm_by_panels(                                        # C = op(A) op(B) + S
    bint ta, bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A, Py_ssize_t lda,      # (m, k), or (k, m) if ta
    const floating *B, Py_ssize_t ldb,      # (k, n), or (n, k) if tb
    const floating *S, Py_ssize_t lds,      # (m, n); NULL: zeros; lds 0: one row for all; S may be C
    floating *C, Py_ssize_t ldc,            # (m, n)
    floating *panel,                        # PANEL numbers to use
) noexcept nogil:
    cdef Py_ssize_t i, p, j, q, w, rows, most, depth
    cdef const floating *s
    # a vector times a matrix too large for L1, and a matrix times a vector, are as fast as memory with BLAS
    if not has_gemm_packed(<floating>0) or k == 0 or n == 1 or (m == 1 and (tb or k * n > IN_L1)):
        by_blas(ta, tb, m, n, k, A, lda, B, ldb, S, lds, C, ldc)
        return
    if not tb and in_place(B, m, n, k, ldb):
        multiply(ta, m, n, k, A, lda, B, ldb, S, lds, C, ldc)
        return
    # pieces of B of equal depth
    p = (k + PANEL_ROWS - 1) // PANEL_ROWS
    depth = (k + p - 1) // p
    i, most = 0, IN_L2 // (STEP_OF_ROWS * depth) * STEP_OF_ROWS
    while i < m:
        rows = min(most, m - i)
        # never one row alone, which would be summed up in another order
        rows -= m - i - rows == 1
        s, p = S + i * lds if S != NULL else NULL, 0
        while p < k:
            q, j = min(depth, k - p), 0
            while j < n:
                w = min(<Py_ssize_t>PANEL_COLUMNS, n - j)
                pack(tb, q, w, B + (j * ldb + p if tb else p * ldb + j), ldb, panel)
                multiply(ta, rows, w, q, A + (p * lda + i if ta else i * lda + p), lda, panel, <Py_ssize_t>0,
                         s + j if s != NULL else NULL, lds if p == 0 else ldc, C + i * ldc + j, ldc)
                j += w
            s = C + i * ldc
            p += q
        i += rows
