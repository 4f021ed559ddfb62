"""NeuralNet* around a built Sequential: its weights, statistics and settings, and that it is never changed."""
import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ldl_cy import CNNClassifier, NeuralNetClassifier, NeuralNetRegressor, Sequential, layers, optimizers
from ldl_cy.training import trunk_outputs

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 6))
Y = np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])
FEW = {"max_iter": 3, "random_state": 0}


def pretrained(dtype="float64", trainable=False):
    """Four layers, two of them with weights, trained to another target."""
    stack = [layers.Dense(7, "tanh", trainable=trainable), layers.BatchNorm(trainable=trainable),
             layers.Dense(5, "relu")]
    model = Sequential([*stack, layers.Dense(1)], dtype=dtype, random_state=3)
    model.fit(X, X[:, 2], loss="squared_error", epochs=2)
    trunk = Sequential(stack, dtype=dtype, random_state=4).build(6)
    trunk.theta = model.theta[:trunk.n_parameters]
    trunk.network.statistics[:] = RNG.uniform(0.5, 1.5, trunk.network.statistics.size)
    return trunk


def numbers(model):
    return model.theta.copy(), model.network.statistics.copy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_begins_from_its_weights_and_never_changes_it(dtype, given, solver):
    trunk = pretrained(given)
    before, own = numbers(trunk), trunk.layers
    clf = NeuralNetClassifier(trunk, solver=solver, alpha=1.0, **FEW).fit(X.astype(dtype), Y)
    for now, then in zip(numbers(trunk), before):
        np.testing.assert_array_equal(now, then)
    assert trunk.epoch == 0 and trunk.layers is own and clf.layers is trunk
    fitted = clf.model_
    assert fitted.dtype == dtype and fitted.layers == (*own, layers.Dense(3)) and fitted.input_shape == (6,)
    for name in ("dense_0.kernel", "dense_0.bias", "batch_norm_1.gamma", "batch_norm_1.beta"):
        np.testing.assert_array_equal(fitted.parameters[name], trunk.parameters[name].astype(dtype))
    for name, values in trunk.state.items():
        np.testing.assert_array_equal(fitted.state[name], values.astype(dtype))
    assert (fitted.parameters["dense_2.kernel"] != trunk.parameters["dense_2.kernel"].astype(dtype)).any()


def test_all_layers_are_trained_from_where_they_are():
    trunk = pretrained(trainable=True)
    head = NeuralNetClassifier(trunk, solver="sgd", learning_rate_init=1e-12, momentum=0.0, **FEW).fit(X, Y)
    np.testing.assert_allclose(head.model_.theta[:trunk.n_parameters], trunk.theta, atol=1e-9)
    assert (head.model_.theta[:trunk.n_parameters] != trunk.theta).any()


def test_its_outputs_are_those_of_a_network_with_these_weights():
    trunk = pretrained()
    reg = NeuralNetRegressor(trunk, **FEW).fit(X, X[:, 3])
    kernel, bias = reg.model_.parameters["dense_3.kernel"], reg.model_.parameters["dense_3.bias"]
    own = Sequential(trunk.layers, dtype="float64").build(6)
    own.theta = reg.model_.theta[:own.n_parameters]
    own.network.statistics[:] = trunk.network.statistics
    np.testing.assert_allclose(reg.predict(X), (own.predict(X) @ kernel + bias).ravel(), rtol=1e-12)


def test_partial_fit_and_warm_start_copy_once():
    trunk = pretrained(trainable=True)
    parts = NeuralNetClassifier(trunk, random_state=0)
    for _ in range(2):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    again = NeuralNetClassifier(trunk, max_iter=1, warm_start=True, random_state=0)
    again.fit(X, Y).fit(X, Y)
    assert again.model_.epoch == parts.model_.epoch == 2
    first = NeuralNetClassifier(trunk, max_iter=1, random_state=0).fit(X, Y).model_.theta
    assert (again.model_.theta != first).any()
    again.warm_start = False
    np.testing.assert_array_equal(again.fit(X, Y).model_.theta, first)


def test_images_flat_or_not_and_other_sizes():
    trunk = Sequential([layers.Conv2D(3, 3, activation="relu"), layers.GlobalMaxPool2D()]).build((6, 5, 2))
    images = RNG.normal(size=(20, 6, 5, 2)).astype(np.float32)
    target = RNG.normal(size=20)
    flat = NeuralNetRegressor(trunk, **FEW).fit(images.reshape(20, -1), target)
    assert flat.model_.input_shape == (6, 5, 2)
    unflat = NeuralNetRegressor(trunk, **FEW).fit(images, target)
    np.testing.assert_array_equal(flat.predict(images), unflat.predict(images))
    larger = NeuralNetRegressor(trunk, input_shape=(7, 9, 2), **FEW).fit(RNG.normal(size=(20, 7, 9, 2)), target)
    assert larger.model_.input_shape == (7, 9, 2)
    with pytest.raises(ValueError, match=r"shape \(7, 9, 2\), but NeuralNetRegressor is expecting \(6, 5, 2\)"):
        NeuralNetRegressor(trunk, **FEW).fit(RNG.normal(size=(20, 7, 9, 2)), target)


def test_clone_deepcopy_and_pickle():
    trunk = pretrained()
    clf = NeuralNetClassifier(trunk, **FEW)
    expected = clf.fit(X, Y).predict_proba(X)
    for other in (clone(clf), copy.deepcopy(clf), pickle.loads(pickle.dumps(clf)), clone(clone(clf))):
        assert isinstance(other.layers, Sequential) and other.layers is not trunk
        np.testing.assert_array_equal(other.layers.theta, trunk.theta)
        np.testing.assert_array_equal(other.layers.network.statistics, trunk.network.statistics)
        np.testing.assert_array_equal(other.fit(X, Y).predict_proba(X), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(X), expected)


def test_set_params_and_searches():
    trunk, other = pretrained(), pretrained(trainable=True)
    clf = NeuralNetClassifier(trunk, **FEW)
    assert clf.get_params()["layers"] is trunk and clf.set_params(layers=other).layers is other
    expected = cross_val_score(NeuralNetClassifier(trunk, **FEW), X, Y, cv=3)
    choices = {"layers": [trunk, other, None], "alpha": [0.0, 1.0]}
    search = GridSearchCV(clf, choices, cv=3, n_jobs=2).fit(X, Y)
    assert len(search.cv_results_["params"]) == 6
    kinds = {type(params["layers"]) for params in search.cv_results_["params"]}
    assert kinds == {Sequential, type(None)}
    pipe = make_pipeline(StandardScaler(with_mean=False, with_std=False), NeuralNetClassifier(trunk, **FEW))
    np.testing.assert_array_equal(cross_val_score(pipe, X, Y, cv=3, n_jobs=2), expected)


@pytest.mark.parametrize("options", [
    {}, {"early_stopping": True}, {"solver": "sgd", "learning_rate": "adaptive"}, {"solver": "lbfgs"},
    {"shuffle": False}, {"solver": optimizers.AdamW(0.01, ema=0.9)},
    {"solver": "gd", "learning_rate_init": 0.1, "early_stopping": True}])
def test_cached_features_or_not(options, monkeypatch):
    """The same bits; the rows that are held out pass the frozen layers once too."""
    monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 2000)
    trunk = pretrained()
    found = []
    for cached in (True, False, "auto"):
        clf = NeuralNetClassifier(trunk, cache_features=cached, random_state=0, max_iter=12, **options)
        clf.fit(X, Y, sample_weight=1 + Y)
        found.append((clf.model_.theta.tobytes(), clf.loss_curve_, clf.validation_scores_, clf.best_loss_))
        if options == {"early_stopping": True}:
            scores = NeuralNetClassifier(trunk, cache_features=cached, random_state=0, max_iter=3)
            scores.fit(X, Y, X_val=X[:50], y_val=Y[:50])
            assert scores.validation_scores_[-1] == pytest.approx(scores.score(X[:50], Y[:50]))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("cached", [True, False])
def test_parts_of_cached_fits_are_one_fit(cached, monkeypatch):
    monkeypatch.setattr(trunk_outputs, "CHUNK_BYTES", 2000)
    trunk = pretrained()
    whole, parts, warm = (NeuralNetClassifier(
        trunk, cache_features=cached, random_state=0, max_iter=n, warm_start=True) for n in (4, 1, 2))
    whole.fit(X, Y)
    for _ in range(4):
        parts.partial_fit(X, Y, classes=[0, 1, 2])
    warm.fit(X, Y).fit(X, Y)
    for other in (parts, warm):
        np.testing.assert_array_equal(other.model_.theta, whole.model_.theta)


def test_layers_frozen_in_the_fitted_model():
    cnn = CNNClassifier((3,), hidden_layer_sizes=(5,), input_shape=(3, 2, 1), warm_start=True, **FEW).fit(X, Y)
    before = cnn.model_.theta.copy()
    cnn.model_.freeze("conv2d_*")
    cnn.fit(X, Y)
    fixed = ~cnn.model_.network.trainable
    assert 0 < fixed.sum() < len(fixed)
    np.testing.assert_array_equal(cnn.model_.theta[fixed], before[fixed])
    assert (cnn.model_.theta[~fixed] != before[~fixed]).any()


def test_shown_in_words():
    clf = NeuralNetClassifier(pretrained())
    assert "layers=Sequential([Dense(7" in repr(clf)
    assert "NeuralNetClassifier" in clf._repr_html_()


def test_what_is_refused():
    unbuilt = Sequential([layers.Dense(3)])
    for est in (NeuralNetClassifier(unbuilt), NeuralNetRegressor(unbuilt)):
        with pytest.raises(ValueError, match="a list of layers or a Sequential that is built, got one without weights"):
            est.fit(X, Y)
        assert not hasattr(est, "model_")
    with pytest.raises(ValueError, match="X has 4 features, but NeuralNetClassifier is expecting samples of shape"):
        NeuralNetClassifier(pretrained()).fit(X[:, :4], Y)
    flat = Sequential([layers.Flatten(), layers.Dense(2)]).build((3, 2))
    with pytest.raises(ValueError, match=r"depend on input_shape, got one built for \(3, 2\) and input_shape=\(3, 1\)"):
        NeuralNetClassifier(flat, input_shape=(3, 1)).fit(X[:, :3], Y)
    large = Sequential([layers.Dense(2)], dtype="float64").build(6)
    large.theta = np.full(large.n_parameters, 1e300)
    with pytest.raises(ValueError, match="the weights of layers must fit into float32, got 1e\\+300"):
        NeuralNetClassifier(large).fit(X.astype(np.float32), Y)
    large.theta = np.full(large.n_parameters, np.nan)
    with pytest.raises(ValueError, match="the weights of layers must be finite, got NaN"):
        NeuralNetClassifier(large).fit(X, Y)
    with pytest.raises(ValueError, match="The 'layers' parameter of NeuralNetClassifier must be"):
        NeuralNetClassifier(layers.Dense(3)).fit(X, Y)
