"""Windows on images: vec/window.h, for Cython."""

cdef extern from "vec/window.h" nogil:
    # the cell (ky, kx) of the window of output pixel (oy, ox) is the input pixel
    # (oy sh + ky dh - top, ox sw + kx dw - left); outside of the image it is 0
    ctypedef struct Window "ldl_window":
        Py_ssize_t h            # input
        Py_ssize_t w
        Py_ssize_t c
        Py_ssize_t kh           # window
        Py_ssize_t kw
        Py_ssize_t sh           # strides
        Py_ssize_t sw
        Py_ssize_t dh           # dilation
        Py_ssize_t dw
        Py_ssize_t top          # padding; below 0 it crops
        Py_ssize_t left
        Py_ssize_t oh           # output
        Py_ssize_t ow
