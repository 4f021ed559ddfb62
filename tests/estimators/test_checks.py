"""scikit-learn's own checks of an estimator, and the examples in the docstrings."""
import doctest
import importlib
import inspect
import warnings

import pytest
from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency, parametrize_with_checks
from small_estimators import EVERY, problem, small

import ldl_cy

# random features: enough of them for the R² that is asked of a regressor
RIDGE = {"MLP": {}, "NeuralNet": {}, "CNN": {"hidden_layer_sizes": (200,)}, "RNN": {"cell": "rnn", "units": (200,)}}


@parametrize_with_checks([small(name, **solver) for name in EVERY for solver in (
    {}, {"solver": "lbfgs"},
    {"solver": "ridge", "alpha": 1e-3, **RIDGE[name.removesuffix("Classifier").removesuffix("Regressor")]})])
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("name", EVERY)
def test_names_of_columns(name, solver):
    # not one of those that check_estimator runs
    pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
    assert check_dataframe_column_names_consistency(name, small(name, solver=solver, max_iter=5)) is None


@pytest.mark.parametrize("module", ["autoencoder", "mlp", "cnn", "rnn", "neural_net"])
def test_examples(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = doctest.testmod(importlib.import_module(f"ldl_cy.estimators.{module}"))
    assert results.attempted > 0 and results.failed == 0


def test_shared_parts_of_docstrings_are_filled_in():
    for name in EVERY:
        text = getattr(ldl_cy, name).__doc__
        assert "%(" not in text
        missing = [p for p in small(name).get_params() if f"{p} :" not in text and f"{p}, " not in text]
        assert missing in ([], ["beta_2"])


@pytest.mark.parametrize(("name", "settings"), [
    (name, settings) for name in [*EVERY, "Autoencoder"]
    for settings in ({}, {"solver": "ridge", "alphas": [0.1, 1.0]}, {"solver": "lm"}, {"categorical_features": [0]})
    if set(settings) <= set(inspect.signature(getattr(ldl_cy, name)).parameters)], ids=str)
def test_docstrings_name_every_attribute_of_a_fit(name, settings):
    estimator = getattr(ldl_cy, name)(max_iter=2, random_state=0)
    for sizes, small_ones in (("hidden_layer_sizes", 3), ("units", 3), ("filters", 2), ("layers", [])):
        if sizes in estimator.get_params():
            estimator.set_params(**{sizes: small_ones})
    X, y = problem(small(EVERY[0]))
    X[:, 0] = X[:, 0] > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.set_params(**settings).fit(X, y)
    public = [attribute for attribute in dir(estimator) if attribute.endswith("_") and not attribute.startswith("_")]
    text = type(estimator).__doc__
    assert [attribute for attribute in public if f"{attribute} :" not in text and f"{attribute}, " not in text] == []


@pytest.mark.parametrize(("kind", "score"), [
    ("Classifier", "Accuracy"), ("Regressor", "R²"), ("Autoencoder", "Minus the mean squared error")])
def test_docstrings_name_the_score(kind, score):
    for name in [*EVERY, "Autoencoder"]:
        if name.endswith(kind):
            assert f"{score} of the validation rows after each epoch" in getattr(ldl_cy, name).__doc__
