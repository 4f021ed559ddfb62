"""The time of each op of a training step, each measured alone on a block of rows as the plan cuts them."""
from __future__ import annotations

import time

import numpy as np

from benchmarks import ours
from benchmarks.common import measure, training_data
from benchmarks.layers import walk
from benchmarks.tables import duration, plain
from ldl_cy import losses
from ldl_cy._engine.plan import NONE, Plan
from ldl_cy._engine.profile import time_loss, time_op, time_update
from ldl_cy.threads import blas_at_one_thread


def repeated(call, seconds):
    """``call(repeats)`` for about some seconds: the medians along the last axis, in seconds."""
    call(2)                                             # warm
    start = time.perf_counter()
    call(1)
    once = max(1e-6, time.perf_counter() - start)
    return 1e-9 * np.median(call(int(np.clip(seconds / once, 5, 20000))), axis=-1)


def products_by_place(row):
    """{place of a layer's first weight in theta: its multiply-adds}; both directions have places of their own."""
    found, place = {}, 0
    for layer, shape, _ in walk(row.network, row.shape):
        ways = 1 + getattr(layer, "both", False)
        size = sum(int(np.prod(of)) for of in layer.weights(shape).values()) // ways
        for _ in range(ways if size else 0):
            found[place] = [number // ways for number in layer.products(shape)]
            place += size
    return found


def profile(row, dtype, seconds):
    """Lines of text: op by op, loss, update, the whole step by fit, and what is left.

    Everything runs on one thread. An op's prepare runs once a step, the rest once for each block of rows, or for
    the batch in layers of many weights; its buffers are warm, as they are in a block that fits into L2, and its
    weights too, which they may not be.
    """
    model = ours.build(row, dtype)
    graph = model.network.graph
    X, y = training_data(row, dtype)
    targets, loss = losses.get(row.loss).encode_targets(y, len(X), graph.shapes[-1], dtype)
    plan = Plan(graph, True, row.batch, loss.target_size)
    rows, blocks = plan.block_rows, -(-row.batch // plan.block_rows)
    rng = np.random.default_rng(0)
    cells, total, flops_known = [], 0.0, 0.0

    def numbers(size, rows=rows):
        return rng.standard_normal((rows, size), dtype=dtype)

    def line(name, prepare, forward, backward, flops, calls=blocks):
        nonlocal total, flops_known
        forward, backward = calls * forward, None if backward is None else calls * backward
        spent = prepare + forward + (backward or 0.0)
        total, flops_known = total + spent, flops_known + flops
        cells.append([name, prepare, forward, backward, spent, flops])

    with blas_at_one_thread():
        products = products_by_place(row)
        for planned in plan.nodes:
            node = planned.node
            kernel = node.kernel
            if kernel is None:
                continue
            theta = model.theta[node.theta:node.theta + kernel.n_params]
            state = np.zeros(kernel.n_state, dtype)
            # a layer of many weights is done over the whole batch at a time
            over = row.batch if planned.deferred else rows
            x, dy = numbers(kernel.x_size, over), numbers(kernel.y_size, over)
            if kernel.couples_rows:
                cells.append([f"{kernel.name} {kernel.x_size}, over the batch: not alone", *[None] * 3, 0.0, 0.0])
                continue
            prepare, forward, backward = repeated(
                lambda n: time_op(kernel, theta, state, x, dy, wants_dx=planned.dx != NONE,  # noqa: B023
                                  wants_grad=node.trainable, repeats=n), seconds)  # noqa: B023
            sizes = ", ".join(
                f"{v}" for k, v in (kernel.config or {}).items() if isinstance(v, (int, str, tuple))
            )
            name = f"{kernel.name} {kernel.x_size} -> {kernel.y_size}" + (
                f" ({sizes})" if len(sizes) < 30 else ""
            )
            own = range(node.theta, node.theta + kernel.n_params)
            inputs, steps = (sum(numbers) for numbers in zip(*(
                products[place] for place in products if place in own))) if kernel.n_params else (0, 0)
            passes = 1 + (planned.dx != NONE) + node.trainable
            line(name, prepare, forward, backward, 2.0 * row.batch * (passes * inputs + 3 * steps),
                 1 if planned.deferred else blocks)
        out = numbers(graph.sizes[graph.buffers[-1]])
        t = np.ascontiguousarray(targets[:rows])
        line(
            f"loss {row.loss}", 0.0, float(repeated(lambda n: time_loss(loss, out, t, n), seconds)), None, 0.0
        )
        rule = ours.optimizer(row)
        coefficients = np.ascontiguousarray(rule.coefficients(0, 1)[0, 2:])
        spent = float(repeated(
            lambda n: time_update(rule.rule_id, rule.n_slots, model.theta, plan.lanes, coefficients, n), seconds))
        total += spent
        cells.append(
            [
                f"update {row.optimizer}, {len(model.theta):,} weights x {plan.lanes}",
                None,
                None,
                None,
                spent,
                0.0,
            ]
        )
    step = min(measure(ours.prepare(row, "train", dtype, 1, {}), max(0.05, seconds), 3))
    text = [f"{row.title}, {dtype}, one thread: {blocks} block(s) of {rows} rows, {plan.lanes} lane(s)", ""]
    header = ["op", "prepare", "forward", "backward", "together", "share of step", "GF/s"]
    shown = [[name, *("-" if v is None else duration(v) for v in (prepare, forward, backward, spent)),
              f"{100 * spent / step:.1f} %", f"{flops / spent / 1e9:.0f}" if flops else "-"]
             for name, prepare, forward, backward, spent, flops in cells]
    shown.append(["all of them", "", "", "", duration(total), f"{100 * total / step:.1f} %", ""])
    left = f"-{duration(total - step)}" if total > step else duration(step - total)
    shown.append(
        ["the rest: gathering, order, the loop", "", "", "", left, f"{100 * (1 - total / step):.1f} %", ""]
    )
    shown.append(
        ["the whole step, by fit", "", "", "", duration(step), "100 %", f"{flops_known / step / 1e9:.0f}"]
    )
    return "\n".join(text + plain(header, shown))
