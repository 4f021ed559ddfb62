"""The demo's results as a table and as a plot."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ldl_cy.demo.systems import Result

HEADER = ("system", "data", "parameters", "time", "score", "target", "baseline")
RIGHT = {"parameters", "time"}


def table(results: Sequence[Result]) -> str:
    """A header and one line per result, with aligned columns."""
    rows = [HEADER] + [
        (r.system, r.data, f"{r.n_parameters:,}", f"{r.seconds:.2f} s", r.score_text, r.target_text,
         r.baseline)
        for r in results]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    lines = [
        "  ".join(
            f"{cell:>{width}}" if name in RIGHT else f"{cell:<{width}}"
            for name, cell, width in zip(HEADER, row, widths, strict=True)).rstrip()
        for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def draw(results: Sequence[Result], path: str | Path) -> None:
    """Plot the loss curves and the first layer's filters.

    Parameters
    ----------
    results : sequence of Result
    path : path of the PNG to write

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    # Figure, not pyplot: it needs no window system and leaves no global state behind.
    from matplotlib.figure import Figure

    pictures = [r for r in results if r.filters is not None]
    figure = Figure(figsize=(3 * len(results), 3 + 3 * len(pictures)), layout="constrained")
    rows = figure.subfigures(1 + len(pictures), 1, squeeze=False)[:, 0]

    rows[0].suptitle("Training loss by epoch")
    for axis, result in zip(rows[0].subplots(1, len(results), squeeze=False)[0], results, strict=True):
        axis.plot(range(1, len(result.losses) + 1), result.losses)
        axis.set_title(result.system, fontsize="medium")
        axis.set_yscale("log")

    for row, result in zip(rows[1:], pictures, strict=True):
        filters = result.filters
        assert filters is not None
        row.suptitle(f"{result.system}: the first layer's filters")
        bound = abs(filters).max()    # one scale for all filters, with grey at 0
        for k, axis in enumerate(row.subplots(2, -(-filters.shape[2] // 2), squeeze=False).ravel()):
            axis.set_axis_off()
            if k < filters.shape[2]:
                axis.imshow(filters[:, :, k], cmap="gray", vmin=-bound, vmax=bound)
    figure.savefig(path, format="png", dpi=100)
