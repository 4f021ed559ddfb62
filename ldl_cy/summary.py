"""The table that ``Sequential.summary`` prints."""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldl_cy.models import Sequential


def summary(model: Sequential) -> str:
    """Layers with their output shapes, parameters and multiply-adds per sample."""
    graph = model._built()
    rows = [("layer", "output shape", "parameters", "multiply-adds")]
    work = {node.y: node.kernel.flops / 2 for node in graph.nodes if node.kernel is not None}
    for name, value in graph.outputs.items():
        size = sum(e.parameter.size for e in graph.parameters if e.name.rpartition(".")[0] == name)
        fresh = graph.buffers.index(graph.buffers[value]) == value      # not a change of shape only
        flops = work.get(graph.buffers[value], 0) if fresh else 0
        rows.append((name, str(graph.shapes[value]), f"{size:,}", f"{flops:,.0f}"))
    rows.append(("total", f"input {graph.input_shape}", f"{graph.n_params:,}", f"{graph.flops / 2:,.0f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{r[0]:<{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]:>{widths[2]}}  {r[3]:>{widths[3]}}" for r in rows]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])
