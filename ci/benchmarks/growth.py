"""The part "growth": how the time of training grows with rows, width, depth and length.

Each axis has a network of its own; ``exponent`` fits seconds = c size^e to all sizes of an axis.
"""
from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from itertools import product

from benchmarks import runner
from benchmarks.layers import Dense, Recurrent
from benchmarks.row import Row, mlp
from benchmarks.tables import duration, number


@dataclass(frozen=True)
class Axis:
    title: str
    sizes: tuple[int, ...]
    unit: str                           # whose seconds are counted: "epoch" or "step"


AXES = {
    "rows": Axis("rows, MLP 20-64-64-2, batch 100", (1_000, 10_000, 100_000, 1_000_000), "epoch"),
    "width": Axis("width w, MLP w-w-w-10, batch 64", (32, 64, 128, 256, 512, 1024, 2048), "step"),
    "depth": Axis("depth, dense layers of 64, batch 32", (1, 3, 10, 30, 100, 300), "step"),
    "length": Axis("length, GRU in=16 h=64, batch 32", (10, 40, 100, 400, 1_000, 4_000), "step"),
}
PEERS = ("torch",)


def row(axis, size):
    """The row of one size."""
    key = f"growth-{axis}-{size}"
    if axis == "rows":
        return Row(key, key, (20,), 100, mlp(64, 64, outputs=2), outputs=2, batches=size // 100)
    if axis == "width":
        return Row(key, key, (size,), 64, mlp(size, size, outputs=10), batches=4)
    if axis == "depth":
        return Row(key, key, (64,), 32, (*[Dense(64, "relu")] * size, Dense(10)), batches=10)
    return Row(key, key, (size, 16), 32, (Recurrent("gru", 64), Dense(10)), batches=2)


def run(options):
    """Seconds of every size: a list that json can write."""
    names = [runner.OURS, *(peer for peer in PEERS if peer in options.peers and not runner.missing(peer))]
    results = [{"axis": axis, "size": size, "dtype": dtype, "threads": threads,
                "contenders": {name: {"turns": []} for name in names}}
               for (axis, one), dtype, threads in product(AXES.items(), options.dtypes, options.threads)
               for size in one.sizes[:1 if options.short else None]]
    # a process for each measurement, but in a short run one for all of a contender
    for members in [results] if options.short else [[result] for result in results]:
        for _, name in product(range(options.turns), names):
            jobs = [{**runner.job(options, name, row(result["axis"], result["size"]), "train", result["dtype"],
                                  result["threads"]), "growth": [result["axis"], result["size"]]} for result in members]
            for result, answer in zip(members, runner.ask(options, jobs, members[0]["threads"])):
                runner.take(result["contenders"][name], answer)
        runner.say("growth: " + ", ".join(f"{result['axis']} {result['size']}" for result in members))
    return results


def exponent(sizes, seconds):
    """The slope of the least-squares line through (log size, log seconds); None for fewer than two sizes."""
    if len(sizes) < 2:
        return None
    x, y = ([math.log(v) for v in values] for values in (sizes, seconds))
    return statistics.linear_regression(x, y).slope


def seconds_of(result, name):
    """Of an epoch or a step, the median over the turns; None where nothing was measured."""
    turns = result["contenders"][name]["turns"]
    if not turns:
        return None
    steps = row(result["axis"], result["size"]).batches if AXES[result["axis"]].unit == "epoch" else 1
    return steps * statistics.median(min(turn["times"]) for turn in turns)


def tables(results):
    """(title, header, cells) of each axis, dtype and number of threads: a line for each contender, a column a size."""
    groups = {}
    for result in results:
        groups.setdefault((result["axis"], result["dtype"], result["threads"]), []).append(result)
    found = []
    for (axis, dtype, threads), members in groups.items():
        sizes, cells = [result["size"] for result in members], []
        for name in members[0]["contenders"]:
            times = [seconds_of(result, name) for result in members]
            known = [(size, time) for size, time in zip(sizes, times) if time]
            fitted, last = (exponent(*zip(*part)) if len(part) > 1 else None for part in (known, known[-2:]))
            cells.append([name, *map(duration, times), number(fitted), number(last)])
        title = f"{AXES[axis].title}, {dtype}, {threads} thread{'s' * (threads > 1)}: seconds of one {AXES[axis].unit}"
        found.append((title, [axis, *(f"{size:,}" for size in sizes), "exponent", "of the last two"], cells))
    return found
