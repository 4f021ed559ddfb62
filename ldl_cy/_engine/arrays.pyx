"""Arrays that begin on a cache line, and pointers to them: what a Workspace's memory is made of. Versions of arrays."""
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer

import numpy as np

cdef extern from "platform.h" nogil:
    long ldl_add(long *p, long v)
    long ldl_load(const long *p)
    void ldl_store(long *p, long v)

cdef long last_version = 0                  # of all arrays

cdef object MOST_BYTES = 1 << 47            # that a process can address


cdef Py_ssize_t pointer(object array) except? -1:
    """Where an array begins, 0 for None. By the buffer protocol: 0.1 us, where array.ctypes.data takes 1."""
    cdef Py_buffer view
    if array is None:
        return 0
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    PyBuffer_Release(&view)
    return <Py_ssize_t>view.buf


cdef object lines(object size):
    """Numbers up to a whole cache line, and one more."""
    return -(-size // 16) * 16 + 16


cdef object aligned(object size, str dtype):
    """An array of zeros that begins on a cache line."""
    n_bytes = size * np.dtype(dtype).itemsize
    if n_bytes > MOST_BYTES:
        raise no_memory(n_bytes)
    try:
        raw = np.zeros(n_bytes + 64, np.uint8)
    except MemoryError:
        raise no_memory(n_bytes) from None
    start = -raw.ctypes.data % 64
    return raw[start:start + n_bytes].view(dtype)


cdef object no_memory(object n_bytes):
    """The error of a workspace that is too large."""
    return MemoryError(f"Sequential: a workspace of {n_bytes / 2**30:,.1f} GiB does not fit into memory; summary() "
                       "shows how much a sample takes.")


cdef class VersionCounter:
    """Tells whether arrays may have changed: each change gives them another version, which no arrays had before.

    Code that writes to the arrays does so within ``with version:``. ``hand_out`` must be called before an array is
    given to a caller who may write to it at any time: after that, nothing is known about its numbers.
    """

    def __cinit__(self):
        self.number, self.writers, self.given = ldl_add(&last_version, 1) + 1, 0, False

    def hand_out(self):
        """From now on arrays may change without notice."""
        self.given = True

    @property
    def known(self):
        """Whether an equal version means equal numbers."""
        return self.now() != 0

    def __enter__(self):
        self.begin()

    def __exit__(self, *exc):
        self.end()

    cdef void begin(self) noexcept nogil:
        ldl_add(&self.writers, 1)

    cdef void end(self) noexcept nogil:
        ldl_store(&self.number, ldl_add(&last_version, 1) + 1)
        ldl_add(&self.writers, -1)

    cdef long now(self) noexcept nogil:
        return 0 if self.given or ldl_load(&self.writers) else ldl_load(&self.number)
