# Products out of small ones, for a BLAS that runs small products unpacked.
#
# OpenBLAS's AVX-512 kernels take products up to m n k = 10^6 as they are, at full speed whatever the
# shape as long as what they read of B fits L1 and its rows are not a power of two apart; beyond, they
# pack both factors, which few rows never repay. So B (k, n) is copied once into blocks of 128 rows by
# 256 bytes, each contiguous, and a product with it is a loop over blocks. Measured, one thread,
# float32, GF/s out of 160: 32x512x128 153 instead of 93, 32x128x512 153 instead of 84, 32x256x64 149
# instead of 105, 512x64x512 157 instead of 129; A^T B in tiles of 64x64x64 155 to 175 instead of 60 to 148.
# Kernels for processors without AVX-512 pack everything, and tiles only cost there.
from cython cimport floating
from libc.string cimport memcpy

from ldl_cy._engine cimport vec
from ldl_cy._engine.blas cimport gemm

cdef enum:
    BLOCK_ROWS = 128
    BLOCK_BYTES = 256           # of a row of a block
    ROWS_AT_ONCE = 96           # of A: 96 x 64 x 128 is a small product


cdef inline void pack(
    Py_ssize_t k, Py_ssize_t n, bint tb,
    const floating *B,          # (k, n), or (n, k) if tb
    floating *blocks,           # k n numbers
) noexcept nogil:
    """The blocks of op(B)."""
    cdef Py_ssize_t i, i0, j, w, q, width = BLOCK_BYTES // sizeof(floating)
    j = 0
    while j < n:
        w = min(width, n - j)
        i0 = 0
        while i0 < k:
            q = min(<Py_ssize_t>BLOCK_ROWS, k - i0)
            if tb:
                vec.transpose(w, q, B + j * k + i0, k, blocks, w)
            else:
                for i in range(q):
                    memcpy(blocks + i * w, B + (i0 + i) * n + j, w * sizeof(floating))
            blocks += q * w
            i0 += q
        j += w


cdef inline void product(                                               # C = A op(B) + beta C
    bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A,          # (m, k)
    const floating *B,          # (k, n), or (n, k) if tb
    const floating *blocks,     # of op(B), or NULL
    floating beta,
    floating *C,                # (m, n)
) noexcept nogil:
    cdef Py_ssize_t p, i0, j, w, q, width = BLOCK_BYTES // sizeof(floating)
    cdef const floating *block
    if blocks == NULL or m == 1:
        gemm(False, tb, m, n, k, <floating>1, A, k, B, k if tb else n, beta, C, n)
        return
    while m > 0:
        p = min(<Py_ssize_t>ROWS_AT_ONCE, m)
        block = blocks
        j = 0
        while j < n:
            w = min(width, n - j)
            i0 = 0
            while i0 < k:
                q = min(<Py_ssize_t>BLOCK_ROWS, k - i0)
                gemm(False, False, p, w, q, <floating>1, A + i0, k, block, w,
                     beta if i0 == 0 else <floating>1, C + j, n)
                block += q * w
                i0 += q
            j += w
        A += p * k
        C += p * n
        m -= p


cdef inline void add_outer(                                             # C += A^T B
    bint tiles, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A,          # (k, m)
    const floating *B,          # (k, n)
    floating *C,                # (m, n)
) noexcept nogil:
    """With ``tiles`` out of small products, nothing copied."""
    cdef Py_ssize_t i, j, p, q, w, width = BLOCK_BYTES // sizeof(floating)
    # in float64 twice the bytes meet in a tile: fewer rows of A and B, and large ones stay whole
    cdef Py_ssize_t depth = 64 if floating is float else 32, height = 64 if floating is float else 128
    if not tiles or (floating is double and m * n > 32768):
        gemm(True, False, m, n, k, <floating>1, A, m, B, n, <floating>1, C, n)
        return
    while k > 0:
        q = min(depth, k)
        j = 0
        while j < n:
            w = min(width, n - j)
            i = 0
            while i < m:
                p = min(height, m - i)
                gemm(True, False, p, w, q, <floating>1, A + i, m, B + j, n, <floating>1, C + i * n + j, n)
                i += p
            j += w
        A += q * m
        B += q * n
        k -= q
