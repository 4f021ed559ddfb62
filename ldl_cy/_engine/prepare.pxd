"""Derived weights: made from theta and the state before a step, and kept from one predict to the next.

They are used again while theta and the state have the same version (see VersionCounter) and the instruction set is the
same, which decides how matrices are packed. If a caller has theta, and may write to it at any time, theta and the state
must be byte for byte what they were made from: the comparison reads each weight, 0.4 us for 5,000 of them.
"""
from libc.string cimport memcmp, memcpy

from ldl_cy._engine cimport vec
from ldl_cy._engine.blocks cimport make_call
from ldl_cy._engine.op cimport DERIVED_FOR_DX, PACKS_TO_PREDICT, Call
from ldl_cy._engine.run cimport DX_NONE, KIND_OP, Instruction, Run


cdef inline bint prepares(const Run *run, const Instruction *s) noexcept nogil:
    """Whether a node derives weights in this kind of run."""
    if s.kind != KIND_OP or s.op.prepare == NULL:
        return False
    if not run.backward and s.op.flags & PACKS_TO_PREDICT:
        return True
    return not s.op.flags & DERIVED_FOR_DX or (run.backward and s.dx != DX_NONE)


cdef inline void prepare_node(Run *run, Instruction *s) noexcept nogil:
    cdef:
        Call call
        Py_ssize_t theta = s.op.n_params * run.itemsize, state = s.op.n_state * run.itemsize
        char *kept_theta = run.kept + s.theta
        char *kept_state = run.kept + run.theta_bytes + s.state
    if run.kept == NULL:
        # in training weights change with every step
        make_call(run, &call, 0, run.n)
        call.backward = s.backward
        s.op.prepare(&s.op, &call, run.theta + s.theta, run.state + s.state, run.derived + s.derived)
        return
    if s.op.flags & PACKS_TO_PREDICT:
        # one row reads theta. No copy: whoever writes to theta meanwhile gives it another version
        if run.n > 1 and run.version != 0 and not (s.prepared == vec.table and s.version == run.version):
            make_call(run, &call, 0, run.n)
            call.packed = True
            s.op.prepare(&s.op, &call, run.theta + s.theta, run.state + s.state, run.derived + s.derived)
            s.prepared, s.version = vec.table, run.version
        return
    if s.prepared == vec.table and (
            (run.version != 0 and s.version == run.version)
            or (memcmp(kept_theta, run.theta + s.theta, theta) == 0
                and memcmp(kept_state, run.state + s.state, state) == 0)):
        s.version = run.version
        return
    # made from the copy: another thread may be writing to theta
    memcpy(kept_theta, run.theta + s.theta, theta)
    memcpy(kept_state, run.state + s.state, state)
    make_call(run, &call, 0, run.n)
    s.op.prepare(&s.op, &call, kept_theta, kept_state, run.derived + s.derived)
    s.prepared, s.version = vec.table, run.version


cdef inline void prepare_all(Run *run) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(run.n_nodes):
        if prepares(run, run.nodes + i):
            prepare_node(run, run.nodes + i)
