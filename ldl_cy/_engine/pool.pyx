"""The worker pool: Python threads that run without the GIL until they end.

Between phases a worker spins for a moment, because phases follow each other within microseconds, and
then sleeps on a lock of its own, because machines are shared. No OpenMP.

A thread begins with its own share of a phase's tasks, the t-th of n contiguous ranges, and then takes tasks from the
others' shares. Phases number their tasks alike, so what a thread wrote is mostly in its own cache when it is read.
"""
import threading

from ldl_cy._engine.blas_threads cimport limit, release
from ldl_cy._engine.process cimport (
    PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock, forks)

cdef extern from "platform.h" nogil:
    long ldl_add(long *p, long v)
    long ldl_load(const long *p)
    void ldl_store(long *p, long v)
    long ldl_swap(long *p, long v)
    void ldl_pause()

cdef extern from "vec/cpu.h" nogil:
    unsigned long long ldl_flush_denormals()
    void ldl_restore_denormals(unsigned long long)

cdef int SPINS = 2000                       # pauses before a sleep, some 20 to 100 microseconds


cdef class Pool:
    """``with Pool(n) as pool:`` the caller and n - 1 workers, with BLAS limited to one thread.

    Where a thread can't be started (Pyodide, a limit of the system's) those that were started and the caller do all the
    work, in a forked child the caller alone: results are the same. A pool of one thread may be used by several calls
    at a time.
    """

    def __cinit__(self, int n_threads):
        cdef int i
        self.n_threads = 1
        self.workers = []
        self.generation = 0
        self.closing = False
        self.process = forks
        for i in range(MAX_THREADS):
            self.asleep[i] = 0
            self.locks[i] = NULL

    def __init__(self, int n_threads):
        cdef int i
        self.most_threads = max(1, min(n_threads, MAX_THREADS))
        for i in range(self.most_threads if self.most_threads > 1 else 0):
            self.locks[i] = PyThread_allocate_lock()
            if self.locks[i] == NULL:
                raise MemoryError("Pool: no lock could be allocated.")
            PyThread_acquire_lock(self.locks[i], 1)

    def __enter__(self):
        limit()
        try:
            self.start()
        except BaseException:               # Ctrl-C while a thread starts
            self.close()
            release()
            raise
        return self

    def __exit__(self, *exc):
        try:
            self.close()
        finally:
            release()

    def start(self):
        """Start the workers."""
        cdef int i
        for i in range(1, self.most_threads):
            worker = threading.Thread(target=self._run, args=(i,), daemon=True, name=f"ldl_cy-{i}")
            self.workers.append(worker)
            try:
                worker.start()
            except RuntimeError:
                self.workers.pop()
                break
            self.n_threads += 1

    def close(self):
        """End the workers and wait for them."""
        cdef int i
        if self.process == forks:
            self.closing = True
            ldl_add(&self.generation, 1)
            for i in range(1, 1 + <int>len(self.workers)):
                self._wake(i)
            for worker in self.workers:
                if worker.is_alive():       # one that had not begun yet ends when it begins
                    worker.join()
        self.workers = []
        self.n_threads = 1

    def __dealloc__(self):
        cdef int i
        for i in range(MAX_THREADS):
            # in a child a thread that does not exist may be waiting for it
            if self.locks[i] != NULL and self.process == forks:
                PyThread_free_lock(self.locks[i])

    def _run(self, int thread):
        with nogil:
            self._work(thread)

    cdef void _work(self, int thread) noexcept nogil:
        cdef long seen = 0
        cdef int spins
        cdef unsigned long long mode = ldl_flush_denormals()
        while True:
            spins = 0
            while ldl_load(&self.generation) == seen:
                spins += 1
                if spins < SPINS:
                    ldl_pause()
                else:
                    ldl_store(&self.asleep[thread], 1)
                    if ldl_load(&self.generation) == seen:
                        self._sleep(thread)
                    elif ldl_swap(&self.asleep[thread], 0) == 0:
                        # the caller saw the mark and released the lock: take that token back
                        PyThread_acquire_lock(self.locks[thread], 1)
            seen += 1
            if self.closing:
                break
            self._take(thread)
            if ldl_add(&self.busy, -1) == 1:
                self._wake(0)
        ldl_restore_denormals(mode)

    cdef void _sleep(self, int thread) noexcept nogil:
        PyThread_acquire_lock(self.locks[thread], 1)

    cdef void _wake(self, int thread) noexcept nogil:
        if ldl_swap(&self.asleep[thread], 0) == 1:
            PyThread_release_lock(self.locks[thread])

    cdef void _take(self, int thread) noexcept nogil:
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
        cdef int i, spins
        if self.n_threads == 1 or n_tasks <= 1 or self.process != forks:
            for task in range(n_tasks):
                run(context, task, 0)
            return 0
        self.run = run
        self.context = context
        self.n_tasks = n_tasks
        for i in range(self.n_threads):
            ldl_store(&self.taken[i * STRIDE], 0)
        ldl_store(&self.busy, self.n_threads - 1)
        ldl_add(&self.generation, 1)
        for i in range(1, self.n_threads):
            self._wake(i)
        self._take(0)
        if self.process != forks:
            return ldl_load(&self.busy) > 0
        spins = 0
        while ldl_load(&self.busy) > 0:
            spins += 1
            if spins < SPINS:
                ldl_pause()
            else:
                ldl_store(&self.asleep[0], 1)
                if ldl_load(&self.busy) > 0:
                    self._sleep(0)
                elif ldl_swap(&self.asleep[0], 0) == 0:
                    PyThread_acquire_lock(self.locks[0], 1)
        return 0
