"""Files written by version 0.1.0 as it was before its middle was redesigned: they load, and resume as they did.

Models, checkpoints, pickles and skops files of users hold module paths and keys; none of them may break.
"""
from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from saved_files import CODES, EPOCHS, FOLDER, resumed, settings

from ldl_cy import Sequential

with np.load(FOLDER / "expected.npz", allow_pickle=False) as _file:
    EXPECTED = dict(_file)
ESTIMATORS = [name.removeprefix("estimators.") for name in EXPECTED if name.startswith("estimators.")]


def data_of(name):
    """What an estimator was fitted on."""
    return EXPECTED[{"cnn": "images", "rnn": "sequences"}.get(name, "rows")]


def close(actual, expected):
    tol = 1e-10 if actual.dtype == np.float64 else 2e-5
    np.testing.assert_allclose(actual, expected, rtol=tol, atol=tol)


def load_pickle(name):
    with warnings.catch_warnings(), (FOLDER / name).open("rb") as file:
        warnings.simplefilter("ignore")         # of scikit-learn, where its version is another
        return pickle.load(file)


def test_model_file():
    model = Sequential.load(FOLDER / "model.ldl")
    assert (model.epoch, model.step, model.dtype, model.random_state) == (3, 15, "float32", 3)
    close(model.predict(EXPECTED["images"]), EXPECTED["model"])
    assert model.evaluate(EXPECTED["images"], CODES, loss="log_loss") == pytest.approx(
        float(EXPECTED["model.loss"]), rel=1e-5)


def test_a_checkpoint_resumes():
    """Adam with an average, a warm-up, and a rate that was reduced on a plateau."""
    model = Sequential.load(FOLDER / "checkpoint.ldl")
    lengths = EXPECTED["checkpoint.lengths"]
    assert model.epoch == EPOCHS
    close(model.predict(EXPECTED["sequences"], lengths=lengths), EXPECTED["checkpoint"])
    model.fit(EXPECTED["sequences"], EXPECTED["numbers"], lengths=lengths, epochs=EPOCHS, **resumed())
    np.testing.assert_allclose(model.theta, EXPECTED["checkpoint.theta"], rtol=1e-8, atol=1e-10)
    # without the state of the optimizer, or the reductions, it would end elsewhere
    other = Sequential.load(FOLDER / "checkpoint.ldl")
    other.fit(EXPECTED["sequences"], EXPECTED["numbers"], lengths=lengths, epochs=EPOCHS,
              **{**resumed(), "callbacks": []})
    assert not np.allclose(other.theta, EXPECTED["checkpoint.theta"], rtol=1e-5)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_pickled_estimators(name):
    check_estimator(load_pickle("estimators.pickle")[name], name)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_skops_files(name):
    io = pytest.importorskip("skops.io", reason="the extra 'test' brings skops, pytest alone does not")
    file = FOLDER / f"{name}.skops"
    untrusted = io.get_untrusted_types(file=file)
    assert untrusted and all(path.startswith("ldl_cy.") for path in untrusted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(io.load(file, trusted=untrusted), name)


def check_estimator(estimator, name):
    """It predicts as it did, and can be fitted further."""
    X, expected = data_of(name), EXPECTED[f"estimators.{name}"]
    predicted = estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)
    close(predicted, expected.astype(predicted.dtype))
    y = expected if expected.ndim == 1 else estimator.classes_[expected.argmax(axis=1)]
    estimator.set_params(warm_start=True, max_iter=2)
    before = estimator.model_.epoch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X, np.resize(estimator.classes_, len(y)) if hasattr(estimator, "classes_") else y)
    assert estimator.model_.epoch == before + 2


def test_objects_of_every_public_class():
    loaded = load_pickle("settings.pickle")
    assert [repr(a) for a in loaded if not is_plain(a)] == [repr(b) for b in settings() if not is_plain(b)]
    assert [vars(a) for a in loaded if is_plain(a)] == [vars(b) for b in settings() if is_plain(b)]


def is_plain(thing):
    """Without a repr of its own."""
    return type(thing).__repr__ is object.__repr__
