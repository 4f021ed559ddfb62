"""What every contender shares: data, the clock, memory in use."""
from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.row import rows_of

LONG = 10.0                             # seconds of a call from which on it is not repeated


class NotSupported(Exception):
    """A contender does not run a measurement; the message says why."""


def training_data(row, dtype):
    """(X (n, *shape), y (n,)) of row.batches whole batches; y is X where several numbers are to be predicted."""
    rng = np.random.default_rng(0)
    n = row.batch * row.batches
    X = draw_input(rng, row, n, dtype)
    if row.loss == "squared_error":
        if row.outputs > 1:
            return X, X
        return X, (X.reshape(n, -1)[:, 0] + 0.1 * rng.standard_normal(n)).astype(dtype)
    y = rng.integers(0, row.outputs, n)
    y[:row.outputs] = np.arange(row.outputs)[:n]        # every class appears
    return X, y


def input_data(row, part, dtype):
    """X of a predict."""
    return draw_input(np.random.default_rng(1), row, rows_of(row, part), dtype)


def draw_input(rng, row, n, dtype):
    """n samples: ids as int64, all else in the dtype."""
    if row.tokens:
        return rng.integers(0, row.tokens, (n, *row.shape))
    return rng.standard_normal((n, *row.shape), dtype=dtype)


def measure(run, seconds, repeats, of_first=lambda value: value):
    """Seconds a step, one figure for each repetition that lasts about ``seconds``.

    ``run(count)`` does at least ``count`` steps and returns how many it did. The first, uncounted call is the
    warm-up; the number of steps is raised until a repetition is long enough, so that set-up (the checks of a
    fit, the first look at a data set) is spread over all its steps and has no measurement of its own.

    Several processes that run together give ``of_first``, which waits for all and returns the value of the first:
    all do as many steps. A call that takes longer than ``LONG`` is not repeated.
    """
    count, step, spent = calibrate(run, seconds, of_first)
    if spent > LONG:
        return [step]
    return [repetition(run, count, of_first) for _ in range(repeats)]


def calibrate(run, seconds, of_first=lambda value: value):
    """(How many steps last about ``seconds``, seconds a step, seconds of the last call); see ``measure``."""
    run(1)
    count = 1
    while True:
        of_first(0)
        start = time.perf_counter()
        done = run(count)
        spent = of_first(time.perf_counter() - start)
        if spent >= seconds / 2:
            break
        count = max(count + 1, int(done * min(20.0, seconds / max(spent, 1e-7))))
    return max(1, round(done * seconds / spent)), spent / done, spent


def repetition(run, count, of_first=lambda value: value):
    """Seconds a step of one repetition of at least ``count`` steps."""
    of_first(0)
    start = time.perf_counter()
    done = run(count)
    return (time.perf_counter() - start) / done


def peak_memory():
    """Bytes of the process's largest resident size so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def memory():
    """Bytes resident now, or the peak so far where only that is known."""
    try:
        import resource

        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (ImportError, OSError):
        return peak_memory()
