"""scikit-learn's own checks of an estimator, and the examples in the docstrings."""
import doctest
import importlib
import warnings

import pytest
from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency, parametrize_with_checks
from small_estimators import EVERY, small

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
    pytest.importorskip("pandas", reason="frames are optional input")
    assert check_dataframe_column_names_consistency(name, small(name, solver=solver, max_iter=5)) is None


@pytest.mark.parametrize("module", ["autoencoder", "mlp", "cnn", "rnn", "neural_net"])
def test_examples(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = doctest.testmod(importlib.import_module(f"ldl_cy.estimators.{module}"))
    assert results.attempted > 0 and results.failed == 0


def test_shared_parts_of_docstrings_are_filled_in():
    import ldl_cy

    for name in EVERY:
        text = getattr(ldl_cy, name).__doc__
        assert "%(" not in text
        missing = [p for p in small(name).get_params() if f"{p} :" not in text and f"{p}, " not in text]
        assert missing in ([], ["beta_2"])
