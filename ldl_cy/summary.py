"""The table of ``Sequential.summary`` and of notebooks."""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from ldl_cy._engine.plan import Plan
from ldl_cy.layers.base import layer_names

if TYPE_CHECKING:
    from ldl_cy.layers.base import Layer
    from ldl_cy.network import Network

HEAD = ("layer", "output shape", "parameters", "multiply-adds")
NOT_BUILT = "not built: output shapes, numbers of parameters and memory come with build(input_shape) or the first fit"
MEMORY_ROWS = 256                   # the batch size for which the memory per sample is computed


def table(network: Network) -> list[tuple[str, ...]]:
    """Rows of (layer, output shape, parameters, multiply-adds per sample); the last row is the total."""
    graph = network.graph
    rows: list[tuple[str, ...]] = []
    work = {node.y: node.flops / 2 for node in graph.nodes}
    sizes: Counter[str] = Counter()
    frozen: Counter[str] = Counter()
    for e in graph.parameters:
        own = e.name.rpartition(".")[0]
        sizes[own] += e.parameter.size
        frozen[own] += 0 if e.trainable else e.parameter.size
    first = {buffer: value for value, buffer in reversed([*enumerate(graph.buffers)])}
    for name, value in graph.outputs.items():
        size = sizes[name]
        fresh = first[graph.buffers[value]] == value                    # not merely reshaped
        flops = work.get(graph.buffers[value], 0) if fresh else 0
        rows.append((name, str(graph.shapes[value]), f"{size:,}{' frozen' * (frozen[name] > 0)}", f"{flops:,.0f}"))
    rows.append(("total", f"input {graph.input_shape}", f"{graph.n_params:,}", f"{graph.flops / 2:,.0f}"))
    return rows


def trained(network: Network) -> str:
    """How many parameters train, and how many are frozen."""
    n = int(network.trainable.sum())
    return f"parameters: {n:,} trainable, {network.n_params - n:,} frozen"


def memory(network: Network) -> str:
    """Memory per sample in a workspace, for a training step and for prediction, and of the weights; in kB."""
    graph = network.graph
    itemsize = 4 if network.dtype == "float32" else 8
    sizes = []
    for training in (True, False):
        plan = Plan(graph, training, MEMORY_ROWS, 1 if training else 0)
        sizes.append((plan.arena / plan.block_rows + plan.whole) * itemsize / 1024)
    return (f"memory of a sample: {sizes[0]:,.1f} kB to train, {sizes[1]:,.1f} kB to predict; "
            f"weights {graph.n_params * itemsize / 1024:,.1f} kB")


def summary(network: Network) -> str:
    """The table as text."""
    rows = [HEAD, *table(network)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{r[0]:<{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]:>{widths[2]}}  {r[3]:>{widths[3]}}" for r in rows]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], trained(network), memory(network)])


def settings(layers: Sequence[Layer]) -> str:
    """What is known of layers that are not built: their names and settings."""
    names = layer_names("Sequential", layers)
    width = max(map(len, ("layer", *names)))
    lines = [f"{name:<{width}}  {layer!r}" for name, layer in zip(names, layers)]
    rule = "-" * min(120, max(map(len, lines)))
    return "\n".join([f"{'layer':<{width}}  settings", rule, *lines, rule, NOT_BUILT])


def html(network: Network, epoch: int) -> str:
    """The table for notebooks, with the number of epochs."""
    def row(cells: tuple[str, ...], tag: str) -> str:
        sides = ("left", "left", "right", "right")
        return "<tr>" + "".join(
            f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>' for cell, side in zip(cells, sides)) + "</tr>"

    *body, total = table(network)
    return "".join([
        f"<table><caption>Sequential, {network.dtype}, epoch {epoch}</caption><thead>", row(HEAD, "th"),
        "</thead><tbody>", *(row(cells, "td") for cells in body), "</tbody><tfoot>", row(total, "th"),
        *(f'<tr><td colspan="4">{escape(line)}</td></tr>' for line in (trained(network), memory(network))),
        "</tfoot></table>"])
