"""Numbers and tables as text, plain or in Markdown."""
from __future__ import annotations


def duration(seconds):
    if seconds is None:
        return "-"
    if seconds >= 10:
        return f"{seconds:,.1f} s"
    value, unit = (1e3 * seconds, "ms") if seconds >= 1e-3 else (1e6 * seconds, "µs")
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def number(value):
    return "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def plain(header, cells):
    """A table for the terminal."""
    widths = [max(len(str(row[i])) for row in [header, *cells]) for i in range(len(header))]
    return ["  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
            for row in [header, *cells]]


def markdown(header, cells):
    """A table in Markdown."""
    def line(row):
        return f"| {' | '.join(row)} |"

    return [line(header), line(["---"] + ["---:"] * (len(header) - 1)), *map(line, cells)]
