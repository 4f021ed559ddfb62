"""Random networks, data and settings through everything that a model can do.

A call ends with numbers or with an error in the project's form. Refused input leaves the model as it was, input is
never written to, and the layout of numbers in memory changes nothing, to the bit.
"""
from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="the extra 'fuzz' brings hypothesis, which draws the examples")

from fuzz.drawing import (
    CUSTOM,
    SPOILT,
    all_optimizers,
    data_of,
    dress,
    dressings,
    junk,
    problems,
    spoil,
    step_rules,
)
from fuzz.outcomes import Refused, attempt, bytes_of, equal, everything
from hypothesis import given
from hypothesis import strategies as st

from ldl_cy import Sequential, optimizers


def new(problem):
    return Sequential(problem["stack"], problem["dtype"], problem["seed"])


def built(problem):
    return new(problem).build(problem["shape"])


@given(problems(), dressings(), dressings(), st.booleans())
def test_layouts(tally, tmp_path_factory, problem, dressing, y_dressing, first_built):
    """A fit on data in any layout is that on a plain copy; so is all that a model gives."""
    folder = tmp_path_factory.mktemp("fuzz")
    shape = built(problem).output_shape
    X, y, weights, lengths = data_of(problem, shape)
    X, plain_X = dress(X, dressing, folder)
    y, plain_y = dress(y, y_dressing, tmp_path_factory.mktemp("y"))
    before = [bytes_of(a) for a in (X, y)]
    options = {**problem["options"], "loss": problem["loss"], "optimizer": problem["optimizer"],
               "sample_weight": weights, "lengths": lengths}
    models = [built(problem) if first_built else new(problem) for _ in range(2)]
    starts = [everything(model) for model in models]
    found = [attempt(lambda m=m, d=d: m.fit(*d, **options)) for m, d in zip(models, [(X, y), (plain_X, plain_y)])]
    tally("fits", found[0])
    assert [bytes_of(a) for a in (X, y)] == before
    assert isinstance(found[0], Refused) == isinstance(found[1], Refused)
    if isinstance(found[0], Refused):
        assert found[0] == found[1]
        if not found[0].startswith("FloatingPointError"):
            assert [everything(model) for model in models] == starts
    else:
        assert repr(found[0].history) == repr(found[1].history)         # a validation loss may be NaN
        assert np.isfinite(found[0].history["loss"]).all()
    assert everything(models[0]) == everything(models[1])
    if models[0].input_shape is None:
        return
    assert np.isfinite(models[0].theta).all()
    check_results(models[0], (X, y), (plain_X, plain_y), problem, weights, lengths)


def check_results(model, given, plain, problem, weights, lengths):
    """Whatever is asked of a trained model."""
    after = everything(model)
    for call in (
        lambda X, y: model.predict(X, lengths=lengths),
        lambda X, y: model.predict(X, lengths=lengths, n_threads=3),
        lambda X, y: model.evaluate(X, y, loss=problem["loss"], sample_weight=weights, lengths=lengths),
        lambda X, y: model.loss_and_grad(X, y, loss=problem["loss"], sample_weight=weights, lengths=lengths)[1],
        lambda X, y: model.loss_and_grad(X, y, loss=problem["loss"], sample_weight=weights, training=True)[1],
        lambda X, y: model.jacobian(X),
        lambda X, y: model.trace(X)[max(model.trace(X))],
    ):
        first, second = (attempt(lambda d=d, call=call: call(*d)) for d in (given, plain))
        assert first == second if isinstance(first, Refused) else equal(first, second)
    threads = [attempt(lambda t=t: model.predict(given[0], lengths=lengths, n_threads=t)) for t in (1, 2)]
    if not isinstance(threads[0], Refused):
        assert equal(*threads)
        if problem["scale"] <= 1 and np.abs(model.theta).max(initial=0) < 1e3:
            assert np.isfinite(threads[0]).all()
    assert everything(model) == after


@given(problems(), step_rules())
def test_keeping(tally, tmp_path_factory, problem, optimizer):
    """A model from a file or a pickle is the model, and resumes its training as that does."""
    path = tmp_path_factory.mktemp("fuzz") / "model.ldl"
    model = built(problem)
    X, y, weights, lengths = data_of(problem, model.output_shape)
    if isinstance(problem["optimizer"], optimizers.LBFGS):
        problem["optimizer"] = optimizer
    options = {**problem["options"], "loss": problem["loss"], "optimizer": problem["optimizer"],
               "sample_weight": weights, "lengths": lengths}
    outcome = attempt(lambda: model.fit(X, y, **options))
    tally("kept models", outcome)
    model.save(path)
    copies = [Sequential.load(path, CUSTOM), pickle.loads(pickle.dumps(model)), model]
    found = []
    for copy in copies[:2]:
        assert everything(copy) == everything(model)
    for copy in copies:
        history = attempt(lambda copy=copy: copy.fit(X, y, **options))
        found.append((history if isinstance(history, Refused) else repr(history.history), everything(copy)))
    assert found[0] == found[1] == found[2]


SETTINGS = ["loss", "optimizer", "batch_size", "epochs", "alpha", "shuffle", "sample_weight", "lengths",
            "validation_data", "validation_split", "callbacks", "n_threads"]


@given(problems(), st.sampled_from([*SETTINGS, "X", "y", "X and y"]), st.sampled_from(SPOILT), junk(), st.booleans())
def test_refusals(tally, problem, what, how, value, first_built):
    """One bad thing among good ones."""
    shape = built(problem).output_shape
    X, y, weights, lengths = data_of(problem, shape)
    options = {**problem["options"], "loss": problem["loss"], "optimizer": problem["optimizer"],
               "sample_weight": weights, "lengths": lengths}
    if what in ("X", "X and y"):
        X = spoil(X, how)
    if what in ("y", "X and y"):
        y = spoil(y, how)
    if what == "sample_weight" and weights is not None:
        options[what] = spoil(weights, how)
    elif what == "lengths" and lengths is not None:
        options[what] = spoil(lengths, how)
    elif what == "validation_data":
        options.update(validation_split=0.0, validation_data=(X, spoil(y, how)) if value is None else value)
    elif what in SETTINGS and not (what == "epochs" and isinstance(value, int) and value > 3):
        options[what] = value
    model = built(problem) if first_built else new(problem)
    start = everything(model)
    outcome = attempt(lambda: model.fit(X, y, **options))
    tally("spoilt fits", outcome)
    if isinstance(outcome, Refused) and not outcome.startswith("FloatingPointError"):
        # unless a later batch of an iterable is at fault, which only a fit without y reads
        assert everything(model) == start or y is None
    model.build(problem["shape"])
    start = everything(model)
    for call in (
        lambda: model.predict(X, lengths=options["lengths"], batch_size=value, n_threads=options["n_threads"]),
        lambda: model.predict(X), lambda: model.trace(X), lambda: model.jacobian(X, theta=value),
        lambda: model.evaluate(X, y, loss=options["loss"], sample_weight=options["sample_weight"],
                               lengths=options["lengths"]),
        lambda: model.loss_and_grad(X, y, loss=options["loss"], theta=value),
    ):
        attempt(call)
    assert everything(model) == start


@given(problems(), all_optimizers(), st.integers(1, 4))
def test_batches(tally, problem, optimizer, count):
    """Fits on the user's own batches, with another optimizer in the middle."""
    model = built(problem)
    X, y, weights, _ = data_of(problem, model.output_shape)
    batches = [(X[i::count], y[i::count], None if weights is None else weights[i::count]) for i in range(count)]
    for rule in (problem["optimizer"], optimizer):
        outcome = attempt(lambda rule=rule: model.fit(batches, loss=problem["loss"], optimizer=rule, epochs=2))
        tally("fits of batches", outcome)
        assert np.isfinite(model.theta).all()
