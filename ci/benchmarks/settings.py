"""What a peer can be set to, and the choice of the best by trying.

An axis is (name, values); axes are chosen from the first to the last.
"""
from __future__ import annotations

from benchmarks import common

SECONDS, ROUNDS = 0.05, 3               # of one repetition; repetitions after the one that calibrates
LONGEST = 0.3                           # seconds of all rounds of one value


def axes(peer, row, part):
    """The settings of a contender; the library itself and scikit-learn's training have none."""
    training = part == "train"
    found = []
    match peer:
        case "torch":
            if row.images:
                found.append(("memory format", ("contiguous", "channels_last")))
            if row.recurrent:
                found += [("batch", ("second", "first")), ("last", ("h_n", "output"))]
            if training:
                found.append(("update", ("fused", "foreach", "for-loop")))
        case "jax":
            if training:
                found.append(("steps", ("scan", "calls")))
            if row.recurrent:
                found.append(("unroll", (1, 5)))
        case "scikit-learn" if not training:
            methods = ("predict",) if row.loss == "squared_error" else ("predict", "predict_proba")
            found += [("method", methods), ("assume_finite", (False, True))]
        case "onnxruntime":
            found.append(("call", ("run", "io binding")))
    return found


def first(peer, row, part):
    """The first value of each axis."""
    return {name: values[0] for name, values in axes(peer, row, part)}


def explore(prepare, arguments, of_axes, of_first):
    """The best setting, one axis after the other, and all that were tried with their seconds a step.

    The values of an axis take turns, and the least time of each counts. A setting is prepared once: JAX compiles it.
    """
    setting = {name: values[0] for name, values in of_axes}
    tried, best, longest = [], None, 0.0
    for name, values in of_axes:
        runs = {value: prepare(*arguments, {**setting, name: value}) if best is None or value != setting[name] else best
                for value in values}
        counts, least = {}, {}
        for value, run in runs.items():
            counts[value], least[value], spent = common.calibrate(run, SECONDS, of_first)
            longest = max(longest, spent)
            if spent > common.LONG:
                return setting, tried               # the first settings
        for _ in range(min(ROUNDS, int(LONGEST / longest))):
            for value, run in runs.items():
                least[value] = min(least[value], common.repetition(run, counts[value], of_first))
        tried += [{"setting": {**setting, name: value}, "seconds": least[value]} for value in values]
        setting[name] = of_first(min(least, key=least.get))
        best = runs[setting[name]]
    return setting, tried
