"""Random arguments of everything that is constructed: it is made, or refused by its name."""
from __future__ import annotations

import inspect

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="the extra 'fuzz' brings hypothesis, which draws the examples")

from fuzz.drawing import junk, squares, wave, wave_back
from fuzz.outcomes import Refused, attempt
from hypothesis import given
from hypothesis import strategies as st

from ldl_cy import Sequential, callbacks, initializers, layers, losses, optimizers, schedules
from ldl_cy.layers.merge import Branches


def public(module, base):
    found = {value for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, base)}
    return sorted(found - {base}, key=lambda c: c.__name__)


LAYERS = public(layers, layers.Layer)
OTHERS = [
    *public(losses, losses.Loss), *public(optimizers, optimizers.Optimizer), *public(schedules, schedules.Schedule),
    callbacks.EarlyStopping, callbacks.ReduceOnPlateau, initializers.Constant]
LARGE = 2**20           # sizes that would only be slow


def arguments_of(kind):
    """Names of arguments, and whether they must be given."""
    found = {}
    for c in kind.__mro__:
        for name, p in inspect.signature(c.__init__).parameters.items() if "__init__" in vars(c) else ():
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name != "self":
                found.setdefault(name, p.default is p.empty)
        if "__init__" in vars(c) and not any(
                p.kind == p.VAR_KEYWORD for p in inspect.signature(c.__init__).parameters.values()):
            break
    return found


@st.composite
def settings_of(draw, kinds):
    kind = draw(st.sampled_from(kinds))
    names = {name for name, needed in arguments_of(kind).items() if needed}
    names |= set(draw(st.lists(st.sampled_from([*arguments_of(kind)] or ["name"]), max_size=3)))
    paths = draw(st.lists(junk(), max_size=2)) if issubclass(kind, Branches) else []
    own = {"fn"}
    if kind is layers.Custom:
        own = {"forward", "backward", "output_shape", "parameters"}
        names |= own
    junk_at = draw(st.sampled_from([None, None, *sorted(names - own)]))
    return kind, paths, {name: draw(junk_for(name) if name == junk_at else sound(name)) for name in sorted(names)}


def junk_for(name):
    """What the user's own functions raise is theirs."""
    theirs = name == "learning_rate" or name.endswith("initializer")
    return junk().filter(lambda value: not (theirs and callable(value)))


def sound(name):
    """Values that an argument of this name may well have."""
    known = {
        "activation": ["relu", "tanh", "softmax", "relu6", None], "name": ["a", None, "softmax"],
        "padding": ["same", "valid", 1, 0, (1, 0), ((0, 1), (2, 0))], "dims": [(2, 1), (1, 3, 2), [3, 1, 2], (1,)],
        "algorithm": ["auto", "direct", "winograd", "fft"],
        "layer": [layers.GRU(2), layers.RNN(1, return_sequences=True)],
        "merge_mode": ["sum", "concat"], "forward": [wave], "backward": [wave_back], "target_shape": [-1, (-1,
                                                                                                           1), (2, 3)],
        "output_shape": [tuple], "by": ["step", "epoch"], "rate": [0.1, 0.5, 1e-3], "phases": ["linear", "cos"],
        "monitor": ["loss", "val_loss"], "mode": ["auto", "min", "max"], "criterion": ["gradient", "loss"],
        "fn": [squares],
        "every": [2, (1, 3)], "ema": [0.5, None], "clip_norm": [1.0, None], "slope": [0.1, 0.0],
        "momentum": [0.9, 0.0],
        "parameters": [{"frequency": 1}], "schedule": [0.1, schedules.Cosine(0.1, 3)],
        "mean": [0, 0.5, (1, 2)], "variance": [1, 0, (0.5, 2)], "axis": [-1, 1, (1, 2), (-2,)],
        "learning_rate": [0.1, schedules.Cosine(0.1, 3)], "value": [0.5, 0]}
    if name in known:
        return st.sampled_from(known[name])
    if name.endswith("initializer"):
        return st.sampled_from(["zeros", "orthogonal", "he_normal", initializers.Constant(0.5)])
    if name.startswith(("use_", "return_", "go_", "restore_")) or name in (
            "trainable", "nesterov", "deviance", "centered"):
        return st.booleans()
    if name in ("output_dim", "units", "filters", "groups", "patience", "memory", "length", "input_dim",
                "max_fun"):
        return st.integers(1, 4)
    return st.sampled_from([1, 1, 2, 3, 0.5, 0.1, (2, 2), 0])


@given(settings_of(LAYERS), st.lists(st.sampled_from([1, 2, 3, 5, 8, 0, -1, 2**40]), max_size=4),
       st.sampled_from(["float32", "float64"]))
def test_layers(tally, drawn, shape, dtype):
    kind, paths, settings = drawn
    layer = attempt(lambda: kind(*paths, **settings))
    if isinstance(layer, Refused):
        tally("layers", layer)
        return
    assert layer == layer.from_config(layer.get_config())
    assert repr(layer)
    attempt(lambda: layer.compute_output_shape(tuple(shape)))
    if max(shape, default=0) > LARGE or max(map(size_of, settings.values()), default=0) > LARGE:
        tally("layers", "large")
        return
    model = attempt(lambda: Sequential([layer], dtype, 0).build(tuple(shape)))
    if isinstance(model, Refused):
        tally("layers", "do not fit")
        return
    tally("layers", "built")
    X = np.ones((2, *shape))
    found = attempt(lambda: model.predict(X))
    assert isinstance(found, Refused) or found.shape == (2, *model.output_shape)
    y = np.ones((2, *model.output_shape))
    attempt(lambda: model.fit(X, y, loss="squared_error", epochs=1))


def size_of(value):
    if isinstance(value, (tuple, list)):
        return max(map(size_of, value), default=0)
    return value if isinstance(value, int) else 0


@given(settings_of(OTHERS), st.integers(0, 50))
def test_the_rest(tally, drawn, position):
    kind, _, settings = drawn
    made = attempt(lambda: kind(**settings))
    tally("settings", made if isinstance(made, Refused) else "made")
    if isinstance(made, Refused):
        return
    assert repr(made)
    if isinstance(made, schedules.Schedule):
        rates = attempt(lambda: made(np.arange(position, position + 5)))
        assert isinstance(rates, Refused) or (rates.shape == (5,) and (rates >= 0).all())
        made = optimizers.SGD(made)
    model = Sequential([layers.Dense(3, "tanh"), layers.Dense(1)], random_state=0).build(2)
    X, y = np.ones((4, 2)), np.ones((4, 1))
    options = {"loss": "squared_error", "epochs": 2}
    if isinstance(made, losses.Loss):
        options["loss"] = made
    elif isinstance(made, optimizers.Optimizer):
        options["optimizer"] = made
    elif isinstance(made, callbacks.Callback):
        options.update(callbacks=[made], validation_data=(X, y))
    else:
        model = Sequential([layers.Dense(3, kernel_initializer=made)])
        y = np.ones((4, 3))
    attempt(lambda: model.fit(X, y, **options))
    assert model.input_shape is None or np.isfinite(model.theta).all()


@given(junk(), junk(), junk(), junk())
def test_sequential(tally, stack, dtype, seed, shape):
    tally("models of junk")
    good = [layers.Dense(2)]
    for call in (lambda: Sequential(stack), lambda: Sequential(good, dtype), lambda: Sequential(good,
                                                                                                "float32", seed),
                 lambda: Sequential(good, random_state=0).build(shape)):
        attempt(call)
