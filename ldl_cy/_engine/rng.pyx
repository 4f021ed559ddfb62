"""Random streams named by numbers: (seed, ...) -> the same draws on every machine and thread.

The generator is in vec/rng.h. Weights, permutations and masks are drawn from it, not from NumPy's generators,
whose streams may change between versions.
"""
from libc.stdint cimport uint64_t

import numpy as np
from scipy.special import ndtri

# what a stream is for; the engine's dropout streams start at 16 (see layer_key)
INITIAL_WEIGHTS, PERMUTATION = 1, 2


cdef class Stream:
    """A stream of random numbers, a pure function of its name.

    Parameters
    ----------
    *name : ints
        The seed, then the numbers that tell this stream from the others.
    """
    cdef uint64_t key
    cdef uint64_t position

    def __init__(self, *name):
        self.key = 0
        self.position = 0
        for number in name:
            self.key = ldl_key(self.key, <uint64_t>(int(number) & 0xFFFFFFFFFFFFFFFF))

    def uniform(self, shape):
        """float64 on [0, 1), 53 random bits each."""
        out = np.empty(shape)
        cdef double[::1] flat = out.reshape(-1)
        cdef Py_ssize_t i
        for i in range(flat.shape[0]):
            flat[i] = ldl_uniform(self.key, self.position + i)
        self.position += flat.shape[0]
        return out

    def normal(self, shape):
        """Standard normal float64, by the inverse distribution function of a uniform draw."""
        # shifted by half a step off 0, where the inverse is -inf
        return ndtri(self.uniform(shape) + 2.0**-54)

    def permutation(self, Py_ssize_t n):
        """A permutation of 0 .. n-1 as int64 (Fisher and Yates)."""
        out = np.empty(n, np.int64)
        cdef long long[::1] order = out
        if n:
            shuffle(self.key, n, &order[0])
        return out
