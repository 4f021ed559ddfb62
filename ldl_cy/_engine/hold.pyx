"""BLAS held at one thread through the libraries' own functions: 0.1 us, where threadpoolctl takes 3.

The first of several calls at a time sets the number, the last one restores it. threadpoolctl is still
who finds the libraries (see ldl_cy.threads); it lets one Python thread alone set numbers, which would
leave the others' work unheld.
"""
from ldl_cy._engine.pool cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock, PyThread_type_lock)

ctypedef int (*get_t)() noexcept nogil
ctypedef void (*set_t)(int) noexcept nogil

cdef enum:
    MOST = 16

cdef get_t getters[MOST]
cdef set_t setters[MOST]
cdef int before[MOST]
cdef int n_libraries = 0
cdef long holds = 0                         # calls that hold BLAS now
# Held for a few instructions and never while something waits for the GIL: to wait with the GIL is safe.
cdef PyThread_type_lock lock = PyThread_allocate_lock()
if lock == NULL:
    raise MemoryError("hold: no lock could be allocated.")


def register(size_t get, size_t put):
    """One more library, by the addresses of its ``int get(void)`` and ``void set(int)``; False: no room."""
    global n_libraries
    if n_libraries == MOST:
        return False
    PyThread_acquire_lock(lock, 1)
    getters[n_libraries], setters[n_libraries] = <get_t>get, <set_t>put
    before[n_libraries] = 0                 # unknown to a hold that has begun: nothing to restore
    n_libraries += 1
    PyThread_release_lock(lock)
    return True


cdef void hold() noexcept nogil:
    global holds
    cdef int i
    PyThread_acquire_lock(lock, 1)
    if holds == 0:
        for i in range(n_libraries):
            before[i] = getters[i]()
            if before[i] != 1:
                setters[i](1)
    holds += 1
    PyThread_release_lock(lock)


cdef void let_go() noexcept nogil:
    global holds
    cdef int i
    PyThread_acquire_lock(lock, 1)
    holds -= 1
    if holds == 0:
        for i in range(n_libraries):
            if before[i] > 1:
                setters[i](before[i])
    PyThread_release_lock(lock)


cdef class Hold:
    """``with Hold():`` BLAS works on the calling thread."""

    def __enter__(self):
        hold()
        return self

    def __exit__(self, *exc):
        let_go()
