"""What a model's forward pass gives: outputs, losses, every layer's values; and the workspaces they need."""
from __future__ import annotations

import math
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy._engine.plan import Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.predictor import UNHELD_FLOPS, Predictor
from ldl_cy._engine.program import SHARED_FLOPS, Workspace
from ldl_cy.checks import check_int
from ldl_cy.threads import blas_at_one_thread, choose_threads, find_blas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ldl_cy.models import Sequential

PREDICT_ROWS = 1024                 # capacity of a predict whose buffers hold the whole batch
MOST_KINDS = 8                      # of workspaces that a model keeps
ALONE = Pool(1)                     # the calling thread


class Lease:
    """``with Lease(model, ...) as workspace:`` one for each call at a time; they are kept for the next."""

    def __init__(self, model: Sequential, n: int, n_threads: int, *, training: bool = False, loss_size: int = 0,
                 keep: tuple[int, ...] = (), input_gradient: bool = False) -> None:
        self.lock, self.all = model._lock, model._free
        key = (n if training else 0, n_threads, training, loss_size, keep, input_gradient)
        with self.lock:
            self.free = self.all.setdefault(key, [])
            workspace = self.free.pop() if self.free else None
        if workspace is None:
            graph = model._built()
            plan = Plan(graph, graph.buffers[-1], training, n if training else PREDICT_ROWS, loss_size, keep,
                        input_gradient=input_gradient)
            workspace = Workspace(plan, n_threads)
        self.workspace = workspace

    def __enter__(self) -> Workspace:
        return self.workspace

    def __exit__(self, *exc: object) -> None:
        with self.lock:
            self.free.append(self.workspace)
            while len(self.all) > MOST_KINDS:
                self.all.pop(next(iter(self.all)))


class Alone:
    """The calling thread in place of a pool, with BLAS held at one thread."""

    def __enter__(self) -> Pool:
        self.held = blas_at_one_thread()
        self.held.__enter__()
        return ALONE

    def __exit__(self, *exc: object) -> None:
        self.held.__exit__(None, None, None)


@contextmanager
def several(n_threads: int) -> Iterator[Pool]:
    """A pool of workers, with BLAS held at one thread."""
    with blas_at_one_thread(), Pool(n_threads) as pool:
        yield pool


def workers(workspace: Workspace, n: int) -> AbstractContextManager[Pool]:
    """A pool for n rows; small work stays on the calling thread."""
    if workspace.flops * n < SHARED_FLOPS or workspace.calls_python or not workspace.plan.shares(n):
        return Alone()
    return several(workspace.n_threads)


def short_way(model: Sequential, n: int) -> None:
    """Give the model the short way of predict when n rows could go it: so many that workers are no use."""
    graph = model._built()
    if model._short_rows is None:
        plan = Plan(graph, graph.buffers[-1], False, PREDICT_ROWS)
        rows = math.ceil(SHARED_FLOPS / max(1.0, graph.flops)) - 1
        if not plan.columns:
            rows = max(rows, plan.block_rows)       # one block is one task
        kernels = [node.kernel for node in graph.nodes if node.kernel is not None]
        if not find_blas():                         # nobody there would hold it for longer products
            rows = min(rows, int((UNHELD_FLOPS - 1) / max([1.0, *(k.flops for k in kernels)])))
        usable = not any(k.calls_python for k in kernels) and not graph.input_checks
        model._short_rows = min(rows, plan.capacity) if usable else 0
    if n <= model._short_rows:
        workspace = Workspace(Plan(graph, graph.buffers[-1], False, PREDICT_ROWS), 1)
        model._predictor = Predictor(workspace, model._theta, model._state, graph.input_shape, graph.shapes[-1],
                                     model._short_rows)


def predict(model: Sequential, X: Any, lengths: Any, batch_size: int | None, n_threads: int | None) -> np.ndarray:
    """The last layer's raw output for any X; see ``Sequential.predict``."""
    graph = model._built()
    rows = model._check_X(X)
    n = len(rows)
    ends = model._check_lengths(lengths, n)
    size = check_int("Sequential", "batch_size", batch_size) if batch_size is not None else n
    threads = choose_threads("Sequential", n_threads)
    out = np.empty((n, *graph.shapes[-1]), model.dtype)
    flat = out.reshape(n, -1)
    if model._predictor is None:
        short_way(model, n)
    with model._workspace(0, threads) as ws, model._pool(ws, n) as pool:
        if ws.plan.whole:
            size = min(size, ws.plan.capacity)
        for start in range(0, n, size):
            ws.predict(rows[start:start + size], flat[start:start + size], model._theta, model._state, pool,
                       None if ends is None else ends[start:start + size])
    return out


def evaluate(model: Sequential, bound: tuple[Any, ...]) -> float:
    """Mean loss on data that has been checked; see ``Sequential.evaluate``."""
    rows, targets, weights, kernel, ends, threads = bound
    total = weight = 0.0
    with model._workspace(0, threads, loss_size=kernel.target_size) as ws, model._pool(ws, len(rows)) as pool:
        size = ws.plan.capacity if ws.plan.whole else len(rows)
        for a in range(0, len(rows), size):
            part = slice(a, a + size)
            t, w = ws.evaluate(rows[part], targets[part], None if weights is None else weights[part],
                               model._theta, model._state, kernel, pool, None if ends is None else ends[part])
            total, weight = total + t, weight + w
    return total / weight


def trace(model: Sequential, X: Any) -> dict[str, np.ndarray]:
    """Every layer's output, by layer name; see ``Sequential.trace``."""
    graph = model._built()
    rows = model._check_X(X)
    kept = tuple(sorted({graph.buffers[v] for v in graph.outputs.values()} - {0}))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in graph.outputs}
    with model._workspace(0, 1, keep=kept) as ws, model._pool(ws, 1) as pool:
        for a in range(0, len(rows), ws.plan.capacity):
            part = np.ascontiguousarray(rows[a:a + ws.plan.capacity], model.dtype)
            ws.predict(part, None, model._theta, model._state, pool)
            for name, v in graph.outputs.items():
                b = graph.buffers[v]
                values = ws.kept(b, len(part)) if b else part
                parts[name].append(values.reshape(len(part), *graph.shapes[v]))
    return {name: np.concatenate(p) for name, p in parts.items()}
