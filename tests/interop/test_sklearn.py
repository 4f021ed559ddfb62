"""Perceptrons of scikit-learn here and back: bits of weights, predictions to rounding, all that a fit leaves."""
import warnings

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.base import clone

import ldl_cy
from ldl_cy import optimizers
from ldl_cy.interop import from_sklearn, to_sklearn

N = 60
X = np.random.default_rng(0).normal(size=(N, 5))
CODES = np.arange(N) % 3
TARGETS = {
    "two classes": np.where(CODES > 0, "yes", "no"),
    "three classes": np.array([-1, 0, 7])[CODES],
    "labels": np.stack([CODES == 0, X[:, 0] > 0, CODES != 1], 1).astype(int),
    "objects": np.array(["a", "b", "c"], object)[CODES],
    "one class": np.full(N, 4),
    "number": X[:, 0] + 1,
    "numbers": X[:, :2],
}
PUBLIC = ("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_",
          "n_features_in_", "n_layers_", "n_outputs_", "out_activation_")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def kind_of(target):
    return "MLPRegressor" if target.startswith("number") else "MLPClassifier"


def make(module, target, dtype="float64", **settings):
    settings = {"hidden_layer_sizes": (7, 3), "random_state": 1, "max_iter": 5, **settings}
    return getattr(module, kind_of(target))(**settings).fit(X.astype(dtype), TARGETS[target])


def outputs(mlp, x):
    return mlp.predict_proba(x) if hasattr(mlp, "classes_") else mlp.predict(x)


def assert_same(one, other, dtype="float64"):
    """Bits of the weights, all public attributes, labels, and outputs to rounding."""
    for a, b in zip((*one.coefs_, *one.intercepts_), (*other.coefs_, *other.intercepts_), strict=True):
        assert a.dtype == b.dtype == dtype and a.tobytes() == b.tobytes()
    for name in PUBLIC:
        if hasattr(one, name) and hasattr(other, name):
            a, b = getattr(one, name), getattr(other, name)
            assert a == b or (a != a and b != b), name
    x = X.astype(dtype)
    got, want = outputs(one, x), outputs(other, x)
    assert got.shape == want.shape
    # numbers near 1, and the two libraries' products add their terms in different orders
    np.testing.assert_allclose(got, want, rtol=0, atol=8 * np.finfo(dtype).eps)
    if hasattr(one, "classes_"):
        np.testing.assert_array_equal(one.classes_, other.classes_)
        assert one.classes_.dtype == other.classes_.dtype
        np.testing.assert_array_equal(one.predict(x), other.predict(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", TARGETS)
def test_theirs_here_and_back(target, dtype):
    theirs = make(neural_network, target, dtype, activation="tanh")
    ours = from_sklearn(theirs)
    assert type(ours) is getattr(ldl_cy, kind_of(target))
    assert_same(ours, theirs, dtype)
    back = to_sklearn(ours)
    assert type(back) is type(theirs) and back.get_params() == theirs.get_params()
    assert vars(back).keys() == vars(theirs).keys()
    assert_same(back, theirs, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", TARGETS)
def test_ours_there_and_back(target, dtype):
    ours = make(ldl_cy, target, dtype, activation="logistic", solver="sgd")
    theirs = to_sklearn(ours)
    assert type(theirs) is getattr(neural_network, kind_of(target))
    assert_same(theirs, ours, dtype)
    back = from_sklearn(theirs)
    assert back.get_params() == ours.get_params()
    assert_same(back, ours, dtype)
    assert back.model_.theta.tobytes() == ours.model_.theta.tobytes()


@pytest.mark.parametrize("settings", [
    {"solver": "lbfgs"}, {"early_stopping": True, "validation_fraction": 0.2}, {"hidden_layer_sizes": ()},
    {"hidden_layer_sizes": 4, "activation": "identity"}, {"random_state": np.random.RandomState(3)}],
    ids=["lbfgs", "early stopping", "no hidden layer", "an int", "random state"])
@pytest.mark.parametrize("target", ["two classes", "three classes", "labels", "numbers"])
def test_settings(target, settings):
    theirs = make(neural_network, target, **settings)
    state = str(theirs.random_state.get_state()) if "random_state" in settings else None
    ours = from_sklearn(theirs)
    assert_same(ours, theirs)
    assert_same(to_sklearn(ours), theirs)
    if state is not None:
        assert str(theirs.random_state.get_state()) == state != str(ours.random_state.get_state())[:0]


def test_poisson():
    y = np.exp(X[:, 0])
    for module in (neural_network, ldl_cy):
        mlp = module.MLPRegressor("poisson", 6, max_iter=5, random_state=0).fit(X, y)
        other = from_sklearn(mlp) if module is neural_network else to_sklearn(mlp)
        assert other.out_activation_ == "exp"
        np.testing.assert_allclose(other.predict(X), mlp.predict(X), rtol=1e-14)


def test_feature_names():
    pandas = pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frame")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    theirs = neural_network.MLPClassifier(4, max_iter=3).fit(frame, CODES)
    ours = from_sklearn(theirs)
    back = to_sklearn(ours)
    for mlp in (ours, back):
        assert mlp.feature_names_in_.tolist() == list("abcde")
        with pytest.raises(ValueError, match="feature names should match"):
            mlp.predict(frame[["b", "a", "c", "d", "e"]])


def test_no_memory_is_shared():
    theirs = make(neural_network, "three classes")
    ours = from_sklearn(theirs)
    curve, kernel = list(theirs.loss_curve_), theirs.coefs_[0].copy()
    ours.coefs_[0][...] = 0
    back = to_sklearn(ours)
    ours.loss_curve_.append(1.0)
    back.coefs_[0][...] = 1
    assert theirs.loss_curve_ == back.loss_curve_ == curve
    assert theirs.coefs_[0].tobytes() == kernel.tobytes() and not ours.coefs_[0].any()


@pytest.mark.parametrize("convert, module", [(from_sklearn, neural_network), (to_sklearn, ldl_cy)],
                         ids=["from_sklearn", "to_sklearn"])
@pytest.mark.parametrize("target", ["two classes", "labels", "numbers"])
def test_training_continues(target, convert, module):
    """From the converted weights, with the same curve in both libraries where the optimizer has no state of its own."""
    fitted = make(module, target, solver="sgd", momentum=0.0, shuffle=False, batch_size=20)
    other = convert(fitted)
    for _ in range(3):
        fitted.partial_fit(X, TARGETS[target])
        other.partial_fit(X, TARGETS[target])
    assert len(other.loss_curve_) == 8
    np.testing.assert_allclose(other.loss_curve_, fitted.loss_curve_, rtol=1e-6)
    for a, b in zip(other.coefs_, fitted.coefs_):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("convert, module", [(from_sklearn, neural_network), (to_sklearn, ldl_cy)],
                         ids=["from_sklearn", "to_sklearn"])
@pytest.mark.parametrize("early", [False, True])
def test_warm_start_and_new_fits(convert, module, early):
    fitted = make(module, "three classes", warm_start=True, early_stopping=early, learning_rate_init=1e-9)
    other = convert(fitted)
    before = [kernel.copy() for kernel in other.coefs_]
    other.fit(X, TARGETS["three classes"])
    for a, b in zip(before, other.coefs_):      # so small a step size keeps the weights, unless they were drawn again
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    fresh = clone(other).fit(X, TARGETS["three classes"])
    assert len(fresh.loss_curve_) == 5


def test_a_parameter_changed_after_the_fit_counts():
    theirs = make(neural_network, "three classes").set_params(activation="tanh", alpha=3.0)
    ours = from_sklearn(theirs)
    assert ours.alpha == 3
    assert_same(ours, theirs)


def test_settings_that_scikit_learn_lacks():
    ours = make(ldl_cy, "three classes", solver="adamw", dropout=0.25, class_weight="balanced", n_threads=1)
    with pytest.warns(UserWarning, match="to_sklearn: scikit-learn lacks class_weight='balanced', dropout=0.25, "
                                         "solver='adamw'; predictions are the same"):
        theirs = to_sklearn(ours)
    assert theirs.solver == "adam"
    assert_same(theirs, ours)
    assert len(theirs.partial_fit(X, TARGETS["three classes"]).loss_curve_) == 6
    ours = make(ldl_cy, "number", loss="huber", solver=optimizers.Lion())
    with pytest.warns(UserWarning, match="solver=Lion.*loss='huber'"):
        theirs = to_sklearn(ours)
    assert theirs.loss == "squared_error"
    assert_same(theirs, ours)


def test_one_activation_for_all_layers_in_other_words():
    ours = make(ldl_cy, "number", activation=["sigmoid", "logistic"])
    theirs = to_sklearn(ours)
    assert theirs.activation == "logistic"
    assert_same(theirs, ours)


@pytest.mark.parametrize("activation", ["gelu", ["relu", "tanh"]])
def test_activations_that_scikit_learn_lacks(activation):
    with pytest.raises(ValueError, match=r"to_sklearn: activation must be one of .*, got .*(gelu|tanh)"):
        to_sklearn(make(ldl_cy, "number", activation=activation))


@pytest.mark.parametrize("convert, other", [(from_sklearn, ldl_cy), (to_sklearn, neural_network)],
                         ids=["from_sklearn", "to_sklearn"])
def test_refused(convert, other):
    for value in (None, 3, other.MLPClassifier(), other.MLPRegressor):
        with pytest.raises(TypeError, match=f"{convert.__name__}: mlp must be .*MLPClassifier or MLPRegressor"):
            convert(value)
    unfitted = (neural_network if convert is from_sklearn else ldl_cy).MLPRegressor()
    with pytest.raises(ValueError, match=f"{convert.__name__}: mlp must be fitted, got MLPRegressor"):
        convert(unfitted)


def test_weights_that_do_not_fit():
    theirs = make(neural_network, "three classes").set_params(hidden_layer_sizes=(7, 4))
    with pytest.raises(ValueError, match=r"weights must have the shapes .*\(7, 4\).*, got .*\(7, 3\)"):
        from_sklearn(theirs)
    theirs = make(neural_network, "three classes")
    theirs.coefs_[1][2, 0] = np.nan
    with pytest.raises(ValueError, match="weights must be finite"):
        from_sklearn(theirs)


def test_conversions_warn_of_nothing():
    fitted = [make(module, target, batch_size=50) for module in (neural_network, ldl_cy) for target in TARGETS]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for mlp in fitted:
            (to_sklearn if type(mlp).__module__.startswith("ldl_cy") else from_sklearn)(mlp)
    assert [str(each.message) for each in caught] == []


@pytest.mark.parametrize("name, value", [
    ("coefs_", None), ("coefs_", []), ("coefs_", "abc"), ("intercepts_", None), ("classes_", None),
    ("n_outputs_", 10**12)])
def test_attributes_that_were_changed(name, value):
    mlp = neural_network.MLPClassifier((2,), max_iter=1).partial_fit(np.eye(3), [0, 1, 0], classes=[0, 1])
    setattr(mlp, name, value)
    with pytest.raises(ValueError, match=r"^from_sklearn: mlp must have "):
        from_sklearn(mlp)
