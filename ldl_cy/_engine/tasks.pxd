"""The tasks of a phase: task(run, i, thread) for the pool; thread 0 looks for Ctrl-C between blocks and tiles."""
from ldl_cy._engine.run cimport Instruction, Run


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    # division is C's here and cuts towards 0: numerators must not be negative
    return (a + b - 1) // b


cdef void row_task_f32(void *context, Py_ssize_t lane, int thread) noexcept nogil
cdef void row_task_f64(void *context, Py_ssize_t lane, int thread) noexcept nogil
cdef void column_task(void *context, Py_ssize_t tile, int thread) noexcept nogil
cdef void gradient_task(void *context, Py_ssize_t tile, int thread) noexcept nogil
cdef void gather_task_f32(void *context, Py_ssize_t block, int thread) noexcept nogil
cdef void gather_task_f64(void *context, Py_ssize_t block, int thread) noexcept nogil
cdef void gradient_tile(Run *run, Instruction *s, Py_ssize_t tile, char *grad, int thread) noexcept nogil
