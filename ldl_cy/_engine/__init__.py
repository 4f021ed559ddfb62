"""The engine: everything between a list of layers and the kernels. It imports nothing of ldl_cy above it.

    layers -- build --> spec.py            Shape, Parameter, Built: what a layer hands over
       |                                   rule.py  Rule: the same for an optimizer; sparse.py  SparseRows
       v
    graph.py            Graph              values in topological order, nodes between them; fuses and folds kernels
       |                                   axes.py  broadcasting: the axes of arrays that are read together
       v
    plan.py             Plan               the line of actions, cut into phases; blocks and lanes
       |                                   branches.py  Fork: actions that do not wait for one another
    memory.py                              a place for each buffer, by first_fit.pyx
       v
    program.pyx         Workspace          the plan's memory (aligned.py), and a step over a batch
       |                                   tables.pxd, run.pxd  the plan as C sees it
       |
       |-- train.pyx    train              epochs of steps, each followed by the update
       |-- predictor.pyx Predictor         the fast path: a few rows, without Python
       `-- gradient, evaluate, predict     one step

    A step, in C without the GIL:
    program.pyx --> prepare.pxd            derived weights, kept where theta has not changed; version.pyx
        |--> pool.pyx                      the threads that share the tasks of a phase, kept by the process
        |      `--> tasks.pyx              a task: a lane of blocks, a tile of columns, a tile of a gradient
        |             `--> blocks.pxd      a block of rows: gather, forward, loss.pxd, backward; product.pxd  y = a b
        |                    `--> op.pxd   the kernels (ldl_cy._kernels), by pointers in Op
        |--> train.pyx, update.pxd         adds the lanes as a binary tree (tree.py) and applies the rule
        `--> collectives.pyx               messages, where the steps are those of several processes
    kernels and rules --> vec.pxd, gemm_packed.pxd, conv_batch_inner.pxd, conv_image.pxd, basis.pxd, depthwise.pxd,
                          batch_norm.pxd, layer_norm.pxd: the tables of vec/, compiled once for each instruction set
                          window.pxd  windows on images; blas.pxd; rng.pxd

    Beside it: process.pyx  one fit of a model at a time, and what is left in a forked child; whole.pyx  epochs that
    are made completely or not at all; blas_threads.pyx  BLAS limited to one thread; finite.pyx  the check of input
    data; profile.pyx  times of single ops; docs/design.md says how it works and what was measured.
"""
