"""Versions of arrays: whether their numbers may have changed."""
cdef extern from "platform.h" nogil:
    long ldl_add(long *p, long v)
    long ldl_load(const long *p)
    int64_t ldl_add_64(int64_t *p, int64_t v)
    int64_t ldl_load_64(const int64_t *p)
    void ldl_store_64(int64_t *p, int64_t v)

cdef int64_t last_version = 0               # of all arrays


cdef class VersionCounter:
    """Tells whether arrays may have changed: each change gives them another version, which no arrays had before.

    Code that writes to the arrays does so within ``with version:``. ``hand_out`` must be called before an array is
    given to a caller who may write to it at any time: after that, nothing is known about its numbers.
    """

    def __cinit__(self):
        self.number, self.writers, self.given = ldl_add_64(&last_version, 1) + 1, 0, False

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
        ldl_store_64(&self.number, ldl_add_64(&last_version, 1) + 1)
        ldl_add(&self.writers, -1)

    cdef int64_t now(self) noexcept nogil:
        return 0 if self.given or ldl_load(&self.writers) else ldl_load_64(&self.number)
