# Products of matrices composed of small ones, for a BLAS that runs small products without packing.
#
#     product, product_by_blocks      C = A op(B) + beta C        x W, h U, dz W^T
#     add_outer                       C += A^T B                  dW += x^T dz
#     outer_by_blocks                 C = A^T B                   the same, overwritten
#
# OpenBLAS's AVX-512 kernels run products up to m n k = 10^6 without packing, at full speed for any shape, as long
# as what they read of B fits L1 and the stride of its rows is not a power of two; larger ones they pack, both
# factors, which few rows never repay. So B (k, n) is copied once into blocks of 128 rows by 256 bytes, each
# contiguous, and a product with it is a loop over blocks. Measured, one thread, float32, GF/s of at most 160:
# 32x512x128 153 instead of 93, 32x128x512 153 instead of 84, 32x256x64 149 instead of 105, 512x64x512 157
# instead of 129; A^T B in tiles 64 deep 155 to 175 instead of 60 to 148. Kernels for processors without AVX-512
# pack everything; there blocks only cost, and each of these functions is one product by BLAS.
#
# Where a factor is used once, its blocks are copied one at a time and used while they are in L1
# (product_by_blocks, outer_by_blocks): 8x784x512 91 instead of 33, 32x784x512 140 instead of 82,
# 128x784x512 170 instead of 135; A^T B of 784x128x512 in tiles 170 instead of 160.
from cython cimport floating
from libc.string cimport memcpy

from ldl_cy._engine cimport vec
from ldl_cy._engine.blas cimport gemm

cdef enum:
    BLOCK_ROWS = 128
    BLOCK_BYTES = 256           # of a row of a block
    ROWS_AT_ONCE = 96           # of A: 96 x 64 x 128 is a small product
    DEPTH = 112                 # of a tile of A^T B, or of a block used once: 128 x 64 x 112 is a small product
    PANEL = DEPTH * 64          # scratch of add_outer
    BLOCK_PANEL = 128 * 64      # scratch of product_by_blocks and outer_by_blocks
    SMALL_PRODUCT = 1000000     # multiplications that OpenBLAS does unpacked


cdef inline void pack(
    Py_ssize_t k, Py_ssize_t n, bint tb,
    const floating *B, Py_ssize_t ldb,      # (k, n), or (n, k) if tb; ldb: stride of rows
    floating *blocks,           # k n numbers
) noexcept nogil:
    """Copy op(B) into blocks."""
    cdef Py_ssize_t i, i0, j, w, q, width = BLOCK_BYTES // sizeof(floating)
    j = 0
    while j < n:
        w = min(width, n - j)
        i0 = 0
        while i0 < k:
            q = min(<Py_ssize_t>BLOCK_ROWS, k - i0)
            if tb:
                vec.transpose(w, q, B + j * ldb + i0, ldb, blocks, w)
            else:
                for i in range(q):
                    memcpy(blocks + i * w, B + (i0 + i) * ldb + j, w * sizeof(floating))
            blocks += q * w
            i0 += q
        j += w


cdef inline void product(                                               # C = A op(B) + beta C
    bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A, Py_ssize_t lda,      # (m, k)
    const floating *B, Py_ssize_t ldb,      # (k, n), or (n, k) if tb
    const floating *blocks,     # of op(B), or NULL
    floating beta,
    floating *C, Py_ssize_t ldc,            # (m, n)
) noexcept nogil:
    cdef Py_ssize_t p, i0, j, w, q, width = BLOCK_BYTES // sizeof(floating)
    cdef const floating *block
    if blocks == NULL or m == 1:
        gemm(False, tb, m, n, k, <floating>1, A, lda, B, ldb, beta, C, ldc)
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
                gemm(False, False, p, w, q, <floating>1, A + i0, lda, block, w,
                     beta if i0 == 0 else <floating>1, C + j, ldc)
                block += q * w
                i0 += q
            j += w
        A += p * lda
        C += p * ldc
        m -= p


cdef inline void add_outer(                                             # C += A^T B
    bint tiles, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A,          # (k, m)
    const floating *B, Py_ssize_t ldb,      # (k, n)
    floating *C, Py_ssize_t ldc,            # (m, n)
    floating *panel,            # PANEL numbers to use
) noexcept nogil:
    """With ``tiles`` composed of small products, else one product by BLAS."""
    cdef Py_ssize_t i, j, p, q, w, ld, row, width = BLOCK_BYTES // sizeof(floating)
    cdef const floating *b
    # with a stride that is a power of two the rows of B share few sets of L1: a copy pays when 64 rows of C use it
    cdef bint spread = ldb * sizeof(floating) % 1024 != 0, copies = m >= 64 and not spread
    # 112 x 128 x 64 is a small product: C is read and written less often than with a depth of 64, with which
    # LSTM 256 -> 256 at 64 rows took 2 % longer
    cdef Py_ssize_t deepest
    if floating is float:
        deepest = DEPTH if copies or spread else 64
    else:
        deepest = 64 if copies else 32
    if not tiles:
        gemm(True, False, m, n, k, <floating>1, A, m, B, ldb, <floating>1, C, ldc)
        return
    while k > 0:
        # equal depths; in float64 a tile has twice the bytes, and with contiguous rows of B it may be deeper
        q = (k + deepest - 1) // deepest
        q = (k + q - 1) // q
        j = 0
        while j < n:
            w = min(width, n - j)
            b, ld = B + j, ldb
            if copies:
                for row in range(q):
                    memcpy(panel + row * w, b + row * ldb, w * sizeof(floating))
                b, ld = panel, w
            i = 0
            while i < m:
                p = min(<Py_ssize_t>128, m - i)
                gemm(True, False, p, w, q, <floating>1, A + i, m, b, ld, <floating>1, C + i * ldc + j, ldc)
                i += p
            j += w
        A += q * m
        B += q * ldb
        k -= q


cdef inline void copy_block(
    Py_ssize_t rows, Py_ssize_t cols, const floating *B, Py_ssize_t ldb, floating *block) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(rows):
        memcpy(block + i * cols, B + i * ldb, cols * sizeof(floating))


cdef inline void product_by_blocks(                                     # C = A op(B) + beta C
    bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A, Py_ssize_t lda,                                  # (m, k)
    const floating *B, Py_ssize_t ldb,                                  # (k, n), or (n, k) if tb
    floating beta,
    floating *C, Py_ssize_t ldc,                                        # (m, n)
    floating *block,            # BLOCK_PANEL numbers to use, or NULL: one product, as BLAS does it
) noexcept nogil:
    cdef Py_ssize_t i, j, r, w, q, rows, width = BLOCK_BYTES // sizeof(floating)
    # a transposed B is packed even in a small product
    if block == NULL or m == 1 or (not tb and m * n * k <= SMALL_PRODUCT):
        gemm(False, tb, m, n, k, <floating>1, A, lda, B, ldb, beta, C, ldc)
        return
    # from one block to its neighbour in the same rows of B, which are read along memory where B is larger than L2
    i = 0
    while i < k:
        q, j = min(<Py_ssize_t>DEPTH, k - i), 0
        while j < n:
            w = min(width, n - j)
            if tb:
                vec.transpose(w, q, B + j * ldb + i, ldb, block, w)
            else:
                copy_block(q, w, B + i * ldb + j, ldb, block)
            rows, r = SMALL_PRODUCT // (w * q), 0
            while r < m:
                gemm(False, False, min(rows, m - r), w, q, <floating>1, A + r * lda + i, lda, block, w,
                     beta if i == 0 else <floating>1, C + r * ldc + j, ldc)
                r += rows
            j += w
        i += q


cdef inline void outer_by_blocks(                                       # C = A^T B
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A, Py_ssize_t lda,                                  # (k, m)
    const floating *B,          # (k, n)
    floating *C,                # (m, n)
    floating *block,            # BLOCK_PANEL numbers to use
) noexcept nogil:
    # in float64 as many bytes of A
    cdef Py_ssize_t i, j, r, q, w, depth = DEPTH if floating is float else DEPTH // 2
    r = 0
    while r < k:
        q, j = min(<Py_ssize_t>128, k - r), 0
        while j < n:
            w = min(<Py_ssize_t>(BLOCK_BYTES // sizeof(floating)), n - j)
            copy_block(q, w, B + r * n + j, n, block)
            i = 0
            while i < m:
                gemm(True, False, min(depth, m - i), w, q, <floating>1, A + r * lda + i, lda, block, w,
                     <floating>0 if r == 0 else <floating>1, C + i * n + j, n)
                i += depth
            j += w
        r += q
