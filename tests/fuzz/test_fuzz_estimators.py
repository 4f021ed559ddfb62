"""The eight estimators with random parameters and data: a fit, or an error that names what is wrong."""
from __future__ import annotations

import pickle
import re

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="the extra 'fuzz' brings hypothesis, which draws the examples")

from fuzz.drawing import SPOILT, dress, dressings, junk, spoil
from fuzz.outcomes import Refused, attempt, bytes_of, equal
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, UndefinedMetricWarning
from small_estimators import EVERY

import ldl_cy
from ldl_cy import layers, optimizers

SENTENCE = re.compile(r"\S+ \S+")        # scikit-learn's own
# a fit that is short, batches larger than the data, columns, and scores of one row are spoken of
SPOKEN = (ConvergenceWarning, UserWarning, DataConversionWarning, UndefinedMetricWarning)
SOLVERS = [*optimizers.OPTIMIZERS, "ridge", optimizers.SGD(0.1, ema=0.5), optimizers.LBFGS(memory=2)]
VALUES = {
    "solver": SOLVERS, "alpha": [0.0, 1e-4, 1.0, 1e30], "batch_size": ["auto", 1, 5, 1000],
    "learning_rate": ["constant", "invscaling", "adaptive"], "learning_rate_init": [1e-3, 0.1, 1e10],
    "power_t": [0.5, 0.0],
    "max_iter": [1, 2, 5], "shuffle": [True, False], "random_state": [0, 1], "tol": [1e-4, 0.0, 10.0],
    "warm_start": [False, True], "momentum": [0.0, 0.9, 1.0], "nesterovs_momentum": [True, False],
    "early_stopping": [False, True, "loss"], "validation_fraction": [0.1, 0.5, 0.9], "beta_1": [0.9, 0.0],
    "beta_2": [0.999, 0.0], "epsilon": [1e-8, 1.0], "n_iter_no_change": [10, 1, np.inf], "max_fun": [15000, 1],
    "dtype": [None, "float32", np.float64], "n_threads": [None, 1, 2], "dropout": [0.0, 0.3], "callbacks": [None, []],
    "hidden_layer_sizes": [(3,), (), 4, (2, 3)], "activation": ["relu", "tanh", "logistic", "gelu"],
    "filters": [(2,), (1, 2), ()], "kernel_size": [3, 1], "pool_size": [2, 1], "batch_norm": [False, True],
    "cell": ["gru", "lstm", "rnn"], "units": [(2,), (1, 3)], "bidirectional": [False, True],
    "input_shape": [None, None, (6, 1), (3, 2), (2, 3, 1)], "class_weight": [None, "balanced"], "verbose": [False],
    "layers": [None, [], [layers.Dense(2)], [layers.Reshape((3, 2)), layers.GRU(2)], [layers.Dropout(0.5)]],
    "loss": ["squared_error", "absolute_error", "huber", "quantile", "poisson"],
    "alphas": [None, [1.0], np.array([0.1, 10.0])], "spectral_radius": [None, 0.9], "leak": [1.0, 0.3],
    "input_format": ["channels_last", "channels_first"], "categorical_features": [None, [0], [True] + 5 * [False]],
    "cache_features": ["auto", True, False]}
FEW = {"hidden_layer_sizes": (3,), "filters": (2,), "units": (2,), "layers": [layers.Dense(3)]}
KINDS = ["sound", "sound", "sound", "junk", "spoilt X", "spoilt y", "spoilt weights", "spoilt later"]


@st.composite
def settings_of(draw, kind):
    names = [n for n in getattr(ldl_cy, kind)().get_params() if n != "loss" or "Regressor" in kind]
    given = {n: draw(st.sampled_from(VALUES[n])) for n in draw(st.lists(st.sampled_from(names), max_size=6))}
    few = {n: v for n, v in FEW.items() if n in names}
    return {"max_iter": 2, "random_state": 0, **few, **given}, draw(st.sampled_from(names)), draw(junk())


def targets(kind, what, n, rng):
    if kind.endswith("Classifier"):
        return {"labels": np.array(["a", "b", "c"])[rng.integers(0, 3, n)], "two": rng.integers(0, 2, n),
                "several": rng.integers(0, 2, (n, 3)), "one": np.zeros(n, int)}[what]
    return {"labels": rng.standard_normal(n), "two": rng.integers(0, 5, n), "several": rng.standard_normal((n, 3)),
            "one": np.ones(n)}[what]


def run(call):
    return attempt(call, SENTENCE, SPOKEN)


def results(estimator, X):
    """What a fitted estimator gives."""
    names = ["predict", "transform", *(name for name in ("predict_proba", "predict_log_proba", "decision_function")
                                       if hasattr(estimator, name))]
    return [run(lambda name=name: getattr(estimator, name)(X)) for name in names]


@given(st.data(), st.sampled_from(EVERY), dressings(), st.sampled_from(KINDS), st.integers(1, 20),
       st.sampled_from(["labels", "two", "several", "one"]), st.sampled_from(SPOILT), st.booleans())
def test_estimators(tally, tmp_path_factory, data, kind, dressing, case, n, what, how, weighted):
    settings, name, value = data.draw(settings_of(kind))
    # without a seed two fits cannot be compared
    if case == "junk" and name != "callbacks" and not (name == "random_state" and value is None):
        settings[name] = value
    if isinstance(settings["max_iter"], int):
        settings["max_iter"] = min(settings["max_iter"], 5)
    rng = np.random.default_rng(n)
    X, y = rng.standard_normal((n, 6)), targets(kind, what, n, rng)
    weights = rng.uniform(0, 2, n) if weighted else None
    if dressing[1] in ("matrix", "wrapped"):    # scikit-learn refuses the first, and sees no dtype of the second
        dressing = dressing[0], "C"
    if how == "generator":                                  # what is read once cannot be compared
        how = "dict"
    X, plain = dress(X, dressing, tmp_path_factory.mktemp("fuzz"))
    if case == "spoilt X":
        X = plain = spoil(plain, how)
    elif case == "spoilt y":
        if kind.endswith("Classifier") and how in ("huge", "longdouble"):   # as classes: scikit-learn casts them
            how = "nan"
        y = spoil(y.astype(float), how) if y.dtype.kind in "fi" else y
    elif case == "spoilt weights" and weighted:
        weights = spoil(weights, how)
    before = bytes_of(X) if isinstance(X, np.ndarray) else None
    estimators = [run(lambda: getattr(ldl_cy, kind)(**settings)) for _ in range(2)]
    clone(estimators[0])
    found = [run(lambda e=e, x=x: e.fit(x, y, weights)) for e, x in zip(estimators, (X, plain))]
    tally("estimators", "refused" if isinstance(found[0], Refused) else "fitted")
    assert isinstance(found[0], Refused) == isinstance(found[1], Refused)
    if before is not None:
        assert before == bytes_of(X)
    if isinstance(found[0], Refused):
        return
    first, second = estimators
    assert equal(first.model_.theta, second.model_.theta) and np.isfinite(first.model_.theta).all()
    assert np.isfinite(first.loss_curve_).all()
    given = results(first, X)
    for a, b, c in zip(given, results(second, plain), results(pickle.loads(pickle.dumps(first)), plain)):
        assert equal(a, b) and equal(a, c)
    # the squares of huge targets are scikit-learn's
    attempt(lambda: first.score(X, y, weights), SENTENCE, (*SPOKEN, RuntimeWarning))
    if case == "spoilt later":
        theta = first.model_.theta.copy()
        for result in results(first, spoil(np.array(plain), how)):
            assert isinstance(result, Refused) or len(result) == len(given[0]) or how in ("more", "fewer", "negative")
        assert equal(first.model_.theta, theta)
    if hasattr(first, "partial_fit") and not first.early_stopping:
        run(lambda: first.partial_fit(X, y, weights))
        assert np.isfinite(first.model_.theta).all()
    run(lambda: first.fit(X, y, weights))
