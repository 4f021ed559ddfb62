"""The threads of a call, which share out the tasks of a phase: the caller, and workers that live with the process."""
from ldl_cy._engine.process cimport PyThread_type_lock

# One task of a phase, on thread number `thread` (0 is the caller).
ctypedef void (*task_t)(void *context, Py_ssize_t task, int thread) noexcept nogil

cdef enum:
    MAX_THREADS = 64
    STRIDE = 16                             # longs from counter to counter: no two in a cache line

# A thread of the process, or the record of one that has ended. Never freed: whoever wakes it, or is woken by it, may
# still read it then.
ctypedef struct Worker:
    long state                              # WAITS, CALLED, WORKS, ENDS
    long asleep                             # 1: it waits for start
    long awaited                            # 1: a caller waits for ended
    PyThread_type_lock start
    PyThread_type_lock ended
    void *pool                              # whose tasks it takes when it is called
    int thread                              # its number there
    Worker *next                            # in a list
    long apart[STRIDE]                      # from the next record in memory

cdef class Pool:
    cdef readonly int n_threads             # the caller and its workers
    cdef int most_threads
    cdef Worker *workers[MAX_THREADS]       # 1 .. n_threads - 1
    cdef task_t run
    cdef void *context
    cdef Py_ssize_t n_tasks
    cdef long taken[MAX_THREADS * STRIDE]   # of each thread's share of the tasks
    cdef long process                       # forks, where the workers were borrowed

    # Borrow workers, n threads with the caller, and give them back: for calls without a ``with`` statement. The caller
    # holds BLAS at one thread meanwhile.
    cdef void borrow(self, int n) noexcept
    cdef void give_back(self) noexcept
    # Run tasks 0 .. n_tasks-1 and come back when all are done. The caller works too. 1 in a child that was forked, by a
    # signal's handler, while workers ran tasks: these are not done.
    cdef int parallel(self, task_t run, void *context, Py_ssize_t n_tasks) noexcept nogil
    cdef void take(self, int thread) noexcept nogil
