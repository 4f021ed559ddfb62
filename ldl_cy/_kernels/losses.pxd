"""The loss protocol: value and gradient in one pass over the raw output of the last layer."""

# Returns sum_i w_i l_i over n samples, in double; dy (n, steps, k) = scale w_i dl_i, or nothing when dy
# is NULL. l_i is the sample's sum over steps and outputs times loss.scale; w NULL: ones.
ctypedef double (*loss_t)(
    const Loss *loss, Py_ssize_t n, const void *y, const void *t, const void *w, double scale,
    void *dy) noexcept nogil

ctypedef struct Loss:
    Py_ssize_t steps            # vectors in a row
    Py_ssize_t k                # outputs in a vector
    Py_ssize_t target_size      # numbers of a row's target
    double scale                # 1 / (steps k) makes the sum a mean
    double option
    loss_t compute

cdef class LossKernel:
    """A loss filled for one dtype and one output shape."""
    cdef Loss loss
    cdef readonly str name
    cdef readonly str dtype
