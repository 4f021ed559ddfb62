"""The threads of a call, which share out the tasks of a phase: the caller, and workers that live with the process."""
from ldl_cy._engine.process cimport PyThread_type_lock

# One task of a phase, on thread number `thread` (0 is the caller).
ctypedef void (*task_t)(void *context, Py_ssize_t task, int thread) noexcept nogil

cdef enum:
    MAX_THREADS = 64
    STRIDE = 16                             # longs from counter to counter: no two in a cache line

# A worker thread, or the record of one that has ended. Never freed: a thread that wakes it, or is woken by it, may
# still read it afterwards.
ctypedef struct Worker:
    long state                              # WAITS, CALLED, WORKS, ENDS
    long asleep                             # 1: it waits for start, or is about to
    long awaited                            # 1: a caller waits for ended, or is about to
    PyThread_type_lock start
    PyThread_type_lock ended
    void *pool                              # whose tasks it takes when it is called
    int thread                              # its number there
    long ended_thread                       # the system's number of the thread that has ended
    Worker *next                            # in a list
    long padding[STRIDE]                    # no cache line belongs to two records

cdef class Pool:
    cdef readonly int n_threads             # the caller and its workers
    cdef int most_threads
    cdef Worker *workers[MAX_THREADS]       # 1 .. n_threads - 1
    cdef task_t run
    cdef void *context
    cdef Py_ssize_t n_tasks
    cdef long taken[MAX_THREADS * STRIDE]   # of each thread's share of the tasks
    cdef long process                       # forks, where the workers were borrowed

    # Borrow workers, for n threads with the caller, and give them back: for calls without a ``with`` statement. The
    # caller limits BLAS to one thread meanwhile.
    cdef void borrow(self, int n) noexcept
    cdef void give_back(self) noexcept
    # Run tasks 0 .. n_tasks-1, the caller's thread among them, and return when all are done. Returns 0; or 1 in a child
    # that a signal's handler forked while workers ran tasks, which are then not done.
    cdef int parallel(self, task_t run, void *context, Py_ssize_t n_tasks) noexcept nogil
    # Run tasks until none is left: those of this thread's share, then of the others'.
    cdef void take(self, int thread) noexcept nogil
