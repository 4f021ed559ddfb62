"""The loss protocol: value and gradient in one pass over the raw output of the last layer."""

# Returns sum_i w_i l_i over n samples, in double; dy (n, steps, k) = scale w_i dl_i, or nothing when dy
# is NULL; dy may be y. l_i is the sample's sum over steps and outputs times loss.scale; w NULL: ones.
ctypedef double (*loss_t)(
    const Loss *loss, Py_ssize_t n, const void *y, const void *t, const void *w, double scale,
    void *dy) noexcept nogil

# Where a loss written in Python leaves its exception; called with the GIL held.
ctypedef void (*fail_t)(void *owner, object error) noexcept

ctypedef struct Loss:
    int kind
    Py_ssize_t steps            # vectors in a row
    Py_ssize_t k                # outputs in a vector
    Py_ssize_t target_size      # numbers of a row's target
    double scale                # 1 / (steps k) makes the sum a mean
    double option
    loss_t compute
    void *kernel                # the LossKernel of a loss written in Python
    void *owner                 # what runs the loss, and the function that keeps an exception for it: set in its copy
    fail_t fail

cdef class LossKernel:
    """A loss filled for one dtype and one output shape."""
    cdef Loss loss
    cdef readonly str name
    cdef readonly str dtype
    cdef readonly bint python   # calls back into Python: for the calling thread alone
