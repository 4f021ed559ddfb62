"""Embedding and CategoryEmbedding: y = table[id], one row of a table for each id.

Embedding, one table for all ids of a row:

    y_i = table[x_i]                    x (n, tokens), table (n_ids, k), y (n, tokens, k)
    dtable[x_i] += dy_i                 which is dtable += X^T dy, X (n tokens, n_ids) the ids one-hot
    dx = 0                              y is a step function of x

CategoryEmbedding, a table for each column of categories, beside the numeric columns, which are copied:

    y = [x_numeric, table_1[x_1], table_2[x_2], ...]        x (n, n_in), table_c (n_ids_c, k_c)
    table_c[unknown] = sum_j p_j table_c[j],  p_j = counts_c[j] / sum(counts_c)
    dtable_c[x_c] += dy_c;  dtable_c[j] += p_j dy_c for every j where x_c is no id
    dx_numeric = dy_numeric, dx_c = 0

counts are the op's state, which it never changes. The means and 1 / sum(counts) are derived.
"""
from cython cimport floating
from cpython.bytearray cimport PyByteArray_AsString
from libc.string cimport memcpy, memset

from ldl_cy._engine cimport vec
from ldl_cy._engine.op cimport Call, Kernel, Op, assert_fits, backward_t, forward_t, prepare_t

cdef long long LARGEST_FLOAT32 = 1 << 24        # float32 holds every integer up to here
cdef long long LARGEST_DIM = (1 << 31) - 1      # so that sums of sizes fit into 63 bits: no network is larger than
cdef long long LARGEST_TABLES = 1 << 48         # this anyway

ctypedef struct Embedding:
    Py_ssize_t tokens           # ids in a row
    Py_ssize_t n_ids            # rows of the table
    Py_ssize_t k                # their length


cdef inline Py_ssize_t row_of(const Embedding *s, floating token) noexcept nogil:
    """The nearest integer; row 0 for a number that is no id, so that nothing outside of the table is read."""
    cdef double above = <double>token + 0.5
    if above >= 0 and above < s.n_ids:          # false for NaN
        return <Py_ssize_t>above
    return 0


cdef void forward(
    const Op *op, const Call *call,
    const floating *theta,      # table (n_ids, k)
    const floating *state, const floating *derived,
    const floating *x,          # (n, tokens)
    floating *y,                # (n, tokens, k)
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Embedding *s = <const Embedding*>&op.sizes[0]
    cdef Py_ssize_t i, k = s.k
    # y_i = table[x_i]
    for i in range(call.n * s.tokens):
        memcpy(y + i * k, theta + row_of(s, x[i]) * k, k * sizeof(floating))


cdef void backward(
    const Op *op, const Call *call, const floating *theta, const floating *state, const floating *derived,
    const floating *x,          # (n, tokens)
    const floating *y,
    floating *dy,               # (n, tokens, k)
    floating *dx,               # (n, tokens) or NULL
    floating *grad,             # (n_ids, k) or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Embedding *s = <const Embedding*>&op.sizes[0]
    cdef Py_ssize_t i, k = s.k
    if grad != NULL:
        # dtable[x_i] += dy_i, in the order of the tokens
        for i in range(call.n * s.tokens):
            vec.add(k, dy + i * k, grad + row_of(s, x[i]) * k)
    if dx != NULL:
        # dx = 0
        memset(dx, 0, call.n * s.tokens * sizeof(floating))


def embedding(str dtype, *, Py_ssize_t tokens, Py_ssize_t n_ids, Py_ssize_t k):
    """The kernel of ``layers.Embedding`` for rows of ``tokens`` ids below n_ids."""
    if dtype == "float32" and n_ids > LARGEST_FLOAT32:
        raise ValueError(f"Embedding: input_dim must be at most {LARGEST_FLOAT32} in float32, which holds no "
                         f"larger ids; use dtype='float64', got {n_ids}.")
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Embedding *s = <Embedding*>&op.sizes[0]
    assert_fits(sizeof(Embedding), sizeof(op.sizes))
    s.tokens, s.n_ids, s.k = tokens, n_ids, k
    op.x_size, op.y_size, op.n_params = tokens, tokens * k, n_ids * k
    op.flops = tokens * k
    if dtype == "float32":
        op.forward, op.backward = <forward_t>forward[float], <backward_t>backward[float]
    else:
        op.forward, op.backward = <forward_t>forward[double], <backward_t>backward[double]
    kernel.name, kernel.dtype = "embedding", dtype
    kernel.config = {"tokens": tokens, "n_ids": n_ids, "k": k}
    return kernel


# -- a table for each column of categories --------------------------------------------------------------------------

ctypedef struct Column:
    Py_ssize_t place            # in x
    Py_ssize_t n_ids            # rows of its table; its counts as well
    Py_ssize_t k                # their length
    Py_ssize_t table            # where its table begins in theta,
    Py_ssize_t counts           # its counts in state,
    Py_ssize_t mean             # its mean (k,) and 1 / sum(counts) in derived

ctypedef struct Numeric:        # columns of numbers beside each other
    Py_ssize_t place            # of the first in x
    Py_ssize_t n

ctypedef struct Columns:
    Py_ssize_t n_in
    Py_ssize_t n_numeric
    Py_ssize_t n_columns
    const Numeric *numeric      # (n_numeric,)
    const Column *columns       # (n_columns,)


cdef inline Py_ssize_t id_of(const Column *c, floating value) noexcept nogil:
    """The nearest integer, or -1 for a number that is no id."""
    cdef double above = <double>value + 0.5
    if above >= 0 and above < c.n_ids:          # false for NaN
        return <Py_ssize_t>above
    return -1


cdef inline void copy_numbers(Py_ssize_t n, const floating *x, floating *y) noexcept nogil:
    """y = x for n numbers: one alone is the most frequent, for which a call takes the most time."""
    if n == 1:
        y[0] = x[0]
    else:
        memcpy(y, x, n * sizeof(floating))


cdef void prepare_columns(
    const Op *op, const Call *call,
    const floating *theta,      # tables, one after the other
    const floating *state,      # counts, likewise
    floating *derived,          # for each column mean (k,), 1 / sum(counts)
) noexcept nogil:
    cdef const Columns *s = <const Columns*>&op.sizes[0]
    cdef const Column *c
    cdef const floating *counts
    cdef floating *mean
    cdef Py_ssize_t i, j
    cdef double total
    for i in range(s.n_columns):
        c = s.columns + i
        counts, mean = state + c.counts, derived + c.mean
        total = 0
        for j in range(c.n_ids):
            total += counts[j]
        # without a count the mean is 0
        mean[c.k] = <floating>(1 / total) if total > 0 else 0
        # mean = sum_j p_j table[j]
        memset(mean, 0, c.k * sizeof(floating))
        for j in range(c.n_ids):
            vec.axpy(c.k, counts[j] * mean[c.k], theta + c.table + j * c.k, mean)


cdef void forward_columns(
    const Op *op, const Call *call,
    const floating *theta,      # tables, one after the other
    const floating *state,
    const floating *derived,    # for each column mean (k,), 1 / sum(counts)
    const floating *x,          # (n, n_in)
    floating *y,                # (n, n_out)
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Columns *s = <const Columns*>&op.sizes[0]
    cdef const Column *c
    cdef Py_ssize_t _row, i, found
    for _row in range(call.n):
        # y = [x_numeric, table_1[x_1], ...]
        for i in range(s.n_numeric):
            copy_numbers(s.numeric[i].n, x + s.numeric[i].place, y)
            y += s.numeric[i].n
        for i in range(s.n_columns):
            c = s.columns + i
            found = id_of(c, x[c.place])
            memcpy(y, theta + c.table + found * c.k if found >= 0 else derived + c.mean, c.k * sizeof(floating))
            y += c.k
        x += s.n_in


cdef void backward_columns(
    const Op *op, const Call *call, const floating *theta,
    const floating *state,      # counts, one column after the other
    const floating *derived,    # for each column mean (k,), 1 / sum(counts)
    const floating *x,          # (n, n_in)
    const floating *y,
    floating *dy,               # (n, n_out)
    floating *dx,               # (n, n_in) or NULL
    floating *grad,             # as theta, or NULL
    floating *cache, floating *scratch,
) noexcept nogil:
    cdef const Columns *s = <const Columns*>&op.sizes[0]
    cdef const Column *c
    cdef Py_ssize_t _row, i, j, found
    for _row in range(call.n):
        if dx != NULL:
            # dx_numeric = dy_numeric, dx_c = 0
            memset(dx, 0, s.n_in * sizeof(floating))
        for i in range(s.n_numeric):
            if dx != NULL:
                copy_numbers(s.numeric[i].n, dy, dx + s.numeric[i].place)
            dy += s.numeric[i].n
        if dx != NULL:
            dx += s.n_in
        for i in range(s.n_columns):
            c = s.columns + i
            if grad != NULL:
                found = id_of(c, x[c.place])
                if found >= 0:
                    # dtable[x] += dy
                    vec.add(c.k, dy, grad + c.table + found * c.k)
                else:
                    # dtable[j] += p_j dy
                    for j in range(c.n_ids):
                        vec.axpy(c.k, state[c.counts + j] * derived[c.mean + c.k], dy, grad + c.table + j * c.k)
            dy += c.k
        x += s.n_in


def category_embedding(str dtype, *, Py_ssize_t n_in, tuple places, tuple n_ids, tuple k):
    """The kernel of ``layers.CategoryEmbedding``: rows of n_in numbers, at places[c] one of n_ids[c] ids."""
    cdef Kernel kernel = Kernel()
    cdef Op *op = &kernel.op
    cdef Columns *s = <Columns*>&op.sizes[0]
    cdef Column *c
    cdef Numeric *numeric
    cdef Py_ssize_t i, first = 0, last, n = len(places)
    assert_fits(sizeof(Columns), sizeof(op.sizes))
    fault = ("CategoryEmbedding: places must be different columns, each with an input_dim and an output_dim >= 1, got "
             f"{places} of {n_in} columns, {n_ids} and {k}.")[:400]
    if len(n_ids) != n or len(k) != n:
        raise ValueError(fault)
    # as many columns as there are categories: beside the op, in memory that lives as long as the kernel
    memory = bytearray(n * sizeof(Column) + (n + 1) * sizeof(Numeric))
    kernel.parts = (memory,)
    c = <Column*>PyByteArray_AsString(memory)
    numeric = <Numeric*>(c + n)
    s.n_in, s.columns, s.numeric, s.n_columns = n_in, c, numeric, n
    # columns of numbers are between two of categories
    edges = [*sorted(places), n_in]
    for i in range(n + 1):
        last = edges[i]
        if last < first or last > n_in - (i < n):
            raise ValueError(fault)
        if last > first:
            numeric[s.n_numeric].place, numeric[s.n_numeric].n = first, last - first
            s.n_numeric += 1
        op.y_size += last - first
        first = last + 1
    for i in range(n):
        c[i].place, c[i].n_ids, c[i].k = places[i], n_ids[i], k[i]
        if dtype == "float32" and c[i].n_ids >= LARGEST_FLOAT32:
            raise ValueError(f"CategoryEmbedding: input_dims must be less than {LARGEST_FLOAT32} in float32, which "
                             f"holds no larger ids; use dtype='float64', got {c[i].n_ids}.")
        c[i].table, c[i].counts, c[i].mean = op.n_params, op.n_state, op.n_derived
        if not (1 <= c[i].n_ids <= LARGEST_DIM and 1 <= c[i].k <= LARGEST_DIM and op.n_params <= LARGEST_TABLES):
            raise ValueError(fault)
        op.n_params += c[i].n_ids * c[i].k
        op.n_state += c[i].n_ids
        op.n_derived += c[i].k + 1
        op.y_size += c[i].k
    op.x_size, op.flops = n_in, op.y_size
    if dtype == "float32":
        op.prepare = <prepare_t>prepare_columns[float]
        op.forward, op.backward = <forward_t>forward_columns[float], <backward_t>backward_columns[float]
    else:
        op.prepare = <prepare_t>prepare_columns[double]
        op.forward, op.backward = <forward_t>forward_columns[double], <backward_t>backward_columns[double]
    kernel.name, kernel.dtype = "category_embedding", dtype
    kernel.config = {"n_in": n_in, "places": places, "n_ids": n_ids, "k": k}
    return kernel
