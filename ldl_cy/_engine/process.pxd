"""What all threads of the process share, and what is left of it in a forked child."""

cdef extern from "pythread.h" nogil:
    ctypedef void *PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock)
    int PyThread_acquire_lock(PyThread_type_lock, int)
    void PyThread_release_lock(PyThread_type_lock)

cdef long forks                 # of this process and those from which it was forked: another number in each child

# A place that one thread at a time may enter: a long, 0 in the beginning. What a thread has entered is free in a child.
# enter returns 0 if another thread is inside, or else a ticket for leave.
cdef long enter(long *place) noexcept nogil
cdef void leave(long *place, long ticket) noexcept nogil
# Whether a thread of an earlier process was inside when this one was forked: it left the work undone.
cdef bint abandoned(const long *place) noexcept nogil
