"""Rows whose numbers have parameters of their own or share them along axes, walked in runs, their last axis.

For prelu and normalization. The parameters of the number at (i_1, .., i_d) in a row are at sum_a i_a stride_a, where
the stride of a shared axis is 0.
"""
cdef enum:
    MOST_AXES = 16              # neighbours of one kind counted as one, see _engine/axes.py: layers refuse more

ctypedef struct Runs:
    Py_ssize_t count            # runs in a row: the product of the sizes below
    Py_ssize_t k                # numbers in a run, contiguous in x
    int shared                  # whether a run's numbers share one parameter, or have k in a row
    int n_axes                  # axes outside the runs
    Py_ssize_t[MOST_AXES - 1] size
    Py_ssize_t[MOST_AXES - 1] stride    # of the parameters, 0 along a shared axis


cdef inline Py_ssize_t next_run(
    const Runs *s,
    Py_ssize_t *at,             # (n_axes,) the run's place along each axis, moved to the next run
    Py_ssize_t first,           # place of the run's first parameter
) noexcept nogil:
    """first of the next run; after the last run of a row it is that of the first."""
    cdef Py_ssize_t a
    for a in range(s.n_axes - 1, -1, -1):
        at[a] += 1
        first += s.stride[a]
        if at[a] < s.size[a]:
            break
        at[a] = 0
        first -= s.size[a] * s.stride[a]
    return first


cdef inline Py_ssize_t fill_runs(Runs *s, tuple sizes, tuple strides):
    """Set up rows of at most 16 axes, the last with the stride 0 or 1; returns the number of parameters."""
    cdef Py_ssize_t a, n_params = 1
    s.n_axes = len(sizes) - 1
    s.count, s.k, s.shared = 1, sizes[s.n_axes], strides[s.n_axes] == 0
    for a in range(s.n_axes):
        s.size[a], s.stride[a] = sizes[a], strides[a]
        s.count *= s.size[a]
    for a in range(s.n_axes + 1):
        n_params *= sizes[a] if strides[a] else 1
    return n_params
