"""Displays: what they draw is what the network holds."""
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from ldl_cy import CNNClassifier, MLPClassifier, Sequential, layers
from ldl_cy.plotting import FilterDisplay, LossCurveDisplay

matplotlib = pytest.importorskip("matplotlib", reason="the extra 'test' brings matplotlib, which draws the pictures")
matplotlib.use("agg")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_digits(return_X_y=True)
X, Y = X[:200], Y[:200]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_loss_curve_of_a_pipeline():
    model = make_pipeline(MinMaxScaler(), MLPClassifier(max_iter=4, early_stopping=True, random_state=0)).fit(X, Y)
    display = LossCurveDisplay.from_estimator(model, log_scale=True, linestyle="--")
    clf = model[-1]
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), clf.loss_curve_)
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), clf.validation_loss_curve_)
    np.testing.assert_array_equal(display.lines_[2].get_ydata(), clf.validation_scores_)
    assert len({line.get_color() for line in display.lines_}) == 3
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), [1, 2, 3, 4])
    assert display.ax_.get_title() == "MLPClassifier" and display.ax_.get_yscale() == "log"
    assert display.lines_[0].get_linestyle() == "--"


def test_loss_curve_of_a_history():
    from matplotlib.figure import Figure

    model = Sequential([layers.Dense(10)], random_state=0)
    history = model.fit(X, Y, loss="log_loss", epochs=3, validation_split=0.1)
    ax = Figure().subplots()
    display = LossCurveDisplay.from_history(history, ax=ax, name="digits")
    assert display.ax_ is ax and display.figure_ is ax.figure and ax.get_title() == "digits"
    for line, key in zip(display.lines_, ("loss", "val_loss"), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), history.history[key])


def test_several_curves_have_a_legend():
    one = LossCurveDisplay({"loss": [3.0, 2.0]}).plot()
    assert one.ax_.get_legend() is None
    two = LossCurveDisplay({"loss": [3.0, 2.0], "val_loss": [3.5, 2.5]}).plot()
    assert [text.get_text() for text in two.ax_.get_legend().get_texts()] == ["loss", "val_loss"]


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"LossCurveDisplay: plotting needs matplotlib \(pip install matplotlib\)"):
        LossCurveDisplay({"loss": [1.0]}).plot()


def test_filters_of_a_convolution():
    clf = CNNClassifier(filters=(5,), hidden_layer_sizes=(), max_iter=1, input_shape=(8, 8, 1), random_state=0)
    display = FilterDisplay.from_estimator(clf.fit(X, Y), n_columns=3)
    kernel = clf.model_.parameters["conv2d_0.kernel"]
    picture = display.image_.get_array()
    assert picture.shape == (2 * 4 - 1, 3 * 4 - 1) and display.ax_.get_title() == "conv2d_0"
    for i in range(5):
        top, left = i // 3 * 4, i % 3 * 4
        np.testing.assert_array_equal(picture[top:top + 3, left:left + 3], kernel[:, :, 0, i])
    low, high = display.image_.get_clim()
    assert low == -high == -np.abs(kernel).max()


def test_filters_of_other_layers():
    model = Sequential([layers.Conv1D(3, 5), layers.Flatten(), layers.Dense(4)], random_state=0).build((9, 2))
    display = FilterDisplay.from_estimator(model, channel=1)
    np.testing.assert_array_equal(display.filters, model.parameters["conv1d_0.kernel"][:, 1].T[:, None])
    display = FilterDisplay.from_estimator(model)
    np.testing.assert_array_equal(display.filters, model.parameters["conv1d_0.kernel"].mean(axis=1).T[:, None])
    display = FilterDisplay.from_estimator(model, layer="dense_2", image_shape=(5, 3))
    np.testing.assert_array_equal(display.filters, model.parameters["dense_2.kernel"].T.reshape(4, 5, 3))
    square = Sequential([layers.Dense(7)], random_state=0).build(16)
    assert FilterDisplay.from_estimator(square).filters.shape == (7, 4, 4)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: LossCurveDisplay.from_estimator(MLPClassifier()), "must be fitted and have a loss_curve_"),
    (lambda: FilterDisplay.from_estimator(MLPClassifier()), "must be a fitted estimator of ldl_cy or a built"),
    (lambda: FilterDisplay.from_estimator(Sequential([layers.Dense(2)]).build(4), layer="conv"),
     "layer must be one of 'dense_0', got 'conv'"),
    (lambda: FilterDisplay.from_estimator(Sequential([layers.Dense(2)]).build(4), image_shape=(3, 3)),
     r"image_shape must hold 4 numbers, got \(3, 3\)"),
    (lambda: FilterDisplay.from_estimator(Sequential([layers.Conv2D(2, 3)]).build((4, 4, 3)), channel=3),
     r"channel must be in 0 \.\. 2, got 3"),
    (lambda: FilterDisplay(np.zeros((2, 3))), r"filters must have the shape \(n, height, width\), got \(2, 3\)"),
])
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
