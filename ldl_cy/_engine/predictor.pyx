"""The fast path of predict: a few rows, without Python between the call and the kernels.

It takes what needs no further check: a plain C-contiguous array of float32, float64 or uint8, of the right shape and
with finite numbers, that has so few rows that more threads would not help, or comes with a number of threads. For
everything else ``predict`` returns None, and the general path does the work or raises the error. One row of the MLP
20-64-64-2 takes 26 us on the general path, 3 of which are arithmetic.
"""
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer)
from libc.float cimport DBL_MAX, FLT_MAX

from ldl_cy._engine.version cimport VersionCounter
from ldl_cy._engine.blas_threads cimport limit, release
from ldl_cy._engine.finite cimport within
from ldl_cy._engine.pool cimport MAX_THREADS, Pool
from ldl_cy._engine.process cimport abandoned, enter, leave
from ldl_cy._engine.program cimport Workspace

import numpy as np

cdef extern from "Python.h":
    # returns -1 with an exception set
    int try_buffer "PyObject_GetBuffer"(object array, Py_buffer *view, int flags)
    void PyErr_Clear()

cdef enum:
    MOST_AXES = 8
    # OpenBLAS starts threads for a product with a vector from 9,216 weights, for one of matrices later
    C_BLAS_THREADED_FLOPS = 2 * 9216
    # below this the calling thread keeps the GIL: a thread that waits for it could keep it for 5 ms
    LONG_FLOPS = 1000000

BLAS_THREADED_FLOPS = C_BLAS_THREADED_FLOPS  # of one op: from here on BLAS must be limited to one thread
cdef double NEVER = 1e300                   # time of the next look for signals, in a run too short for one


cdef class Predictor:
    """Predicts rows of one built model.

    Parameters
    ----------
    workspace : Workspace
        For inference, and for this predictor alone. Its number of threads is the most that may share a call.
    theta, state : arrays
        The model's own: read with every call.
    version : VersionCounter
        Of the two arrays.
    input_shape, output_shape : tuples
        Of one sample.
    most_rows : int
        Calls with more are for the general path.
    rows_alone : int
        Calls with more rows are shared by threads, and need their number.
    """
    cdef Workspace workspace
    cdef VersionCounter version
    cdef Pool pool
    cdef tuple output_shape, shape
    cdef object theta, state, ndarray, empty, dtype, checks
    cdef Py_ssize_t n_axes, x_size, n_last
    cdef Py_ssize_t axes[MOST_AXES]
    cdef readonly Py_ssize_t most_rows, rows_alone
    cdef readonly int n_threads, most_threads   # that it has memory for, and that may be of use
    cdef double flops, largest              # of a row: all, and of the op that has most
    cdef long place                         # of the call that runs

    def __init__(self, Workspace workspace, theta, state, VersionCounter version, tuple input_shape,
                 tuple output_shape, Py_ssize_t most_rows, Py_ssize_t rows_alone, checks=()):
        plan = workspace.plan
        self.checks = tuple(checks)
        cdef Py_ssize_t i
        self.workspace, self.theta, self.state, self.version = workspace, theta, state, version
        self.n_threads, self.rows_alone, self.pool = workspace.n_threads, rows_alone, Pool(1)
        self.most_threads = min(MAX_THREADS, -(-plan.capacity // plan.block_rows))
        self.ndarray, self.empty, self.dtype = np.ndarray, np.empty, np.dtype(workspace.dtype)
        self.output_shape, self.n_last, self.shape = output_shape, 1, (1, *output_shape)
        self.x_size, self.flops = workspace.run.x_size, max(1.0, workspace.flops)
        self.largest = max([p.node.kernel.flops for p in plan.nodes if p.node.kernel is not None], default=0.0)
        self.n_axes = len(input_shape)
        # networks that call Python, or have more axes, are for the general path
        self.most_rows = 0 if workspace.calls_python or self.n_axes >= MOST_AXES else most_rows
        for i in range(min(self.n_axes, MOST_AXES)):
            self.axes[i] = input_shape[i]
        workspace.bind_memory(theta, state, self.most_rows)

    @property
    def abandoned(self):
        """Whether this process was forked while another thread was in a call: what that left is of no use."""
        return abandoned(&self.place)

    def predict(self, X, n_threads=None, /):
        """The network's raw output for X (n, *input_shape), or None: not for this path.

        ``n_threads`` is the most threads to use; None is for rows that one thread should predict alone.
        """
        return self.take(X, n_threads, False)

    def predict_flat(self, X, n_threads=None, /):
        """The same, and rows may also be flat: X (n, x_size)."""
        return self.take(X, n_threads, True)

    cdef object take(self, object X, object n_threads, bint flat):
        cdef Py_buffer x, y
        cdef Py_ssize_t n, threads = 0
        cdef int kind
        cdef long ticket
        if n_threads is not None:
            if type(n_threads) is not int or n_threads < 1:
                return None
            threads = min(n_threads, <object>self.most_threads)
        if type(X) is not self.ndarray:
            return None
        if try_buffer(X, &x, PyBUF_STRIDES | PyBUF_FORMAT) < 0:
            PyErr_Clear()
            return None
        kind = self.kind_of(&x, flat, threads)
        if kind >= 0 and self.checks:
            try:
                if not self.accepts(X):
                    kind = -1
            except BaseException:
                PyBuffer_Release(&x)
                raise
        ticket = 0 if kind < 0 or abandoned(&self.place) else enter(&self.place)
        if ticket == 0:
            # not for this path, or another thread is in it
            PyBuffer_Release(&x)
            return None
        try:
            n = x.shape[0]
            if n != self.n_last:
                self.n_last, self.shape = n, (n, *self.output_shape)
            out = self.empty(self.shape, self.dtype)
            PyObject_GetBuffer(out, &y, PyBUF_WRITABLE)
            PyBuffer_Release(&y)
            self.run(<const char*>x.buf, kind, n, <char*>y.buf, threads if n > self.rows_alone else 1)
            if self.workspace.error is not None:
                raise self.workspace.take_error()
        finally:
            leave(&self.place, ticket)
            PyBuffer_Release(&x)
        return out

    cdef bint accepts(self, object X):
        """Whether the first layer takes these numbers."""
        rows = X.reshape(len(X), -1)
        try:
            for check in self.checks:
                check(rows)
        except Exception:
            return False
        return True

    cdef int kind_of(self, const Py_buffer *x, bint flat, Py_ssize_t threads) noexcept:
        """The number of X's dtype for the engine; -1 where anything is unusual."""
        cdef int i, kind
        cdef Py_ssize_t size, n
        cdef bint good
        if x.format == NULL or x.format[0] == 0 or x.format[1] != 0 or x.ndim < 1:
            return -1
        if x.format[0] == c"f":
            kind = 0
        elif x.format[0] == c"d":
            kind = 1
        elif x.format[0] == c"B":
            kind = 2
        else:
            return -1
        n = x.shape[0]
        if n < 1 or n > self.most_rows or (n > self.rows_alone and not 1 <= threads <= self.n_threads):
            return -1
        if not (flat and x.ndim == 2 and x.shape[1] == self.x_size):
            if x.ndim != self.n_axes + 1:
                return -1
            for i in range(self.n_axes):
                if x.shape[i + 1] != self.axes[i]:
                    return -1
        size = x.itemsize
        for i in range(x.ndim - 1, -1, -1):
            if x.shape[i] > 1 and x.strides[i] != size:
                return -1
            size *= x.shape[i]
        good = True
        if kind == 0:
            good = within(n * self.x_size, <const float*>x.buf, <float>FLT_MAX)
        elif kind == 1:
            good = within(n * self.x_size, <const double*>x.buf,
                          FLT_MAX if self.workspace.run.itemsize == 4 else DBL_MAX)
        return kind if good else -1

    cdef void run(self, const char *X, int kind, Py_ssize_t n, char *out, int threads) noexcept:
        cdef Workspace ws = self.workspace
        cdef bint limited = self.largest * n >= C_BLAS_THREADED_FLOPS
        ws.run.version = self.version.now()
        ws.set_data(X, kind, self.x_size * (4 if kind == 0 else 8 if kind == 1 else 1))
        ws.run.training, ws.run.stop = 0, 0
        # the output is written in place
        ws.run.places[ws.run.output].base = out
        ws.run.places[ws.run.output].row_bytes = self.workspace.y_size * ws.run.itemsize
        ws.run.places[ws.run.output].thread_bytes = 0
        ws.set_batch(0, n)
        if limited:
            limit()
        if self.flops * n < LONG_FLOPS:
            ws.run.next_poll = NEVER
            ws.run_alone(self.pool)
        else:
            ws.run.next_poll = 0
            self.pool.borrow(min(threads, self.n_threads))
            with nogil:
                ws.run_alone(self.pool)
            self.pool.give_back()
        if limited:
            release()
