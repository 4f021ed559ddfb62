# SciPy's BLAS, the only file that calls it. Everything here is row-major (C order), without the GIL.
#
# BLAS is column-major, and a row-major matrix is the column-major transpose of itself:
#     C = op(A) op(B)   <=>   C^T = op(B)^T op(A)^T
# so each call swaps its operands and keeps the transposition letters.
#
# Empty products are legal everywhere: nothing is read, C becomes beta C.
# Callers check in Python that sizes fit BLAS's int (see ldl_cy.checks).
from cython cimport floating
from scipy.linalg.cython_blas cimport dgemm, dgemv, sgemm, sgemv


cdef inline void gemv(                                                                # y = alpha op(A) x + beta y
    bint trans, Py_ssize_t m, Py_ssize_t n, floating alpha, const floating *A,        # IN  (m, n), row stride lda
    Py_ssize_t lda, const floating *x, Py_ssize_t incx,                               # IN  (n,), or (m,) if trans
    floating beta, floating *y, Py_ssize_t incy,                                      # IN/OUT (m,), or (n,)
) noexcept nogil:
    cdef:
        char t = c'n' if trans else c't'
        int cols = <int>n, rows = <int>m, ld = <int>lda, ix = <int>incx, iy = <int>incy
        Py_ssize_t i, n_y = n if trans else m
    if m == 0 or n == 0:
        # the reference BLAS returns before it scales y
        for i in range(n_y):
            y[i * incy] = 0 if beta == 0 else beta * y[i * incy]
        return
    if floating is float:
        sgemv(&t, &cols, &rows, &alpha, <float*>A, &ld, <float*>x, &ix, &beta, y, &iy)
    else:
        dgemv(&t, &cols, &rows, &alpha, <double*>A, &ld, <double*>x, &ix, &beta, y, &iy)


cdef inline void gemm(                                                                # C = alpha op(A) op(B) + beta C
    bint ta, bint tb, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, floating alpha,
    const floating *A, Py_ssize_t lda,                                                # IN  (m, k), or (k, m) if ta
    const floating *B, Py_ssize_t ldb,                                                # IN  (k, n), or (n, k) if tb
    floating beta, floating *C, Py_ssize_t ldc,                                       # IN/OUT (m, n)
) noexcept nogil:
    cdef:
        char a = c't' if ta else c'n'
        char b = c't' if tb else c'n'
        int rows = <int>m, cols = <int>n, inner = <int>k
        int la = <int>lda, lb = <int>ldb, lc = <int>ldc
        Py_ssize_t i, j
    if m == 0 or n == 0:
        return
    if k == 0:
        for i in range(m):
            for j in range(n):
                C[i * ldc + j] = 0 if beta == 0 else beta * C[i * ldc + j]
        return
    if m == 1:
        # one row is a product with a vector: gemv reads B once, gemm would pack it first
        gemv(not tb, n if tb else k, k if tb else n, alpha, B, ldb, A, lda if ta else 1, beta, C, 1)
        return
    if n == 1:
        gemv(ta, k if ta else m, m if ta else k, alpha, A, lda, B, 1 if tb else ldb, beta, C, ldc)
        return
    if floating is float:
        sgemm(&b, &a, &cols, &rows, &inner, &alpha, <float*>B, &lb, <float*>A, &la, &beta, C, &lc)
    else:
        dgemm(&b, &a, &cols, &rows, &inner, &alpha, <double*>B, &lb, <double*>A, &la, &beta, C, &lc)
