"""An exception at any line of a fit, as Ctrl-C raises it: the model is whole, and continues to the same bits."""
import linecache
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import ldl_cy
from ldl_cy import Sequential, layers
from ldl_cy._engine.process import count_fits
from ldl_cy.optimizers import GD, Adam
from ldl_cy.training import trunk_outputs

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((24, 3)).astype("f"), rng.standard_normal((24, 1)).astype("f")
EPOCHS = 2
# what is done between the engine's calls; the checks of arguments before them change nothing
ROOT = Path(ldl_cy.__file__).parent
PLACES = {str(ROOT / name) for name in ("models.py", "network.py", "state.py", "workspaces.py")}
PLACES |= {str(path) for folder in ("training", "callbacks") for path in (ROOT / folder).glob("*.py")}
WITH = re.compile(r" *(with |try:|.* as \w+:$)")
FITS = {
    "one call": dict(optimizer="adam"),
    "callbacks": dict(optimizer="adam", callbacks=[lambda model, logs: None]),
    "averages": dict(optimizer=Adam(ema=0.9), callbacks=[lambda model, logs: None]),
    "by the loss": dict(optimizer=GD(tol=1e-9), callbacks=[lambda model, logs: None]),
    "batches": dict(optimizer=Adam(ema=0.9)),
    "method": dict(optimizer="lm"),
    "frozen layers": dict(optimizer=Adam(ema=0.9), validation_split=0.25),
    "frozen layers, in chunks": dict(optimizer=Adam(ema=0.9), cache_features=False, batch_size=5),
    "frozen layers, method": dict(optimizer="lm"),
}


class Interrupt(BaseException):
    """What the line raises."""


def fitted(kind, model, epochs):
    data = ([(X[:12], Y[:12]), (X[12:], Y[12:])],) if kind == "batches" else (X, Y)
    return model.fit(*data, loss="squared_error", epochs=epochs, n_threads=1, **FITS[kind])


def interrupted(kind, model, line):
    """Whether the fit, which ends before its line of this number, has so many lines."""
    left = line

    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename not in PLACES:
            return None
        # where a tracer comes between a with statement and what ends it, as no signal does
        left -= event == "line" and not WITH.match(linecache.getline(frame.f_code.co_filename, frame.f_lineno))
        if left < 0:
            sys.settrace(None)
            raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        fitted(kind, model, EPOCHS)
    except Interrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def made(kind):
    first = layers.Dense(4, "tanh", trainable=not kind.startswith("frozen"))
    return Sequential([first, layers.Dense(1)], random_state=0).build(3)


def numbers(model):
    state = model.training_state
    return (model.theta.tobytes(), [v.tobytes() for v in model.state.values()], state.optimizer.slots.tobytes(),
            state.to_dict())


@pytest.mark.parametrize("kind", FITS)
def test_an_exception_at_any_line(kind, monkeypatch):
    monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 1)
    whole = made(kind)
    fitted(kind, whole, EPOCHS)
    line, model = 0, made(kind)
    while interrupted(kind, model, line):
        if model.epoch < EPOCHS:
            fitted(kind, model, EPOCHS - model.epoch)
        assert numbers(model) == numbers(whole) and count_fits() == 0, line
        line, model = line + 1, made(kind)
    assert line > 100 and numbers(model) == numbers(whole)


class Twice:
    """Two batches; the second epoch is interrupted after the first of them, and the fit then by a tracer as well."""

    def __init__(self, tracer=None):
        self.epochs, self.tracer = 0, tracer

    def __iter__(self):
        self.epochs += 1
        yield X[:12], Y[:12]
        if self.epochs == 2 and self.tracer:
            sys.settrace(self.tracer)
            raise KeyboardInterrupt
        yield X[12:], Y[12:]


def test_a_second_exception_while_the_first_takes_back_an_epoch():
    """At the n-th bytecode that follows, as Ctrl-C pressed twice does."""
    def new():
        return Sequential([layers.Dense(4, "tanh"), layers.BatchNorm(), layers.Dense(1)], random_state=0)

    def fit(model, tracer, epochs):
        model.fit(Twice(tracer), loss="squared_error", optimizer=Adam(ema=0.9), epochs=epochs, n_threads=1)

    def trace(frame, event, argument):
        nonlocal left
        if not frame.f_code.co_filename.startswith(str(ROOT)):
            return None
        frame.f_trace_opcodes = True
        left -= event == "opcode"
        if left < 0:
            sys.settrace(None)
            raise Interrupt
        return trace

    plain, at, left = new(), -1, -1
    fit(plain, None, 1)
    before = sys.gettrace()
    while left < 0:                     # the fit was interrupted twice
        at += 1
        model, left = new(), at
        try:
            fit(model, trace, 3)
        except (KeyboardInterrupt, Interrupt):
            pass
        finally:
            sys.settrace(before)
        assert numbers(model) == numbers(plain), f"at bytecode {at}"
        model.reset()
