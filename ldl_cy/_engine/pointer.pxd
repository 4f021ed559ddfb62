"""The address of an array's memory."""
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer


cdef inline Py_ssize_t pointer(object array) except? -1:
    """Where an array begins, 0 for None. By the buffer protocol: 0.1 us, where array.ctypes.data takes 1."""
    cdef Py_buffer view
    if array is None:
        return 0
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    PyBuffer_Release(&view)
    return <Py_ssize_t>view.buf
