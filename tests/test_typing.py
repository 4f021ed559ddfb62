"""What a type checker tells users: ci/lint runs mypy --strict on this file, pytest that it is true."""
from pathlib import Path
from typing import assert_type

import numpy as np
import pytest

import ldl_cy
from ldl_cy import (
    MLPClassifier,
    MLPRegressor,
    NeuralNetRegressor,
    RNNRegressor,
    Sequential,
    interop,
    layers,
    losses,
    optimizers,
    schedules,
)
from ldl_cy.callbacks import EarlyStopping, History
from ldl_cy.learning_rate import RangeTest
from ldl_cy.weights import Mismatch, WeightsReport

X = np.linspace(-1, 1, 60, dtype="float32").reshape(20, 3)
y = X[:, :1] ** 2


def small_model() -> Sequential:
    return Sequential([layers.Dense(4, "tanh"), layers.Dense(1)], random_state=0)


def losses_so_far(model: Sequential, logs: dict[str, float]) -> bool:
    return logs["loss"] < 0


def test_layer_by_layer(tmp_path: Path) -> None:
    model = small_model()
    history = model.fit(
        X, y, loss=losses.SquaredError(), optimizer=optimizers.Adam(schedules.Cosine(1e-2, length=20)), epochs=2,
        callbacks=[EarlyStopping(monitor="loss"), losses_so_far])
    assert_type(history, History)
    assert isinstance(history, History)
    curve = history.history["loss"]
    assert_type(curve, list[float])
    assert all(type(value) is float for value in curve)
    output = model.predict(X)
    assert_type(output, np.ndarray)
    assert output.shape == (20, 1)
    value, gradient = model.loss_and_grad(X, y, loss="squared_error")
    assert_type(value, float)
    assert_type(gradient, np.ndarray)
    assert type(value) is float and gradient.shape == model.theta.shape
    model.save(tmp_path / "model.ldl")
    again = Sequential.load(tmp_path / "model.ldl")
    assert_type(again, Sequential)
    assert_type(again.output_shape, tuple[int, ...] | None)
    assert again.output_shape == (1,)


def test_estimators() -> None:
    labels = np.arange(20) % 2
    classifier = MLPClassifier(hidden_layer_sizes=(5,), solver=optimizers.LBFGS(), random_state=0).fit(X, labels)
    assert_type(classifier, MLPClassifier)
    assert_type(classifier.predict(X), np.ndarray)
    assert_type(classifier.predict_proba(X), np.ndarray)
    assert_type(classifier.transform(X), np.ndarray)
    assert_type(classifier.validation_loss_curve_, list[float] | None)
    assert_type(classifier.classes_, np.ndarray)
    assert_type(classifier.score(X, labels), float)
    assert isinstance(classifier.predict(X), np.ndarray) and isinstance(classifier.score(X, labels), float)
    regressor = NeuralNetRegressor([layers.Dense(5)], losses.Huber(0.5), random_state=0).partial_fit(X, y.ravel())
    assert_type(regressor, NeuralNetRegressor)
    assert_type(regressor.model_, Sequential)
    assert_type(regressor.loss_curve_, list[float])
    assert isinstance(regressor.model_, Sequential) and len(regressor.loss_curve_) == 1


def test_weights_and_networks(tmp_path: Path) -> None:
    model = small_model().build(3)
    model.save_weights(tmp_path / "weights.safetensors")
    report = model.load_weights(tmp_path / "weights.safetensors", rename={"old": "new"})
    assert_type(report, WeightsReport)
    assert_type(report.loaded, list[str])
    assert_type(report.mismatched, list[Mismatch])
    assert report.loaded == [*model.parameters] and report.mismatched == []
    report = model.load_weights({"dense_1.bias": np.zeros(1)}, strict=False, rename=str.lower)
    assert report.loaded == ["dense_1.bias"]
    arrays = interop.torch_state_dict(model)
    assert_type(arrays, dict[str, np.ndarray])
    assert_type(interop.load_torch(model, arrays), WeightsReport)
    assert isinstance(interop.load_torch(model, arrays), WeightsReport)
    onx = interop.to_onnx(model, opset=18)
    again = interop.from_onnx(onx)
    assert_type(again, Sequential)
    assert isinstance(again, Sequential)
    fitted = MLPClassifier(hidden_layer_sizes=(5,), max_iter=1000, solver="lbfgs").fit(X, np.arange(20) % 2)
    estimator = interop.from_sklearn(interop.to_sklearn(fitted))
    assert_type(estimator, MLPClassifier | MLPRegressor)
    assert isinstance(estimator, MLPClassifier)
    assert_type(ldl_cy.SKOPS_TRUSTED, tuple[str, ...])
    assert "ldl_cy.models.Sequential" in ldl_cy.SKOPS_TRUSTED


def test_learning_rate() -> None:
    found = ldl_cy.find_learning_rate(small_model(), X, y, loss="squared_error", n_steps=30)
    assert_type(found, RangeTest)
    assert_type(found.rates, np.ndarray)
    assert isinstance(found, RangeTest)


def test_mistakes_are_seen() -> None:
    # mypy fails where one of these comments is not needed
    with pytest.raises(AttributeError):
        ldl_cy.sequential                                                   # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(TypeError):
        small_model().fit(X, y, loss="squared_error", n_epochs=2)           # type: ignore[call-arg]
    with pytest.raises(TypeError):
        small_model().fit(X, y, loss=None)                                  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        layers.Dense("4")                                                   # type: ignore[arg-type]
    with pytest.raises(TypeError):
        RNNRegressor(cells="gru")                                           # type: ignore[call-arg]
    with pytest.raises(TypeError):
        small_model().build(3).load_weights({}, strict="no")                # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        interop.from_tensorflow                                             # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ValueError):
        MLPClassifier(alpha="small").fit(X, np.arange(20) % 2)              # type: ignore[arg-type]
