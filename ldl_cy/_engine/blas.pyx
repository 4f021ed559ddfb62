"""The products of blas.pxd called from Python, so that they can be tested against NumPy."""
from cython cimport floating


def products(bint ta, bint tb, double alpha, const floating[:, :] A, const floating[:, :] B, double beta,
             floating[:, :] C):
    """C = alpha op(A) op(B) + beta C in place; the distance between rows may be longer than a row."""
    cdef Py_ssize_t m = C.shape[0], n = C.shape[1], k = A.shape[0] if ta else A.shape[1]
    gemm(ta, tb, m, n, k, <floating>alpha, start(A), step(A), start(B), step(B), <floating>beta,
         <floating*>start[floating](C), step[floating](C))


def matrix_vector(bint trans, double alpha, const floating[:, :] A, const floating[:] x, double beta, floating[:] y):
    """y = alpha op(A) x + beta y in place."""
    gemv(trans, A.shape[0], A.shape[1], <floating>alpha, start(A), step(A), &x[0] if x.shape[0] else NULL,
         x.strides[0] // <Py_ssize_t>sizeof(floating), <floating>beta, &y[0] if y.shape[0] else NULL,
         y.strides[0] // <Py_ssize_t>sizeof(floating))


cdef inline const floating *start(const floating[:, :] A) noexcept:
    return &A[0, 0] if A.shape[0] and A.shape[1] else NULL


cdef inline Py_ssize_t step(const floating[:, :] A) noexcept:
    # BLAS wants a leading dimension of at least 1 and the row's length, also of empty matrices
    return max(1, A.shape[1], A.strides[0] // <Py_ssize_t>sizeof(floating))
