"""Counter-based random numbers for the engine and for kernels."""
from libc.stdint cimport uint64_t

cdef extern from "vec/rng.h" nogil:
    uint64_t ldl_key(uint64_t key, uint64_t name)
    uint64_t ldl_draw(uint64_t key, uint64_t i)
    double ldl_uniform(uint64_t key, uint64_t i)


cdef inline uint64_t layer_key(
    uint64_t seed, uint64_t epoch, uint64_t step, uint64_t layer) noexcept nogil:
    """The stream of one layer in one step; elements are counted over the whole batch."""
    return ldl_key(ldl_key(ldl_key(ldl_key(0, seed), epoch), step), layer + 16)


cdef inline void shuffle(uint64_t key, Py_ssize_t n, long long *order) noexcept nogil:
    """order (n,) = a permutation of 0 .. n-1: swap each place with one not after it (Fisher, Yates)."""
    cdef Py_ssize_t i, j
    for i in range(n):
        # a 64-bit draw modulo i+1: the bias is below n / 2^64
        j = <Py_ssize_t>(ldl_draw(key, <uint64_t>i) % <uint64_t>(i + 1))
        order[i] = order[j]
        order[j] = i
