"""SKOPS_TRUSTED: what skops must be told to trust for our estimators, alone and in pipelines, and no more."""
import importlib
import pickle

import numpy as np
import pytest
from cases import LAYERS, PUBLIC, example
from saved_files import FOLDER
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ldl_cy
from ldl_cy import SKOPS_TRUSTED, Sequential, callbacks, initializers, layers, losses, optimizers, schedules

io = pytest.importorskip("skops.io", reason="the extra 'test' brings skops, pytest alone does not")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 12))
CODES = (X[:, 0] > 0).astype(int)
WARM = schedules.Warmup(schedules.Cosine(1e-2, length=10), 3)
ESTIMATORS = {
    "mlp classifier": ldl_cy.MLPClassifier(hidden_layer_sizes=(5,), max_iter=2, early_stopping=True),
    "mlp regressor": ldl_cy.MLPRegressor(hidden_layer_sizes=(5,), max_iter=2, solver=optimizers.AdamW(WARM, ema=0.9)),
    "cnn": ldl_cy.CNNClassifier((3,), max_iter=2, input_shape=(4, 3, 1), batch_norm=True, dropout=0.1),
    "rnn": ldl_cy.RNNRegressor(units=3, max_iter=2, input_shape=(4, 3), bidirectional=True),
    "any stack": ldl_cy.NeuralNetClassifier(
        [layers.Dense(5, kernel_initializer=initializers.Constant(0.1)), layers.PReLU()], max_iter=2, solver="lbfgs"),
    "callbacks": ldl_cy.CNNRegressor((3,), max_iter=2, input_shape=(4, 3, 1), callbacks=[
        callbacks.EarlyStopping("loss"), callbacks.ReduceOnPlateau("loss"), callbacks.TerminateOnNaN()]),
    "closed form": ldl_cy.MLPRegressor(hidden_layer_sizes=(50,), solver="ridge"),
    "closed form of few": ldl_cy.MLPClassifier((3,), solver="ridge", alphas=[0.1, 1.0]),
    "a loss": ldl_cy.NeuralNetRegressor([layers.Dense(4)], loss=losses.Huber(2.0), max_iter=2),
}


def through_skops(value):
    """The value after a round trip in which only SKOPS_TRUSTED is trusted."""
    data = io.dumps(value)
    assert set(io.get_untrusted_types(data=data)) <= set(SKOPS_TRUSTED)
    return io.loads(data, trusted=list(SKOPS_TRUSTED))


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_in_a_pipeline(name):
    pipe = make_pipeline(StandardScaler(), ESTIMATORS[name]).fit(X, CODES)
    again = through_skops(pipe)
    np.testing.assert_array_equal(again.predict(X), pipe.predict(X))
    np.testing.assert_array_equal(again[-1].model_.theta, pipe[-1].model_.theta)


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "Custom"])
def test_every_layer(name):
    case = example(name)
    model = Sequential([case.layer], random_state=0).build(case.input_shape)
    again = through_skops(model)
    assert again.layers == model.layers
    np.testing.assert_array_equal(again.theta, model.theta)


@pytest.mark.parametrize("name", [*optimizers.OPTIMIZERS, *losses.LOSSES])
def test_every_setting(name):
    kind = {**optimizers.OPTIMIZERS, **losses.LOSSES}[name]
    value = kind(0.5) if name == "quantile" else kind()
    assert pickle.dumps(through_skops(value)) == pickle.dumps(value)


@pytest.mark.parametrize("callback", [callbacks.Checkpoint("x.ldl"), callbacks.CSVLogger("x.csv")])
def test_what_writes_files_is_left_to_the_user(callback):
    own = f"{type(callback).__module__}.{type(callback).__qualname__}"
    assert own in io.get_untrusted_types(data=io.dumps(ldl_cy.CNNRegressor(callbacks=[callback])))
    assert own not in SKOPS_TRUSTED


def test_functions_are_left_to_the_user():
    """A layer that calls functions, and the functions, are not trusted by our names alone."""
    model = Sequential([LAYERS["Custom"].layer]).build(3)
    untrusted = set(io.get_untrusted_types(data=io.dumps(model))) - set(SKOPS_TRUSTED)
    assert "ldl_cy.layers.custom.Custom" in untrusted and len(untrusted) > 1


def test_names_are_classes():
    """Sorted, each once, each where it says; abstract bases and functions are not among them."""
    assert list(SKOPS_TRUSTED) == sorted(set(SKOPS_TRUSTED))
    for name in SKOPS_TRUSTED:
        module, _, own = name.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), own), type)
    assert not any(name.endswith((".Layer", ".Schedule", ".Loss", ".Custom", ".Optimizer")) for name in SKOPS_TRUSTED)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.skops")), ids=lambda path: path.stem)
def test_files_of_earlier_versions(path):
    """A class that moved would be missing here."""
    assert set(io.get_untrusted_types(file=path)) <= set(SKOPS_TRUSTED)
