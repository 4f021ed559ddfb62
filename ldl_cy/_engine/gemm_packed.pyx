"""The products of gemm_packed.pxd called from Python, so that they can be tested against NumPy.

Matrices are NumPy arrays of one dtype, whose rows are contiguous; the distance between rows may be longer than a row.
"""
from cython cimport floating

PANEL_NUMBERS = PANEL


def has_kernels(str dtype):
    """Whether there are kernels for the instruction set in use; else BLAS makes these products."""
    return has_gemm_packed(<float>0) if dtype == "float32" else has_gemm_packed(<double>0)


def size_packed(Py_ssize_t k, Py_ssize_t n):
    """Numbers of a packed matrix."""
    return packed_size(k, n)


def pack_matrix(bint tb, B, packed):
    """Copy op(B) into packed, an array of ``size_packed`` numbers."""
    cdef Py_ssize_t k = B.shape[tb], n = B.shape[not tb]
    if B.dtype.name == "float32":
        pack(tb, k, n, <float*>start(B), stride(B), <float*>start(packed))
    else:
        pack(tb, k, n, <double*>start(B), stride(B), <double*>start(packed))


def product(bint ta, A, packed, S, C):
    """C = op(A) B + S; S is None, C itself, a matrix of its shape, or a row for all rows."""
    if C.dtype.name == "float32":
        call_product(ta, A, <float*>start(packed), S, C)
    else:
        call_product(ta, A, <double*>start(packed), S, C)


def product_by_panels(bint ta, bint tb, A, B, S, C, panel):
    """C = op(A) op(B) + S; panel: an array of ``PANEL_NUMBERS`` numbers to use."""
    if C.dtype.name == "float32":
        call_by_panels(ta, tb, A, B, S, C, <float*>start(panel))
    else:
        call_by_panels(ta, tb, A, B, S, C, <double*>start(panel))


cdef void *start(A):
    return NULL if A is None else <void*><size_t>A.ctypes.data


cdef Py_ssize_t stride(A):
    # BLAS wants at least 1 and the row's length, also of empty matrices; a row for all rows has none
    return 0 if A is None or A.ndim == 1 else max(1, A.shape[1], A.strides[0] // A.itemsize)


cdef void call_product(bint ta, A, const floating *packed, S, C):
    cdef Py_ssize_t m = C.shape[0], n = C.shape[1], k = A.shape[not ta]
    gemm_packed(ta, m, n, k, <floating*>start(A), stride(A), packed, <floating*>start(S), stride(S),
                <floating*>start(C), stride(C))


cdef void call_by_panels(bint ta, bint tb, A, B, S, C, floating *panel):
    cdef Py_ssize_t m = C.shape[0], n = C.shape[1], k = A.shape[not ta]
    gemm_by_panels(ta, tb, m, n, k, <floating*>start(A), stride(A), <floating*>start(B), stride(B),
                   <floating*>start(S), stride(S), <floating*>start(C), stride(C), panel)
