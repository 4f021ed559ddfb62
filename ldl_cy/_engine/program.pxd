"""Workspace: memory and tables for one plan, and the run over them (see run.pxd)."""
from ldl_cy._engine.collectives cimport Exchange
from ldl_cy._engine.loss cimport Loss
from ldl_cy._engine.pool cimport Pool, task_t
from ldl_cy._engine.run cimport Phase, Place, Run

cdef class Workspace:
    cdef Run run
    cdef readonly object plan
    cdef readonly str dtype
    cdef readonly Py_ssize_t n_params, n_threads, y_size
    cdef readonly bint calls_python         # stays on the calling thread
    cdef readonly double flops              # of all phases, over one row
    cdef public double share_above          # flops of a phase from which workers take part
    cdef object error                       # an exception that stopped the run
    cdef Loss loss                          # a copy of the kernel's that knows this workspace
    cdef list memory                        # arrays that the pointers point into
    cdef list axes                          # likewise, of the products
    cdef object kernels
    cdef Py_ssize_t n_blocks_max
    cdef Place input_place                  # where gathered rows go
    cdef object losses                      # of the blocks
    cdef object lanes                       # (n_lanes, padded n_params): the gradient accumulators
    cdef object added                       # (m, 2) int64: lane i += lane j, a binary tree
    cdef Exchange exchange                  # where several processes take each step together
    cdef task_t row_task, column_task, gradient_task

    cdef void set_data(self, const char *X, int kind, Py_ssize_t stride) noexcept nogil
    cdef int bind_data(self, object X, object targets, object weights, object order, object loss,
                       object lengths) except -1
    cdef int bind_memory(self, object theta, object state, Py_ssize_t n) except -1
    cdef void set_batch(self, Py_ssize_t start, Py_ssize_t n) noexcept nogil
    cdef void set_shards(self, Exchange exchange, Py_ssize_t step) noexcept nogil
    cdef void clear_partials(self, const Phase *phase) noexcept nogil
    cdef int exchange_blocks(self, double *values, Py_ssize_t width) noexcept nogil
    cdef int run_alone(self, Pool pool) noexcept nogil
    cdef void keep_forked(self) noexcept nogil
    cdef int run_step(self, Pool pool) noexcept nogil
    cdef int keep_error(self, object error) except -1
    cdef object take_error(self)
    cdef double batch_loss(self) noexcept nogil
    cdef double batch_weight(self) noexcept nogil
