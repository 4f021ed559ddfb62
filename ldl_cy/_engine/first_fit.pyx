"""The offsets of buffers that share memory: first fit, compiled because a deep network has thousands of buffers."""
from libc.string cimport memmove

import numpy as np


def first_fit(sizes, begins, ends):
    """Offsets of pieces of memory: the lowest at which a piece overlaps none that is placed and alive with it.

    Parameters
    ----------
    sizes : (n,) ints >= 0 whose sum is below 2^63
    begins, ends : (n,) ints
        The first and the last time at which each piece is alive.

    Returns
    -------
    (n,) int64 array
    """
    cdef:
        const long long[::1] size = np.asarray(sizes, np.int64)
        const long long[::1] begin = np.asarray(begins, np.int64)
        const long long[::1] end = np.asarray(ends, np.int64)
        Py_ssize_t n = size.shape[0], i, j, at
        long long start
    found = np.zeros(n, np.int64)
    # what is placed, in the order of the offsets: where it begins and ends in memory, and which piece it is
    places = np.zeros((3, n + 1), np.int64)
    cdef:
        long long[::1] offset = found, low = places[0], high = places[1], piece = places[2]
    for i in range(n):
        start = 0
        for j in range(i):
            if end[piece[j]] < begin[i] or end[i] < begin[piece[j]]:
                continue
            if start + size[i] <= low[j]:
                break
            start = max(start, high[j])
        offset[i] = start
        at = i
        while at > 0 and low[at - 1] > start:
            at -= 1
        memmove(&low[at + 1], &low[at], (i - at) * sizeof(long long))
        memmove(&high[at + 1], &high[at], (i - at) * sizeof(long long))
        memmove(&piece[at + 1], &piece[at], (i - at) * sizeof(long long))
        low[at], high[at], piece[at] = start, start + size[i], i
    return found
