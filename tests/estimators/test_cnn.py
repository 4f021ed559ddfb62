"""Convolutional estimators: how rows are read and which layers come out."""
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ldl_cy import CNNClassifier, CNNRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
DIGITS, Y_DIGITS = load_digits(return_X_y=True)
DIGITS = DIGITS / 16
FEW = {"filters": (4,), "hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}


def kinds(estimator):
    return [type(layer).__name__ for layer in estimator.model_.layers]


def test_digits():
    train, test, y_train, y_test = train_test_split(DIGITS, Y_DIGITS, random_state=0)
    clf = CNNClassifier(
        filters=(16, 32), hidden_layer_sizes=(64,), input_shape=(8, 8, 1), max_iter=40, random_state=0)
    assert clf.fit(train, y_train).score(test, y_test) > 0.97
    assert clf.n_features_in_ == 64 and clf.n_layers_ == 5
    assert kinds(clf) == ["Conv2D", "MaxPool2D", "Conv2D", "MaxPool2D", "Flatten", "Dense", "Dense"]


def test_images_and_rows_are_the_same():
    flat = CNNClassifier(input_shape=(8, 8, 1), **FEW).fit(DIGITS, Y_DIGITS)
    images = DIGITS.reshape(-1, 8, 8, 1)
    whole = CNNClassifier(**FEW).fit(images, Y_DIGITS)
    assert whole.n_features_in_ == 8
    expected = flat.predict_proba(DIGITS)
    for clf in (flat, whole):
        np.testing.assert_array_equal(clf.predict_proba(DIGITS), expected)
        np.testing.assert_array_equal(clf.predict_proba(images), expected)
    assert flat.score(images, Y_DIGITS) == whole.score(DIGITS, Y_DIGITS)
    whole.partial_fit(DIGITS, Y_DIGITS)
    np.testing.assert_array_equal(whole.model_.theta, flat.partial_fit(images, Y_DIGITS).model_.theta)


def test_signals():
    reg = CNNRegressor(**{**FEW, "filters": (4, 6), "pool_size": 4})
    reg.fit(DIGITS, DIGITS.max(axis=1))
    assert kinds(reg) == ["Conv1D", "MaxPool1D", "Conv1D", "MaxPool1D", "Flatten", "Dense", "Dense"]
    assert reg.model_.input_shape == (64, 1)
    reg.set_params(input_shape=(32, 2)).fit(DIGITS, DIGITS.max(axis=1))
    assert reg.model_.input_shape == (32, 2)
    reg.set_params(input_shape=None).fit(DIGITS.reshape(-1, 16, 4), DIGITS.max(axis=1))
    assert reg.model_.input_shape == (16, 4)


def test_pooling_stops_where_nothing_would_be_left():
    clf = CNNClassifier(**{**FEW, "filters": (2, 2, 2), "pool_size": 3, "input_shape": (8, 8, 1)})
    clf.fit(DIGITS, Y_DIGITS)
    assert kinds(clf) == ["Conv2D", "MaxPool2D", "Conv2D", "Conv2D", "Flatten", "Dense", "Dense"]
    clf.set_params(input_shape=(32, 2, 1), pool_size=(3, 1)).fit(DIGITS, Y_DIGITS)
    assert kinds(clf).count("MaxPool2D") == 3


@pytest.mark.parametrize("axes, shape", [("1D", (64, 1)), ("2D", (8, 8, 1))])
def test_batch_norm(axes, shape):
    clf = CNNClassifier(batch_norm=True, activation="tanh", input_shape=shape, **FEW).fit(DIGITS, Y_DIGITS)
    assert kinds(clf) == [f"Conv{axes}", "BatchNorm", "Activation", f"MaxPool{axes}", "Flatten", "Dense", "Dense"]
    convolution, _, activation = clf.model_.layers[:3]
    assert not convolution.use_bias and activation.activation == "tanh"


def test_the_best_epochs_running_statistics_come_back():
    half = len(DIGITS) // 2
    X_val, y_val = DIGITS[half:], Y_DIGITS[half:]
    clf = CNNClassifier(**{**FEW, "max_iter": 8}, batch_norm=True, early_stopping=True, learning_rate_init=0.3,
                        input_shape=(8, 8, 1))
    clf.fit(DIGITS[:half], Y_DIGITS[:half], X_val=X_val, y_val=y_val)
    scores = clf.validation_scores_
    assert scores[-1] < max(scores)         # or there would be nothing to bring back
    assert clf.score(X_val, y_val) == clf.best_validation_score_ == max(scores)


def test_dropout():
    clf = CNNClassifier(dropout=0.3, **FEW).fit(DIGITS, Y_DIGITS)
    assert kinds(clf) == ["Conv1D", "MaxPool1D", "Flatten", "Dropout", "Dense", "Dropout", "Dense"]


@pytest.mark.parametrize("settings, X, message", [
    ({"input_shape": (9, 9, 1)}, DIGITS, r"X has 64 features, but CNNClassifier is expecting samples of sh"),
    ({"input_shape": (64,)}, DIGITS, "input_shape must be None or 2 or 3 ints >= 1"),
    ({"input_shape": (8, 8, 0)}, DIGITS, "input_shape must be None or 2 or 3 ints >= 1"),
    ({"input_shape": ("8", "eight")}, DIGITS, "input_shape must be None or 2 or 3 ints >= 1"),
    ({"input_shape": (8, 8, 1)}, DIGITS.reshape(-1, 4, 16), r"X has samples of shape \(4, 16\), but"),
    ({}, DIGITS.reshape(-1, 4, 4, 2, 2), "reads images"),
    ({"kernel_size": (3, 3)}, DIGITS, "CNNClassifier: kernel_size must be an int >= 1 or"),
    ({"filters": (4, 0)}, DIGITS, "filters must be > 0"),
])
def test_what_is_refused(settings, X, message):
    with pytest.raises(ValueError, match=message):
        CNNClassifier(**{**FEW, **settings}).fit(X, Y_DIGITS)


def test_other_shapes_at_predict():
    clf = CNNClassifier(input_shape=(8, 8, 1), **FEW).fit(DIGITS, Y_DIGITS)
    with pytest.raises(ValueError, match=r"X has samples of shape \(4, 16, 1\), but CNNClassifier is exp"):
        clf.predict(DIGITS.reshape(-1, 4, 16, 1))
    clf = CNNClassifier(**FEW, input_shape=(8, 8)).fit(DIGITS.reshape(-1, 8, 8), Y_DIGITS)
    with pytest.raises(ValueError, match="X has 63 features, but CNNClassifier is expecting samples of sh"):
        clf.predict(DIGITS[:, 1:])
