"""Signals at any moment: what they raise comes out, and the model, BLAS and the threads are as if they had not come.

A timer interrupts each call at many moments: real signals, since only these come where the interpreter looks for them.
"""
import contextlib
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from strangers import ROUNDS, run_all

from ldl_cy import MLPClassifier, Sequential, layers, losses, optimizers
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.process import count_fits
from ldl_cy.callbacks import Callback
from ldl_cy.training import trunk_outputs

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that send signals")

MOMENTS = 12 * ROUNDS           # interrupted calls of each kind
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((200, 300)).astype("float32"), rng.integers(0, 3, 200)
LOSS = "log_loss"


class Interrupted(Exception):
    """What the handler raises."""


def scale(parameters, x):
    return 0.5 * x


def scale_back(parameters, x, y, dy):
    return 0.5 * dy, {}


def squares(y_pred, y):
    return ((y_pred - y)**2).sum(1), 2 * (y_pred - y)


def dense():
    return Sequential([layers.Dense(20, "tanh"), layers.BatchNorm(), layers.Dropout(0.2), layers.Dense(3)],
                      random_state=0).build(300)


def wide():
    """Worker threads take part."""
    stack = [layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(3)]
    return Sequential(stack, random_state=0).build(300)


def plain():
    return Sequential([layers.Dense(8, "tanh"), layers.Dense(3)], "float64", 0).build(300)


def custom():
    return Sequential([layers.Dense(8, "tanh"), layers.Custom(scale, scale_back, (8,)), layers.Dense(3)],
                      random_state=0).build(300)


def frozen():
    first = layers.Dense(256, "relu", trainable=False)
    return Sequential([first, layers.Dropout(0.2), layers.Dense(3)], random_state=0).build(300)


def in_chunks(model):
    """Of two batches each."""
    trunk_outputs.CHUNK_BYTES = 2 * 50 * 4 * (300 + 256)
    fit(optimizer="adam", cache_features=False, n_threads=2)(model)


class Busy(Callback):
    """Works in Python for a moment."""

    def on_epoch_end(self, model, epoch, logs):
        return sum(range(2000)) < 0


def fit(**options):
    return lambda model: model.fit(X, Y, **{"loss": LOSS, "batch_size": 50, "epochs": 3, **options})


def estimate(**options):
    def call(_):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", "Training interrupted by user.")
            MLPClassifier((20,), max_iter=3, n_iter_no_change=5, random_state=0, **options).fit(X, Y)
    return call


def keep(model):
    """In the working folder: Python's own deletion of a folder closes a file twice if a signal comes between."""
    for _ in range(3):
        model.save("model")
        pickle.loads(pickle.dumps(Sequential.load("model")))
    assert os.listdir() == ["model"]


# name: (model, call, whether it is a fit)
CALLS = {
    "sgd": (dense, fit(), True),
    "threads": (wide, fit(optimizer="adam", n_threads=2, batch_size=100), True),
    "callbacks": (dense, fit(optimizer="adam", callbacks=[Busy()], validation_split=0.2), True),
    "averages": (dense, fit(optimizer=optimizers.Adam(ema=0.9), callbacks=[Busy()]), True),
    "batches": (dense, lambda model: model.fit([(X[:99], Y[:99]), (X[99:], Y[99:])], loss=LOSS, epochs=3, n_threads=2),
                True),
    "frozen layers": (frozen, fit(optimizer="adam", validation_split=0.2), True),
    "frozen layers in chunks": (frozen, in_chunks, True),
    "custom layer": (custom, fit(), True),
    "custom loss": (plain, lambda model: model.fit(
        X, np.eye(3)[Y], loss=losses.Custom(squares), epochs=3, batch_size=50), True),
    "lbfgs": (plain, fit(optimizer="lbfgs", batch_size="auto"), True),
    "cg": (plain, fit(optimizer="cg", batch_size="auto"), True),
    "predict": (wide, lambda model: [model.predict(X[:n], n_threads=t) for n in (1, 50, 200) for t in (1, 2)], False),
    "few rows": (dense, lambda model: [model.predict(X[:n]) for n in (1, 5, 9)], False),
    "evaluate": (wide, lambda model: model.evaluate(X, Y, loss=LOSS), False),
    "gradient": (wide, lambda model: model.loss_and_grad(X, Y, loss=LOSS, n_threads=2), False),
    "jacobian": (plain, lambda model: model.jacobian(X[:20], n_threads=2), False),
    "trace": (dense, lambda model: model.trace(X), False),
    "keep": (dense, keep, False),
    "estimator": (dense, estimate(), False),
    "estimator with lbfgs": (dense, estimate(solver="lbfgs"), False),
}


def blas_numbers():
    from threadpoolctl import threadpool_info

    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def running_threads():
    """Those that run: CPython counts one for ever whose start was interrupted before it began."""
    return sum(thread.is_alive() for thread in threading.enumerate())


def interrupted(name, how):
    """Interrupt a call at many moments; the number of interruptions."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return interrupted_calls(name, how)


def interrupted_calls(name, how):
    make, call, fits = CALLS[name]

    def handle(signum, frame):
        if how == "ctrl-c":
            raise KeyboardInterrupt
        raise Interrupted

    model = make()
    call(model)
    begun = time.perf_counter()
    call(make())
    duration = time.perf_counter() - begun
    threads, numbers = running_threads(), blas_numbers()
    start = pickle.dumps(make())
    after = pickle.loads(start)
    call(after)
    expected = after.predict(X)
    signal.signal(signal.SIGALRM, handle)
    count = 0
    for i in range(MOMENTS):
        model = pickle.loads(start)
        try:
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, duration * (i + 0.5) / MOMENTS))
            try:
                call(model)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except (Interrupted, KeyboardInterrupt):
            count += 1
        except KeyError as error:           # of CPython's Thread.start, where a handler's exception comes within it
            assert isinstance(error.__context__, Interrupted), error
            count += 1
        except UserWarning as error:
            assert str(error) == "Training interrupted by user.", error
            count += 1
        assert count_fits() == 0, "a fit is still counted"
        assert np.isfinite(model.theta).all() and model.epoch <= 3
        if not fits:
            assert np.array_equal(model.theta, pickle.loads(start).theta), "a call that only reads changed weights"
        copy = pickle.loads(pickle.dumps(model))
        assert np.array_equal(model.predict(X), copy.predict(X)), "the model and its copy differ"
        call(model.reset())
        assert np.array_equal(model.predict(X), expected), "the next fit differs"
    for _ in range(200):
        if running_threads() == threads:
            break
        time.sleep(0.01)                        # an interrupted pool did not wait for its threads
    assert running_threads() == threads, "threads are left"
    assert blas_numbers() == numbers, "BLAS is still limited"
    return count


@pytest.mark.parametrize("how", ["ctrl-c", "exception"])
def test_a_signal_at_any_moment(how):
    cases = [[name, how] for name in CALLS]
    found = {case[0]: ended for case, ended in zip(cases, run_all(interrupted, cases))}
    assert {name: f"{ended.error}: {ended.text}" for name, ended in found.items() if ended.error} == {}
    # of a short call most moments are over before the timer's signal comes
    assert sum(ended.value > 0 for ended in found.values()) > len(found) / 2


def blocked_by_workers():
    """Whether each worker thread blocks SIGTERM, which a program may wait for, and lets through what a fault raises."""
    def threads():
        return {path.name: path for path in Path("/proc/self/task").iterdir()}

    def blocked(path, number):
        line, = (line for line in (path / "status").read_text().splitlines() if line.startswith("SigBlk"))
        return bool(int(line.split()[1], 16) >> number - 1 & 1)

    before = set(threads())
    with Pool(3):
        workers = [path for name, path in threads().items() if name not in before]
        end = time.monotonic() + 30
        # the C library blocks everything in a thread until it has begun: looked at every millisecond until it has
        while any(blocked(path, signal.SIGSEGV) for path in workers) and time.monotonic() < end:
            time.sleep(0.001)
        found = [[blocked(path, number) for number in (signal.SIGTERM, signal.SIGSEGV)] for path in workers]
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads a thread's mask from /proc, which Linux has")
def test_no_signal_of_the_process_goes_to_a_worker():
    ended, = run_all(blocked_by_workers, [[]])
    assert ended.result() == [[True, False]] * 2


def restored_or_not(count):
    """How many of so many interrupted restores changed the weights or the running statistics alone."""
    model = Sequential([layers.Dense(1000, use_bias=False), layers.BatchNorm()], random_state=0).build(1000)
    network = model.network
    snapshots = [tuple(np.full_like(array, value) for array in network.snapshot()) for value in (1, 2)]
    torn = 0

    def interrupt(number, frame):
        raise Interrupted

    signal.signal(signal.SIGALRM, interrupt)
    for i in range(count):
        network.restore(snapshots[0])
        try:
            signal.setitimer(signal.ITIMER_REAL, 5e-5 * (1 + i % 40))
            for _ in range(10):
                network.restore(snapshots[1])
                network.restore(snapshots[0])
            time.sleep(0.01)
        except Interrupted:
            pass
        torn += len({*network.theta.tolist(), *network.statistics.tolist()}) != 1
    return torn


def test_numbers_are_restored_as_a_whole():
    ended, = run_all(restored_or_not, [[40 * ROUNDS]])
    assert ended.result() == 0
