"""BLAS limited to one thread through the libraries' own functions: 0.1 us, where threadpoolctl takes 3.

The first of several calls at a time sets the number, the last one restores it. threadpoolctl still
finds the libraries (see ldl_cy.threads), but its limits belong to one Python thread: when that thread restores the
number, BLAS would start threads in the other threads' work.
"""
import os

from ldl_cy._engine.process cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock, PyThread_type_lock)

cdef extern from "platform.h":
    pass

cdef extern from * nogil:
    """
    static LDL_THREAD_LOCAL long ldl_own_limits;
    """
    long own_limits "ldl_own_limits"        # of this thread

ctypedef int (*get_t)() noexcept nogil
ctypedef void (*set_t)(int) noexcept nogil

cdef enum:
    MAX_LIBRARIES = 16

cdef get_t getters[MAX_LIBRARIES]
cdef set_t setters[MAX_LIBRARIES]
cdef int before[MAX_LIBRARIES]             # what the last limit restores
cdef int n_libraries = 0
cdef long n_limits = 0                      # calls that need the limit now
# Held for a few instructions and never while something waits for the GIL: to wait with the GIL is safe.
cdef PyThread_type_lock lock = PyThread_allocate_lock()
if lock == NULL:
    raise MemoryError("blas_threads: no lock could be allocated.")


def register(size_t get, size_t put):
    """One more library, by the addresses of its ``int get(void)`` and ``void set(int)``; False: no room."""
    global n_libraries
    if n_libraries == MAX_LIBRARIES:
        return False
    PyThread_acquire_lock(lock, 1)
    getters[n_libraries], setters[n_libraries] = <get_t>get, <set_t>put
    before[n_libraries] = 0                 # not set by a limit that has begun: nothing to restore
    n_libraries += 1
    PyThread_release_lock(lock)
    return True


cdef void limit() noexcept nogil:
    global n_limits, own_limits
    cdef int i
    own_limits += 1
    PyThread_acquire_lock(lock, 1)
    if n_limits == 0:
        for i in range(n_libraries):
            before[i] = getters[i]()
            if before[i] != 1:
                setters[i](1)
    n_limits += 1
    PyThread_release_lock(lock)


cdef void release() noexcept nogil:
    global n_limits, own_limits
    own_limits -= 1
    PyThread_acquire_lock(lock, 1)
    n_limits -= 1
    if n_limits == 0:
        restore()
    PyThread_release_lock(lock)


cdef void restore() noexcept nogil:
    cdef int i
    for i in range(n_libraries):
        if before[i] > 1:
            setters[i](before[i])
        before[i] = 0


def _after_fork():
    """In a forked child, which has one thread: the limits of the others are gone, and the lock may be theirs."""
    global lock, n_limits
    lock = PyThread_allocate_lock()
    if lock == NULL:
        raise MemoryError("blas_threads: no lock could be allocated.")
    n_limits = own_limits
    if n_limits == 0:
        restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


cdef class BlasLimit:
    """``with BlasLimit():`` BLAS works on the calling thread."""

    def __enter__(self):
        limit()

    def __exit__(self, *exc):
        release()
