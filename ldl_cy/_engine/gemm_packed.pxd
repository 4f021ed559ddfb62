# Products of matrices of our own, for any size at which BLAS packs its operands in every call: vec/gemm_packed.h says
# how they work. Everything is row-major.
#
#     pack, gemm_packed       C = op(A) B + S, B packed once, for many products: weights in a step, or in all predicts
#     gemm_by_panels          C = op(A) op(B) + S, B packed a piece at a time, while it is in L1: dW = x^T dz
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
            Py_ssize_t, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, const float*, const float*,
            Py_ssize_t, float*, Py_ssize_t) noexcept nogil

    ctypedef struct ldl_gemm_packed_f64:
        Py_ssize_t vector
        Py_ssize_t panel
        void (*pack)(Py_ssize_t, Py_ssize_t, int, const double*, Py_ssize_t, double*) noexcept nogil
        void (*multiply)(
            Py_ssize_t, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, const double*, const double*,
            Py_ssize_t, double*, Py_ssize_t) noexcept nogil

cdef extern from "vec/vec.h" nogil:
    ctypedef struct Table "ldl_vec":
        ldl_gemm_packed_f32 gemm_packed_f32
        ldl_gemm_packed_f64 gemm_packed_f64

cdef enum:
    MOST_VECTOR = 16            # numbers of a vector of any instruction set: sizes do not depend on it
    PANEL_ROWS = 128
    PANEL_COLUMNS = 64
    PANEL = PANEL_ROWS * PANEL_COLUMNS      # numbers of scratch of gemm_by_panels


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


cdef inline void start_with(
    Py_ssize_t m, Py_ssize_t n, const floating *S, Py_ssize_t lds, floating *C, Py_ssize_t ldc) noexcept nogil:
    """C = S, unless S is C"""
    cdef Py_ssize_t i
    if S != NULL and S != C:
        for i in range(m):
            memcpy(C + i * ldc, S + i * lds, n * sizeof(floating))


cdef inline void gemm_packed(                                           # C = op(A) B + S
    bint ta, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A, Py_ssize_t lda,      # (m, k), or (k, m) if ta
    const floating *packed,                 # B (k, n), by pack
    const floating *S, Py_ssize_t lds,      # (m, n); NULL: zeros; lds 0: one row for all; S may be C
    floating *C, Py_ssize_t ldc,            # (m, n)
) noexcept nogil:
    cdef const Table *table = <const Table*>vec.table
    cdef Py_ssize_t a_row = 1 if ta else lda, a_depth = lda if ta else 1
    if has_gemm_packed(<floating>0):
        if floating is float:
            table.gemm_packed_f32.multiply(m, n, k, A, a_row, a_depth, packed, S, lds, C, ldc)
        else:
            table.gemm_packed_f64.multiply(m, n, k, A, a_row, a_depth, packed, S, lds, C, ldc)
        return
    start_with(m, n, S, lds, C, ldc)
    gemm(ta, False, m, n, k, <floating>1, A, lda, packed, n, <floating>(0 if S == NULL else 1), C, ldc)


cdef inline void gemm_by_panels(                                        # C = op(A) op(B) + S
    bint ta, bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A, Py_ssize_t lda,      # (m, k), or (k, m) if ta
    const floating *B, Py_ssize_t ldb,      # (k, n), or (n, k) if tb
    const floating *S, Py_ssize_t lds,      # (m, n); NULL: zeros; lds 0: one row for all; S may be C
    floating *C, Py_ssize_t ldc,            # (m, n)
    floating *panel,                        # PANEL numbers to use
) noexcept nogil:
    cdef Py_ssize_t p, j, q, w
    if not has_gemm_packed(<floating>0) or k == 0:
        start_with(m, n, S, lds, C, ldc)
        gemm(ta, tb, m, n, k, <floating>1, A, lda, B, ldb, <floating>(0 if S == NULL else 1), C, ldc)
        return
    p = 0
    while p < k:
        q, j = min(<Py_ssize_t>PANEL_ROWS, k - p), 0
        while j < n:
            w = min(<Py_ssize_t>PANEL_COLUMNS, n - j)
            pack(tb, q, w, B + (j * ldb + p if tb else p * ldb + j), ldb, panel)
            gemm_packed(ta, m, w, q, A + (p * lda if ta else p), lda, panel, S + j if S != NULL else NULL, lds, C + j, ldc)
            j += w
        S, lds = C, ldc
        p += q
