"""The plan of a step: a line of actions, cut by barriers into phases, and a place for every buffer.

A training step is  F0 F1 .. Fm  LOSS  Bm .. B1 B0  over each block of rows, depth-first, so that a
block's activations stay in L2. An op that couples rows puts a barrier into the line, forward and
backward: R_k | F_k .. LOSS .. B_k+1 RB_k | B_k ..  (R: the block's partial sums). An op in tiles of columns
is alone between two barriers. Where weights are many and rows few, adding to an accumulator would cost
more than the gradient itself: it is deferred to a last phase, G_i .. G_j, that writes it once, in tiles over
all rows. Buffers that live within one phase belong to the thread; those that
live across a barrier hold the whole batch. Where only backward would keep the output of an op that costs little, it
is made a second time, just before it is read: R_k | F_k .. LOSS .. | F_k B_k+1 RB_k | B_k ..

A plan depends on the network and the batch size, never on the number of threads: blocks of R rows
are assigned in order to A lanes, each with a gradient accumulator of its own: the leaves of a binary tree in which they
are added.
"""
from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import KW_ONLY, dataclass, field
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

from ldl_cy._engine.branches import Fork, find_forks
from ldl_cy._engine.graph import Graph, Node
from ldl_cy._engine.memory import ALIGN, Buffer, keep_across_barriers, place

if TYPE_CHECKING:
    from ldl_cy._engine.op import Kernel

FORWARD, BACKWARD, REDUCE, REDUCE_BACK, LOSS, GRADIENT, DX_COLUMNS, RECOMPUTE = range(8)
NONE, WRITE, ADD = range(3)             # how an op's gradient with respect to its input is written

L2_BYTES = 512 * 1024                   # a block's activations and caches stay below this
LEAST_ROWS = 16                         # of a block: with fewer, products are slow and every weight is read too often
LEAST_ROWS_BETWEEN_BARRIERS = 4         # there memory counts: what is made again is read while it is in the cache
FLOPS_PER_WEIGHT = 128                  # a block's forward pass does at least so much for each weight it reads
FLOPS_PER_ADDED = 172                   # and so much more for each whose gradient it adds
LARGEST_BLOCK = 2**31 - 1               # numbers of a block's value: BLAS counts its rows in an int
BLOCK_PRODUCT = 10**6                   # multiplications of a Dense layer's product: its matrices are then near L1
FLOPS_PER_TASK = 4e6                    # enough for a block of a prediction, so that threads can share a few rows
ROWS_PER_TASK = 32                      # the least of such a block, since each block reads all weights; or LEAST_ROWS
FEW_WEIGHTS = 2**16                     # if no more weights than this are used only once per row
MOST_PACKED = 2**22                     # with more weights, blocks are as in training: each block copies them
FLOPS_PER_LANE = 2e6                    # of a step: with less, a second accumulator costs more than it saves
FLOPS_PER_LANE_AND_WEIGHT = 1000        # likewise, where the accumulators are long
MANY_WEIGHTS = 2**16                    # from here on a gradient may be made over all rows at the end
MAX_LANES = 8
FLOPS_OF_FORK = 2.5e5                   # per row: threads share branches only if they can save at least this much,
MEMORY_OF_FORK = 1.25                   # and only if that takes at most this many times the memory


def reads_once(kernel: Kernel) -> bool:
    """Whether the kernel is a product that uses each of its weights once per row."""
    return 0 < kernel.n_params <= kernel.flops < 2.5 * kernel.n_params


@dataclass
class Planned:
    """A node with its workspace: numbers of buffers, -1 where there is none."""

    node: Node
    cache: int = -1
    temporary: int = -1                 # where dx is written before it is added to another reader's
    dx: int = NONE
    dx2: int = NONE
    deferred: bool = False              # its gradient is made in the last phase
    tiled: bool = False                 # y and dx are made in tiles of columns, over all rows
    partial: int = -1                   # offset into the partial sums


@dataclass
class Plan:
    """What a Workspace is made from.

    Buffers 0 .. V-1 are the graph's values, V .. 2V-1 their gradients, then caches and temporaries.
    """

    graph: Graph
    training: bool
    capacity: int                       # rows of the largest batch
    target_size: int = 0
    keep: tuple[int, ...] = ()          # buffers to hold for the whole batch (trace)
    _: KW_ONLY
    output: int | None = None           # buffer of the network's output; None: the graph's last
    cuts: tuple[int, ...] = ()          # nodes after which a barrier is put: for tests and measurements
    block_rows: int = 0                 # 0: chosen here
    lanes: int = 0
    defer: bool | None = None           # gradients of weights that outnumber the rows; None: chosen here
    input_gradient: bool = False        # also make the gradient of the input
    recompute: bool = True              # make outputs a second time rather than keep them across a barrier
    rows: int | None = None             # of an inference call at most: memory is for them, blocks are as for capacity
    actions: list[tuple[int, int]] = field(default_factory=list)        # kind, node
    phases: list[tuple[int, int, bool]] = field(default_factory=list)   # first, last + 1, column tiles
    buffers: list[Buffer] = field(default_factory=list)
    nodes: list[Planned] = field(default_factory=list)
    again: dict[int, int] = field(default_factory=dict)     # where a value is that is made a second time
    gradients: list[int] = field(default_factory=list)      # the buffer of each value's gradient
    arena: int = 0                      # numbers a thread needs
    whole: int = 0                      # numbers a row of the whole-batch buffers
    held_rows: int = 0                  # rows of the whole-batch buffers, and of blocks if those have more
    n_partial: int = 0
    n_derived: int = 0
    forks: list[Fork] = field(default_factory=list)         # branches that threads can run at the same time
    added: tuple[tuple[int, int], ...] = ()     # the ranges of theta whose gradient the lanes add up

    def __post_init__(self) -> None:
        if self.output is None:
            self.output = self.graph.buffers[-1]
        # cuts count the graph's nodes
        nodes = self.graph.nodes if self.cuts else self.graph.fused_nodes(
            self.block_rows or self.capacity, self.keep, self.training)
        self.nodes = [Planned(node) for node in nodes]
        self.n_derived = max((node.derived + node.kernel.n_derived for node in nodes if node.kernel is not None),
                             default=0)
        self.buffers = [Buffer(size) for _ in range(2) for size in self.graph.sizes]
        self.gradients = list(range(len(self.graph.sizes), len(self.buffers)))
        self.needs = self.graph.needs_gradient() if self.training else [False] * len(self.graph.sizes)
        if self.input_gradient:
            self.needs = [True] * len(self.graph.sizes)
        self._defer()
        self.added = self._added()
        self._line_up()
        if self.recompute:
            self._recompute()
        self._lifetimes()
        self._choose_blocks()
        self.held_rows = self.capacity if self.rows is None else min(self.rows, self.capacity)
        self.arena, self.whole = place(self.buffers, min(self.block_rows, self.held_rows))
        self._fork()

    @property
    def limited(self) -> bool:
        """Whether a call may have at most ``held_rows`` rows."""
        return self.training or self.whole > 0 or (self.rows is not None and self.held_rows <= self.block_rows)

    def shares(self, n: int) -> bool:
        """Whether n rows make more than one task of some phase, or branches that threads may share."""
        deferred = any(planned.deferred for planned in self.nodes)
        return deferred or bool(self.forks) or (n > self.block_rows and (self.lanes > 1 or not self.training))

    def _defer(self) -> None:
        """Which gradients are made over all rows at the end."""
        # with a number of lanes given, each holds a whole gradient
        if not self.training or self.defer is False or (self.lanes and self.defer is None):
            return
        readers = Counter(v for p in self.nodes for v in {p.node.x, p.node.x2})
        for planned in self.nodes:
            node, kernel = planned.node, planned.node.kernel
            if kernel is None or not kernel.gradient_tile or not node.trainable or not self.needs[node.y]:
                continue
            numbers = self.capacity * (kernel.x_size + kernel.y_size)
            planned.deferred = bool(self.defer) or MANY_WEIGHTS <= kernel.n_params >= numbers // 2
            # weights are then read once for all rows, and threads share the columns
            planned.tiled = (planned.deferred and readers[node.x] == 1 and not node.y_steps
                             and kernel.column_tiles[0] > (0 if self.defer else 1))

    def _added(self) -> tuple[tuple[int, int], ...]:
        """All of theta but for deferred gradients, and for frozen weights, which have none."""
        edges = [0]
        for p in sorted(self.nodes, key=lambda p: p.node.theta):
            if p.node.kernel is not None and p.node.kernel.n_params and (p.deferred or not p.node.trainable):
                edges += [p.node.theta, p.node.theta + p.node.kernel.n_params]
        edges.append(self.graph.n_params)
        return tuple((a, b) for a, b in zip(edges[::2], edges[1::2]) if a < b)

    def _line_up(self) -> None:
        """Actions and barriers."""
        barriers: set[int] = set()
        actions = self.actions
        columns: set[int] = set()

        def column(kind: int, i: int) -> None:
            barriers.add(len(actions))
            columns.add(len(actions))
            actions.append((kind, i))
            barriers.add(len(actions))

        for i, planned in enumerate(self.nodes):
            kernel = planned.node.kernel
            if kernel is not None and kernel.couples_rows and self.training:
                planned.partial = self.n_partial
                self.n_partial += kernel.n_partial
                actions.append((REDUCE, i))
                barriers.add(len(actions))
            if planned.tiled:
                column(FORWARD, i)
            else:
                actions.append((FORWARD, i))
            if i in self.cuts:
                barriers.add(len(actions))
        if self.target_size:
            actions.append((LOSS, -1))
        if self.training:
            for i in reversed(range(len(self.nodes))):
                kernel = self.nodes[i].node.kernel
                if not self.needs[self.nodes[i].node.y]:
                    continue
                if i in self.cuts:
                    barriers.add(len(actions))
                if kernel is not None and kernel.couples_rows:
                    actions.append((REDUCE_BACK, i))
                    barriers.add(len(actions))
                actions.append((BACKWARD, i))
                if self.nodes[i].tiled and self.needs[self.nodes[i].node.x]:
                    column(DX_COLUMNS, i)           # of the dz that backward leaves
            barriers.add(len(actions))
            actions += [(GRADIENT, i) for i, planned in enumerate(self.nodes) if planned.deferred]
        edges = sorted({0, len(actions)} | barriers)
        self.phases = [(a, b, a in columns) for a, b in pairwise(edges) if a < b]

    def _reads(self, kind: int, i: int) -> list[int]:
        """The values that an action reads."""
        if kind == LOSS:
            assert self.output is not None
            return [self.output]
        planned = self.nodes[i]
        node, kernel = planned.node, planned.node.kernel
        inputs = [v for v in (node.x, node.x2) if v >= 0]
        if kind not in (BACKWARD, REDUCE_BACK, DX_COLUMNS):
            return inputs
        # gradients pass through sums and pieces of concatenations, whatever the values are
        passes = kernel is None and node.kind != "multiply"
        if kind == DX_COLUMNS or passes:
            return []
        own = [] if kernel is not None and kernel.recomputed else [node.y]
        inputs = inputs[:1] if kernel is not None else inputs           # a kernel does not read again what it adds
        return own if kind == BACKWARD and planned.tiled else inputs + own

    def _recompute(self) -> None:
        """Make a value again in the phase where backward reads it, if that is one phase, and so is the forward one."""
        phase_of = [p for p, (first, last, _) in enumerate(self.phases) for _ in range(first, last)]
        forward, backward = defaultdict[int, list[int]](list), defaultdict[int, list[int]](list)
        made: dict[int, int] = {}                               # node -> its forward action
        for time, (kind, i) in enumerate(self.actions):
            for v in self._reads(kind, i):
                (forward if kind in (FORWARD, REDUCE, LOSS) else backward)[v].append(time)
            if kind == FORWARD:
                made[i] = time
        added = defaultdict[int, list[int]](list)               # action -> the nodes that come before it
        for i, planned in enumerate(self.nodes):
            node, kernel = planned.node, planned.node.kernel
            # an op that couples rows has its input whole in any case, and the batch's sums until its own backward pass
            if (kernel is None or not kernel.recomputed or not kernel.couples_rows or node.y == self.output
                    or node.y in self.keep or not backward[node.y]):
                continue
            own, phases = phase_of[made[i]], {phase_of[t] for t in backward[node.y]}
            if {phase_of[t] for t in forward[node.y]} <= {own} and len(phases) == 1 and phases != {own}:
                _, last, tiled = self.phases[phases.pop()]
                if not tiled and self.actions[last - 1][0] != GRADIENT:
                    added[backward[node.y][0]].append(i)
                    self.again[node.y] = self._new(self.graph.sizes[node.y])
        line: list[tuple[int, int]] = []
        place = []                                              # in the new line, of each action and of the end
        for time, action in enumerate(self.actions):
            place.append(len(line))
            line += [*((RECOMPUTE, i) for i in added.get(time, ())), action]
        place.append(len(line))
        self.actions = line
        self.phases = [(place[first], place[last], tiled) for first, last, tiled in self.phases]

    def _fork(self) -> None:
        """Find the forks, and give the buffers of their branches memory of their own."""
        line = list(takewhile(lambda action: action[0] == FORWARD, self.actions[:self.phases[0][1]]))
        nodes = [self.nodes[i].node for _, i in line]
        forks = find_forks([[v for v in (node.x, node.x2) if v >= 0] for node in nodes], [node.y for node in nodes],
                           [node.flops for node in nodes], FLOPS_OF_FORK)
        if not forks:
            return
        before = [(b.first, b.last, b.offset) for b in self.buffers]
        for fork in forks:
            first, last = fork.edges[0], fork.edges[-1] - 1
            for b in self.buffers:
                b.first = first if first <= b.first <= last else b.first
                b.last = last if first <= b.last <= last else b.last
        arena, whole = place(self.buffers, min(self.block_rows, self.held_rows))
        if arena <= MEMORY_OF_FORK * self.arena:
            self.forks, self.arena, self.whole = forks, arena, whole
            return
        for b, saved in zip(self.buffers, before):
            b.first, b.last, b.offset = saved

    def _new(self, size: int) -> int:
        self.buffers.append(Buffer(size))
        return len(self.buffers) - 1

    def _lifetimes(self) -> None:
        """When each buffer is alive, and how each gradient is written: the first reader writes, others add."""
        output = self.output
        assert output is not None
        written: set[int] = set()
        b, gradients = self.buffers, self.gradients
        b[0].touch(0)
        for time, (kind, i) in enumerate(self.actions):
            if kind == LOSS:
                b[output].touch(time)
                if self.training:
                    b[gradients[output]].touch(time)
                continue
            planned = self.nodes[i]
            node = planned.node
            if kind == GRADIENT:
                b[node.x].deferred = b[gradients[node.y]].deferred = True
                continue
            inputs = [v for v in (node.x, node.x2) if v >= 0]
            for v in self._reads(kind, i):
                b[self.again.get(v, v) if kind in (BACKWARD, REDUCE_BACK) else v].touch(time)
            if kind == RECOMPUTE:
                b[self.again[node.y]].touch(time)
                continue
            if kind == FORWARD:
                b[node.y].touch(time)
                # what has no trainable weight at or below it has no backward pass
                if self.needs[node.y] and node.kernel is not None and node.kernel.cache_size:
                    planned.cache = self._new(node.kernel.cache_size)
                    b[planned.cache].touch(time)
                continue
            if kind == REDUCE:
                continue
            if kind == DX_COLUMNS:
                b[gradients[node.y]].touch(time)
                b[gradients[node.x]].touch(time)
                continue
            b[gradients[node.y]].touch(time)
            if planned.cache >= 0:
                b[planned.cache].touch(time)
            if kind == BACKWARD:
                modes = []
                for v in inputs:
                    modes.append((ADD if v in written else WRITE) if self.needs[v] else NONE)
                    if self.needs[v]:
                        if v not in written and self._passes(node, v):
                            gradients[v] = gradients[node.y]
                        written.add(v)
                        b[gradients[v]].touch(time)
                planned.dx = modes[0]
                planned.dx2 = modes[1] if len(modes) > 1 else NONE
                if node.kernel is not None and planned.dx == ADD:
                    planned.temporary = self._new(node.kernel.x_size)
                    b[planned.temporary].touch(time)
        end = len(self.actions) - 1
        if not self.training:
            b[output].touch(end)
        for v in self.keep:
            b[v].whole = True
            b[v].touch(end)
        keep_across_barriers(b, self.phases)

    def _passes(self, node: Node, v: int) -> bool:
        """Whether the first part of input v's gradient can use the buffer of the output's gradient.

        The gradient of a sum is that of both summands, and nothing reads it afterwards.
        """
        adds = node.kind == "add" or (node.kernel is not None and node.kernel.adds and v != node.x)
        own = node.x != node.x2 and self.gradients[node.y] not in (self.gradients[node.x], self.gradients[node.x2])
        return adds and own and v not in (0, self.output)

    def _choose_blocks(self) -> None:
        """R rows a block and A lanes, from the network and the batch size alone."""
        graph, n = self.graph, max(1, self.capacity)
        itemsize = 4 if graph.dtype == "float32" else 8
        row = sum(b.size for b in self.buffers if b.first >= 0 and not b.whole) * itemsize
        for buffer in self.buffers:
            buffer.whole |= buffer.deferred
        row += self.target_size * itemsize
        tiled = [p.node.kernel for p in self.nodes if p.tiled and p.node.kernel is not None]
        flops = max(1.0, graph.flops - sum(kernel.flops for kernel in tiled))
        weights = max(1, graph.n_params - sum(kernel.n_params for kernel in tiled))
        accumulated = sum(high - low for low, high in self.added)
        enough = int((FLOPS_PER_WEIGHT * weights + FLOPS_PER_ADDED * accumulated) / flops)
        least = min(n, max(LEAST_ROWS, enough))             # of a lane
        if not self.block_rows:
            rows = max(L2_BYTES // max(1, row), LEAST_ROWS_BETWEEN_BARRIERS if self.again else LEAST_ROWS, enough)
            for planned in self.nodes:
                kernel = planned.node.kernel
                if kernel is not None and reads_once(kernel):
                    few = BLOCK_PRODUCT // kernel.n_params
                    rows = min(rows, few) if few >= 2 * LEAST_ROWS else rows
            if not self.training and graph.n_params <= MOST_PACKED:
                once = sum(k.n_params for k in (p.node.kernel for p in self.nodes) if k is not None and reads_once(k))
                task = LEAST_ROWS if once <= FEW_WEIGHTS else ROWS_PER_TASK
                rows = min(rows, max(task, int(FLOPS_PER_TASK / flops)))
            self.block_rows = max(1, min(n, rows, LARGEST_BLOCK // max(graph.sizes)))
            group = max((p.node.kernel.group for p in self.nodes if p.node.kernel is not None), default=1)
        else:
            group = 1
        if not self.training:
            self.block_rows = min(n, -(-self.block_rows // group) * group)
            self.lanes = self.lanes or -(-n // self.block_rows)
            return
        if not self.lanes:
            work = 3 * flops * n
            most = min(MAX_LANES, n // least, work / FLOPS_PER_LANE,
                       work / (FLOPS_PER_LANE_AND_WEIGHT * max(1, accumulated)))
            self.lanes = 2 ** int(math.log2(max(1, most)))
        # equal blocks, a whole number of them in each lane
        per_lane = -(-n // self.lanes)
        self.block_rows = max(1, -(-per_lane // -(-per_lane // min(per_lane, self.block_rows))))
        self.block_rows = min(n, -(-self.block_rows // group) * group)

    def pieces(self, chunk: int, apply: bool) -> list[tuple[int, int, int, int]]:
        """(low, high, kind, tile): the ranges of theta in which an update works.

        Ranges that the blocks add to are cut into pieces of ``chunk`` numbers, kind -1. Where the rule is applied at
        once (``apply``) a deferred gradient is made tile by tile for it, kind the node; else it was made before:
        pieces of kind -2. They are ordered by their relative position within their own range, so that a thread's
        share of them is a share of each layer's rows, as in the other phases.
        """
        found = [(a, min(a + chunk, high), -1, 0) for low, high in self.added for a in range(low, high, chunk)]
        far = [i / len(found) for i in range(len(found))]
        for i, planned in enumerate(self.nodes):
            kernel, low = planned.node.kernel, planned.node.theta
            if not planned.deferred or kernel is None:
                continue
            high, size = low + kernel.n_params, kernel.gradient_tile if apply else chunk
            tiles = range(low, high, size)
            found += [(a, min(a + size, high), i if apply else -2, j) for j, a in enumerate(tiles)]
            far += [j / len(tiles) for j in range(len(tiles))]
        return [piece for _, piece in sorted(zip(far, found))]

    def scratch(self) -> tuple[int, int]:
        """Numbers of scratch a thread needs; for the kernels, and after them for a tile of gradient."""
        most, tile, rows = 0, 0, min(self.block_rows, self.held_rows)
        for p in self.nodes:
            most = max(most, 2 * p.node.n_sums)             # they are doubles
            if p.node.kernel is not None:
                most = max(most, rows * p.node.kernel.scratch_size + p.node.kernel.scratch_fixed)
                if p.deferred:
                    tile = max(tile, p.node.kernel.gradient_tile)
        return -(-most // ALIGN) * ALIGN, tile
