"""Workers that live during one fit or predict and share out the tasks of a phase."""
from ldl_cy._engine.process cimport PyThread_type_lock

# One task of a phase, on thread number `thread` (0 is the caller).
ctypedef void (*task_t)(void *context, Py_ssize_t task, int thread) noexcept nogil

cdef enum:
    MAX_THREADS = 64
    STRIDE = 16                             # longs from counter to counter: no two in a cache line

cdef class Pool:
    cdef readonly int n_threads             # the caller and its workers
    cdef int most_threads
    cdef list workers
    cdef task_t run
    cdef void *context
    cdef Py_ssize_t n_tasks
    cdef long generation                    # counts phases; a change is the workers' start signal
    cdef long taken[MAX_THREADS * STRIDE]   # of each thread's share of the tasks
    cdef long busy                          # workers that have not finished the phase
    cdef long asleep[MAX_THREADS]           # 1: that worker (0: the caller) waits on its lock
    cdef PyThread_type_lock locks[MAX_THREADS]
    cdef bint closing
    cdef long process                       # forks, where the workers were started

    # Run tasks 0 .. n_tasks-1 and come back when all are done. The caller works too. 1 in a child that was forked, by a
    # signal's handler, while workers ran tasks: these are not done.
    cdef int parallel(self, task_t run, void *context, Py_ssize_t n_tasks) noexcept nogil
    cdef void _work(self, int thread) noexcept nogil
    cdef void _take(self, int thread) noexcept nogil
    cdef void _sleep(self, int thread) noexcept nogil
    cdef void _wake(self, int thread) noexcept nogil
