"""The tables of a plan as C sees them (run.pxd): its instructions, actions and phases."""
from libc.stdlib cimport calloc, free

from ldl_cy._engine.op cimport Kernel
from ldl_cy._engine.pointer cimport pointer
from ldl_cy._engine.run cimport (
    BACKWARD, DX_COLUMNS, GRADIENT, KIND_ADD, KIND_MULTIPLY, KIND_OP, KIND_PUT, LOSS, Action, Axis, Instruction, Phase,
    Place, Run)


cdef inline int make_tables(Run *run, object plan, list axes) except -1:
    """Allocate all tables and fill in all but the places; ``axes`` holds an array (n_axes, 3) for each node."""
    cdef Py_ssize_t i
    run.n_nodes, run.n_phases = len(plan.nodes), len(plan.phases)
    run.nodes = <Instruction*>calloc(max(1, run.n_nodes), sizeof(Instruction))
    run.actions = <Action*>calloc(max(1, len(plan.actions)), sizeof(Action))
    run.phases = <Phase*>calloc(max(1, run.n_phases), sizeof(Phase))
    run.places = <Place*>calloc(max(1, len(plan.buffers)), sizeof(Place))
    if run.nodes == NULL or run.actions == NULL or run.phases == NULL or run.places == NULL:
        raise MemoryError("Workspace: no memory for the program's tables.")
    for i in range(run.n_nodes):
        fill_instruction(run, run.nodes + i, plan, plan.nodes[i], axes[i])
    fill_actions(run, plan)
    for i in range(run.n_phases):
        fill_phase(run.phases + i, plan, plan.phases[i])
    return 0


cdef inline void free_tables(Run *run) noexcept:
    free(run.nodes)
    free(run.actions)
    free(run.phases)
    free(run.places)


cdef inline int fill_instruction(Run *run, Instruction *s, object plan, object planned, object axes) except -1:
    cdef Py_ssize_t item = run.itemsize
    node, graph, again, gradients = planned.node, plan.graph, plan.again, plan.gradients
    s.kind = {"op": KIND_OP, "add": KIND_ADD, "put": KIND_PUT, "multiply": KIND_MULTIPLY}[node.kind]
    s.deferred, s.tiled, s.backward = planned.deferred, planned.tiled, plan.needs[node.y]
    s.trainable, s.dx, s.dx2 = node.trainable and plan.training, planned.dx, planned.dx2
    if node.kernel is not None:
        s.op = (<Kernel>node.kernel).op
    s.x, s.x2, s.y = node.x, node.x2, node.y
    s.x_again, s.x2_again, s.y_again = [again.get(v, v) for v in (node.x, node.x2, node.y)]
    s.gx, s.gx2, s.gy = [gradients[v] for v in (node.x, node.x2, node.y)]
    s.cache, s.temporary, s.partial = planned.cache, planned.temporary, planned.partial
    s.theta, s.state, s.derived = node.theta * item, node.state * item, node.derived * item
    s.x_size, s.x2_size = graph.sizes[node.x], graph.sizes[node.x2] if node.x2 >= 0 else 0
    s.y_size, s.y_steps = graph.sizes[node.y], node.y_steps
    s.outer, s.x_width, s.y_width, s.y_offset = node.outer, node.x_width, node.y_width, node.y_offset
    s.axes, s.n_axes = <const Axis*>pointer(axes), len(axes)
    return 0


cdef inline int fill_actions(Run *run, object plan) except -1:
    """The line of actions with its branches, and whether the first op may read the rows of X in any order."""
    cdef Py_ssize_t i
    for i, (kind, node) in enumerate(plan.actions):
        run.actions[i].kind, run.actions[i].node = kind, node
    for fork in plan.forks:
        edges = fork.edges
        run.actions[<Py_ssize_t>edges[0]].branches = len(edges) - 1
        run.actions[<Py_ssize_t>edges[0]].fork_flops = fork.flops
        for first, last in zip(edges, edges[1:]):
            run.actions[<Py_ssize_t>first].branch_end = last
    nodes = [planned.node for planned in plan.nodes]
    reads = [node for node in nodes if 0 in (node.x, node.x2)]
    run.gathers = (bool(nodes) and nodes[0].kernel is not None and nodes[0].kernel.gathers
                   and nodes[0].x == 0 and len(reads) == 1 and 0 not in plan.keep)
    return 0


cdef inline int fill_phase(Phase *phase, object plan, tuple edges) except -1:
    phase.first, phase.last, phase.column = edges
    for kind, i in plan.actions[phase.first:phase.last]:
        if kind == LOSS:
            continue
        planned = plan.nodes[i]
        node, kernel = planned.node, planned.node.kernel
        if not (kind == BACKWARD and planned.tiled):
            phase.flops += node.flops * (2 if kind == BACKWARD and not planned.deferred else 1)
        if kind == GRADIENT:
            phase.gradient = 1
            phase.n_tiles += -(-kernel.n_params // kernel.gradient_tile)
        if phase.column:                        # its only action
            phase.n_tiles = kernel.column_tiles[kind == DX_COLUMNS]
    return 0
