"""The program as C sees it: instructions, actions, phases, where each buffer is, what this run reads."""
from libc.stdint cimport int64_t, uint64_t

from ldl_cy._engine.loss cimport Loss
from ldl_cy._engine.op cimport Op

cdef enum:
    KIND_OP, KIND_ADD, KIND_PUT, KIND_MULTIPLY

cdef enum:                                  # as in plan.py
    FORWARD, BACKWARD, REDUCE, REDUCE_BACK, LOSS, GRADIENT, DX_COLUMNS, RECOMPUTE

cdef enum:
    DX_NONE, DX_WRITE, DX_ADD

cdef enum:
    SHARED_UPDATE = 1 << 17                 # numbers read by an update: below this one thread does it

# Where a buffer's rows are: base + row * row_bytes for the whole batch (or for data read in place),
# base + thread * thread_bytes where every thread has its own. One of the two strides is 0.
ctypedef struct Place:
    char *base
    Py_ssize_t row_bytes
    Py_ssize_t thread_bytes

# An axis of a product a b, and the distance between its neighbours in a and b: 0 where a factor is broadcast
ctypedef struct Axis:
    Py_ssize_t size
    Py_ssize_t[2] stride

ctypedef struct Instruction:
    int kind
    int trainable
    const void *prepared                    # vec.table with which derived was made from what run.kept holds, or NULL
    int64_t version                         # of the theta and state that it was made from, 0 where that is unknown
    int tiled                               # y and dx are made in tiles of columns, over all rows
    int backward                            # a backward pass of it follows in this plan
    int deferred                            # its gradient is made after the last block, over all rows
    int dx                                  # DX_NONE, DX_WRITE, DX_ADD
    int dx2
    Op op
    Py_ssize_t x, x2, y                     # places of the values
    Py_ssize_t x_again, x2_again, y_again   # places where backward reads the values, which may be made a second time
    Py_ssize_t gx, gx2, gy                  # places of their gradients
    Py_ssize_t cache, temporary             # places, or -1
    Py_ssize_t theta, state, derived        # byte offsets
    Py_ssize_t partial
    Py_ssize_t x_size, x2_size
    Py_ssize_t y_size, y_steps              # y_steps: steps of y that lengths apply to, or 0
    Py_ssize_t outer, x_width, y_width, y_offset
    const Axis *axes                        # (n_axes,) of a product
    Py_ssize_t n_axes

ctypedef struct Action:
    int kind
    int node
    int branches                            # of the fork that begins here, or 0
    int branch_end                          # the action after the branch that begins here
    double fork_flops                       # per row, that sharing the branches can save

ctypedef struct Phase:
    int first
    int last
    int column                              # tiles of columns over all rows
    int gradient                            # gradients over all rows, in tiles
    Py_ssize_t n_tiles
    double flops                            # over one row

ctypedef struct Run:
    Instruction *nodes
    Action *actions
    Phase *phases
    Place *places
    Py_ssize_t n_nodes, n_phases, n_values, output, itemsize
    # the data
    const char *X
    int x_kind                              # 0 float32, 1 float64, 2 uint8
    Py_ssize_t x_stride                     # bytes from row to row
    Py_ssize_t x_size, t_size
    const long long *indptr                 # X sparse: the entries of row r begin at indptr[r]; NULL: X is dense
    const char *indices                     # and their columns; X then holds their values
    int wide                                # columns are int64, else int32
    const long long *order                  # rows in the order of this epoch, or NULL: in their own
    const char *targets                     # (n, t_size) in the model's dtype
    const char *weights                     # (n,) in the model's dtype, or NULL
    const int *lengths                      # (n,) valid steps of each row, or NULL
    Py_ssize_t x_steps, out_steps           # steps of the input and of the output that lengths apply to
    Py_ssize_t start                        # the batch is order[start : start + n]
    Py_ssize_t n
    # how it is cut
    Py_ssize_t block_rows, n_blocks, blocks_per_lane
    Py_ssize_t n_lanes
    # a process that has some shards of the batch, as its lanes
    const long long *cut                    # (n_lanes + 1,): rows of lane l are cut[l] .. cut[l+1] - 1; NULL: all rows
    Py_ssize_t first_lane                   # of the lanes of all processes
    Py_ssize_t row_offset                   # rows of the whole batch before this process's
    # memory
    const char *theta
    char *state
    char *derived
    char *kept                              # theta and state that derived was made from; NULL: made each step
    int64_t version                         # of theta and state: an equal one means equal numbers; 0: not known
    Py_ssize_t theta_bytes
    char *grad                              # lane l at grad + l * lane_bytes; NULL: no gradients
    Py_ssize_t lane_bytes
    Py_ssize_t tile_place                   # in a thread's scratch: a tile of gradient
    int applies                             # the update makes the deferred gradients, tile by tile
    char *scratch                           # thread t at scratch + t * scratch_bytes
    Py_ssize_t scratch_bytes
    char *gathered                          # targets and weights of a block, a thread's own
    Py_ssize_t gathered_bytes
    double *partials                        # (n_blocks, n_partial) of one op at a time
    double *totals                          # (n_partial,) of all ops that couple rows
    double *block_loss                      # (n_blocks,)
    const Loss *loss
    double loss_scale                       # 1 / sum of the batch's weights
    # this step
    int training
    int backward
    int gathers                             # the first op alone reads the input, and can read its rows in any order
    int direct                              # and it does, from X
    int gather                              # rows of X are copied into the input's place
    uint64_t seed, epoch, step
    int phase
    void *pool                              # Pool, while its threads may share branches, in a phase of one task
    double fork_above                       # the least flops that sharing must save
    int forked                              # this is a child, forked by a signal's handler while branches were shared
    volatile int stop
    double next_poll
    void (*look)(void *run) noexcept nogil  # for Ctrl-C: keeps the exception, raises the stop flag
    void *owner                             # the Workspace, for an exception to be kept
