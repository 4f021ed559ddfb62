"""Estimators around any stack of layers."""
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from ldl_cy import NeuralNetClassifier, NeuralNetRegressor, layers, losses

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_iris(return_X_y=True)
FEW = {"max_iter": 2, "random_state": 0}


def test_the_target_decides_the_last_layer():
    default = NeuralNetClassifier(**FEW).fit(X, Y)
    assert default.model_.layers == (layers.Dense(100, "relu"), layers.Dense(3))
    stack = [layers.Dense(7, "tanh"), layers.Activation("gelu")]
    assert NeuralNetClassifier(stack, **FEW).fit(X, Y == 1).model_.layers == (*stack, layers.Dense(1))
    assert NeuralNetRegressor([], **FEW).fit(X, X[:, :2]).model_.layers == (layers.Dense(2),)


def test_rows_in_any_shape():
    images = X.reshape(150, 2, 2)
    reg = NeuralNetRegressor([layers.Dense(3, "tanh")], **FEW).fit(images, Y)
    assert reg.model_.layers[1:] == (layers.Flatten(), layers.Dense(1))
    flat = NeuralNetRegressor([layers.Dense(3, "tanh")], input_shape=(2, 2), **FEW).fit(X, Y)
    np.testing.assert_array_equal(flat.predict(X), reg.predict(images))
    np.testing.assert_array_equal(flat.predict(images), reg.predict(X))


def test_loss_objects():
    settings = {"solver": "lbfgs", "random_state": 0, "alpha": 0.0}
    smooth = NeuralNetClassifier(loss=losses.LogLoss(label_smoothing=0.2), **settings)
    sure = NeuralNetClassifier(**settings)
    assert smooth.fit(X, Y).predict_proba(X).max() < sure.fit(X, Y).predict_proba(X).max()
    with pytest.raises(ValueError, match="loss must be 'auto' or a BinaryLogLoss object for these classes"):
        smooth.fit(X, Y == 1)
    reg = NeuralNetRegressor(loss=losses.SquaredError(scale=0.5), **FEW).fit(X, Y)
    np.testing.assert_array_equal(reg.predict(X), NeuralNetRegressor(**FEW).fit(X, Y).predict(X))


def test_branches():
    block = layers.Add([layers.Dense(6, "tanh"), layers.Dense(6)], [])
    stack = [layers.Dense(6, "tanh"), block, layers.Concatenate([], layers.Dense(2))]
    reg = NeuralNetRegressor(stack, **FEW).fit(X, Y)
    assert reg.model_.parameters["dense_3.kernel"].shape == (8, 1)
    assert clone(reg).layers == stack and reg.n_layers_ == 5
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reg)).predict(X), reg.predict(X))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_frozen_layers(solver):
    stack = [layers.Dense(6, "tanh", trainable=False)]
    reg = NeuralNetRegressor(stack, solver=solver, alpha=10.0, max_iter=5, random_state=0).fit(X, Y)
    start = NeuralNetRegressor(stack, max_iter=1, random_state=0).fit(X, Y).model_.reset()
    np.testing.assert_array_equal(reg.model_.parameters["dense_0.kernel"], start.parameters["dense_0.kernel"])
    assert (reg.model_.parameters["dense_1.kernel"] != start.parameters["dense_1.kernel"]).all()


def test_clone_and_search():
    reg = NeuralNetRegressor([layers.Dense(5, "tanh")], **FEW)
    assert clone(reg).layers == reg.layers
    choices = [[layers.Dense(3)], [layers.Dense(4, "relu"), layers.Dense(3)]]
    search = GridSearchCV(reg, {"layers": choices}, cv=2).fit(X, X[:, 0])
    assert search.best_params_["layers"] in choices


def test_what_is_refused():
    with pytest.raises(TypeError, match="layers must be None or a list of ldl_cy layers, got 5 in it"):
        NeuralNetClassifier([5]).fit(X, Y)
    with pytest.raises(ValueError, match="The 'loss' parameter of NeuralNetClassifier must be"):
        NeuralNetClassifier(loss="squared_error").fit(X, Y)
