"""The worker pool: threads that are started when they are first needed and kept by the process.

A worker is a thread of the operating system that Python does not know: it has no thread state, ``threading`` does not
list it, and the interpreter does not wait for it when it ends. A call borrows as many workers as it needs, idle ones or
new ones, so that simultaneous calls have different workers. A worker waits spinning at first, because phases and calls
follow each other within microseconds, and then sleeps on a lock of its own, because machines are shared. No OpenMP.

A phase calls the workers of its pool. One that has not begun when the caller finds no task left is called off, so a
sleeping worker costs the system call that wakes it (some 3 us), and never the wait for it.

A thread begins with its own share of a phase's tasks, the t-th of n contiguous ranges, and then takes tasks from the
others' shares. Phases number their tasks alike, so what a thread wrote is mostly in its own cache when it is read.

Idle workers are ended before a fork, so that a process in which no call runs forks with a single thread; in the child
there are none. Parent and child start new ones when they need them.

All reads and writes of a worker's state and marks are sequentially consistent. That is why no call is missed: a worker
sets the mark ``asleep`` before it reads its state once more, and a caller writes the state before it reads the mark, so
at least one of them sees what the other has written. ``awaited`` and the state work in the same way in the opposite
direction.
"""
import os

from libc.stdlib cimport calloc

from ldl_cy._engine.blas_threads cimport limit, release
from ldl_cy._engine.process cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_release_lock, PyThread_type_lock, forks)

cdef extern from "platform.h" nogil:
    long ldl_add(long *p, long v)
    bint ldl_change(long *p, long before, long after)
    long ldl_load(const long *p)
    void ldl_store(long *p, long v)
    long ldl_swap(long *p, long v)
    void ldl_pause()

cdef extern from "native_thread.h" nogil:
    bint ldl_start_thread(void (*work)(void *) noexcept nogil, void *argument)
    long ldl_thread_number()
    void ldl_wait_for_exit(long number)

cdef extern from "vec/cpu.h" nogil:
    unsigned long long ldl_flush_denormals()

cdef enum:                                  # states of a worker, which alone leaves WORKS
    WAITS, CALLED, WORKS, ENDS

cdef enum:
    SPINS = 2000                            # pauses before a sleep, some 20 to 100 microseconds
    MOST_WORKERS = 256                      # of a process; further calls have fewer

# Held for a few instructions, or while idle workers end, which take neither the GIL nor this lock: waiting for it with
# the GIL is safe.
cdef PyThread_type_lock lists = PyThread_allocate_lock()
if lists == NULL:
    raise MemoryError("pool: no lock could be allocated.")
cdef Worker *waiting = NULL                 # workers that no call has borrowed
cdef Worker *unused = NULL                  # records without a thread
cdef int n_workers = 0                      # threads


cdef Worker *start_worker() noexcept nogil:
    """A new thread, or NULL: the system gives none (Pyodide, a limit), or there are enough. With ``lists`` held."""
    global unused, n_workers
    cdef Worker *worker = unused
    if n_workers >= MOST_WORKERS:
        return NULL
    if worker == NULL:
        worker = <Worker*>calloc(1, sizeof(Worker))
        if worker == NULL:
            return NULL
        worker.start, worker.ended = PyThread_allocate_lock(), PyThread_allocate_lock()
        if worker.start == NULL or worker.ended == NULL:
            return NULL
        PyThread_acquire_lock(worker.start, 1)
        PyThread_acquire_lock(worker.ended, 1)
    else:
        unused = worker.next
    worker.state = WAITS
    if not ldl_start_thread(live, worker):
        worker.next, unused = unused, worker
        return NULL
    n_workers += 1
    return worker


cdef void live(void *argument) noexcept nogil:
    """A worker's life."""
    cdef Worker *worker = <Worker*>argument
    cdef long state
    cdef int spins = 0
    ldl_flush_denormals()
    while True:
        state = ldl_load(&worker.state)
        if state == ENDS:
            ldl_store(&worker.ended_thread, ldl_thread_number())
            PyThread_release_lock(worker.ended)
            return
        if state == CALLED and ldl_change(&worker.state, CALLED, WORKS):
            (<Pool>worker.pool).take(worker.thread)
            ldl_store(&worker.state, WAITS)
            # from here on the pool may be another call's, or gone
            if ldl_swap(&worker.awaited, 0) == 1:
                PyThread_release_lock(worker.ended)
            spins = 0
        elif spins < SPINS:
            spins += 1
            ldl_pause()
        else:
            ldl_store(&worker.asleep, 1)
            if ldl_load(&worker.state) == WAITS or ldl_swap(&worker.asleep, 0) == 0:
                # in the second case another thread has seen the mark and released the lock: take that token back
                PyThread_acquire_lock(worker.start, 1)
            spins = 0


cdef void wake(Worker *worker) noexcept nogil:
    """Let a worker that sleeps, or is about to, read its state."""
    if ldl_swap(&worker.asleep, 0) == 1:
        PyThread_release_lock(worker.start)


cdef void wait_for(Worker *worker) noexcept nogil:
    """Return when a worker that was called has no task of this call any more; call it off if it has not begun."""
    cdef int spins = 0
    if ldl_change(&worker.state, CALLED, WAITS):
        return
    while ldl_load(&worker.state) == WORKS:
        spins += 1
        if spins < SPINS:
            ldl_pause()
            continue
        ldl_store(&worker.awaited, 1)
        if ldl_load(&worker.state) == WORKS or ldl_swap(&worker.awaited, 0) == 0:
            PyThread_acquire_lock(worker.ended, 1)


cdef class Pool:
    """``with Pool(n) as pool:`` the caller and n - 1 workers, with BLAS limited to one thread.

    Where a thread cannot be started (Pyodide, a limit of the system), the caller and the workers that were started do
    all the work, and in a forked child the caller alone, with the same results. A pool of one thread may be used by
    several calls at a time.

    Parameters
    ----------
    n_threads : int
        At most 64 are used, and at least one.

    Attributes
    ----------
    n_threads : int
        The caller and the workers that it has borrowed.
    """

    def __cinit__(self, int n_threads):
        self.n_threads, self.process = 1, forks
        self.most_threads = max(1, min(n_threads, MAX_THREADS))

    def __dealloc__(self):
        self.give_back()

    def __enter__(self):
        limit()
        self.borrow(self.most_threads)
        return self

    def __exit__(self, *exc):
        self.give_back()
        release()

    cdef void borrow(self, int n) noexcept:
        global waiting
        cdef Worker *worker
        if n <= 1:
            return
        if self.process != forks:
            self.n_threads, self.process = 1, forks
        PyThread_acquire_lock(lists, 1)
        while self.n_threads < n:
            worker = waiting
            if worker == NULL:
                worker = start_worker()
                if worker == NULL:
                    break
            else:
                waiting = worker.next
            self.workers[self.n_threads] = worker
            self.n_threads += 1
        PyThread_release_lock(lists)

    cdef void give_back(self) noexcept:
        global waiting
        cdef Worker *worker
        if self.n_threads == 1:
            return
        if self.process == forks:
            PyThread_acquire_lock(lists, 1)
            while self.n_threads > 1:       # the first one comes to the front, and is lent as the first again
                self.n_threads -= 1
                worker = self.workers[self.n_threads]
                worker.next, waiting = waiting, worker
            PyThread_release_lock(lists)
        self.n_threads = 1

    cdef void take(self, int thread) noexcept nogil:
        cdef Py_ssize_t share = (self.n_tasks + self.n_threads - 1) // self.n_threads, i, task
        cdef int k, owner
        for k in range(self.n_threads):
            owner = (thread + k) % self.n_threads
            while True:
                i = ldl_add(&self.taken[owner * STRIDE], 1)
                task = owner * share + i
                if i >= share or task >= self.n_tasks:
                    break
                self.run(self.context, task, thread)

    cdef int parallel(self, task_t run, void *context, Py_ssize_t n_tasks) noexcept nogil:
        cdef Py_ssize_t task
        cdef Worker *worker
        cdef int i, called
        if self.n_threads == 1 or n_tasks <= 1 or self.process != forks:
            for task in range(n_tasks):
                run(context, task, 0)
            return 0
        self.run = run
        self.context = context
        self.n_tasks = n_tasks
        for i in range(self.n_threads):
            ldl_store(&self.taken[i * STRIDE], 0)
        called = <int>min(self.n_threads, n_tasks)
        for i in range(1, called):
            worker = self.workers[i]
            worker.pool, worker.thread = <void*>self, i
            ldl_store(&worker.state, CALLED)
            wake(worker)
        self.take(0)
        if self.process != forks:
            for i in range(1, called):
                if ldl_load(&self.workers[i].state) == WORKS:
                    return 1
            return 0
        for i in range(1, called):
            wait_for(self.workers[i])
        return 0


def count_workers():
    """The number of worker threads in this process, and of those among them that no call has borrowed."""
    cdef Worker *worker
    cdef int free = 0
    PyThread_acquire_lock(lists, 1)
    worker = waiting
    while worker != NULL:
        worker, free = worker.next, free + 1
    PyThread_release_lock(lists)
    return n_workers, free


def _before_fork():
    """End the workers that no call has borrowed."""
    global waiting, unused, n_workers
    cdef Worker *worker
    PyThread_acquire_lock(lists, 1)
    worker = waiting
    while worker != NULL:
        ldl_store(&worker.state, ENDS)
        wake(worker)
        worker = worker.next
    while waiting != NULL:
        worker = waiting
        PyThread_acquire_lock(worker.ended, 1)
        # Python 3.12 and later warn where a process with several threads forks, and ask the system for their number
        ldl_wait_for_exit(ldl_load(&worker.ended_thread))
        waiting, n_workers = worker.next, n_workers - 1
        worker.next, unused = unused, worker
    PyThread_release_lock(lists)


def _after_fork():
    """In a forked child, which has one thread: locks that the parent's others held stay locked, so none is kept."""
    global lists, waiting, unused, n_workers
    lists = PyThread_allocate_lock()
    if lists == NULL:
        raise MemoryError("pool: no lock could be allocated.")
    waiting, unused, n_workers = NULL, NULL, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
