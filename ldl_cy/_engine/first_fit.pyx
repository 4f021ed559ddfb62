"""The offsets of buffers that share memory: first fit, compiled because a deep network has thousands of buffers.

What is placed is kept in the order of the offsets, and of time where these are equal. Pieces of one offset form a run:
they are never alive together, so that those of a time are found by bisection. A prediction of any depth has few runs.
"""
from libc.string cimport memmove

import numpy as np


cdef inline Py_ssize_t end_of_run(const int *order, const long long *offset, Py_ssize_t j, Py_ssize_t n) noexcept nogil:
    """Behind the last piece with the offset of the j-th: steps that double, then bisection."""
    cdef long long low = offset[order[j]]
    cdef Py_ssize_t step = 1, a = j, b, middle
    while a + step < n and offset[order[a + step]] == low:
        a += step
        step *= 2
    b = min(n, a + step)
    while b - a > 1:
        middle = (a + b) // 2
        if offset[order[middle]] == low:
            a = middle
        else:
            b = middle
    return b


cdef inline Py_ssize_t first_alive(
        const int *order, const long long *end, Py_ssize_t a, Py_ssize_t b, long long time) noexcept nogil:
    """The first of the pieces a .. b - 1 of a run that is alive at ``time`` or later; b if there is none."""
    cdef Py_ssize_t middle
    while a < b:
        middle = (a + b) // 2
        if end[order[middle]] < time:
            a = middle + 1
        else:
            b = middle
    return a


def first_fit(sizes, begins, ends):
    """Offsets of pieces of memory: the lowest at which a piece overlaps none that is placed and alive with it.

    Parameters
    ----------
    sizes : (n,) ints > 0 whose sum is below 2^63
    begins, ends : (n,) ints
        The first and the last time at which each piece is alive.

    Returns
    -------
    (n,) int64 array
    """
    size_array, begin_array = np.asarray(sizes, np.int64), np.asarray(begins, np.int64)
    end_array, found = np.asarray(ends, np.int64), np.zeros(len(sizes) + 1, np.int64)
    order_array = np.zeros(len(sizes) + 1, np.int32)
    cdef:
        const long long[::1] sizes_ = np.append(size_array, 0), begins_ = np.append(begin_array, 0)
        const long long[::1] ends_ = np.append(end_array, 0)
        long long[::1] offsets_ = found
        int[::1] order_ = order_array
        const long long *size = &sizes_[0]
        const long long *begin = &begins_[0]
        const long long *end = &ends_[0]
        long long *offset = &offsets_[0]
        int *order = &order_[0]
        Py_ssize_t i, j, k, n = len(size_array)
        long long start
    for i in range(n):
        start = j = 0
        while j < i and start + size[i] > offset[order[j]]:
            k = end_of_run(order, offset, j, i)
            j = first_alive(order, end, j, k, begin[i])
            while j < k and begin[order[j]] <= end[i]:
                start = max(start, offset[order[j]] + size[order[j]])
                j += 1
            j = k
        offset[i] = start
        # before the first piece with a larger offset, or with this one and a later time
        j, k = 0, i
        while j < k:
            if offset[order[(j + k) // 2]] < start or (
                    offset[order[(j + k) // 2]] == start and begin[order[(j + k) // 2]] < begin[i]):
                j = (j + k) // 2 + 1
            else:
                k = (j + k) // 2
        memmove(order + j + 1, order + j, (i - j) * sizeof(int))
        order[j] = <int>i
    return found[:n]
