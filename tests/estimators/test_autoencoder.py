"""Autoencoder: fitted to its own rows; codes, rows of codes, scores."""
import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_dataframe_column_names_consistency, parametrize_with_checks

from ldl_cy import Autoencoder, NeuralNetClassifier, Sequential, layers, optimizers
from ldl_cy.callbacks import History

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)) @ RNG.normal(size=(3, 8)) + 0.1 * RNG.normal(size=(60, 8))
IMAGES = RNG.uniform(size=(30, 8, 6, 1))
FEW = {"random_state": 0, "max_iter": 5}


def small(**parameters):
    return Autoencoder(**{"hidden_layer_sizes": (9,), "n_components": 3, "activation": "tanh",
                          "learning_rate_init": 0.01, **FEW, **parameters})


@parametrize_with_checks([small(max_iter=30), small(max_iter=30, solver="lbfgs"), Autoencoder(max_iter=5)])
def test_scikit_learn(estimator, check):
    check(estimator)


def test_the_docstring_names_every_parameter_and_nothing_else():
    text = Autoencoder.__doc__
    assert "%(" not in text and "ridge" not in text and "alphas" not in text
    assert not [p for p in small().get_params() if f"{p} :" not in text and f"{p}, " not in text and p != "beta_2"]


def test_names_of_columns():
    pytest.importorskip("pandas", reason="the extra 'test' brings pandas, which makes the frames")
    assert check_dataframe_column_names_consistency("Autoencoder", small()) is None


def test_without_hidden_layers_it_is_pca():
    """Baldi and Hornik: the minimum is the projection on the first components."""
    coder = Autoencoder((), 3, solver="lm", alpha=0, tol=1e-9, random_state=1).fit(X)
    pca = PCA(3).fit(X)
    expected = pca.inverse_transform(pca.transform(X))
    np.testing.assert_allclose(coder.inverse_transform(coder.transform(X)), expected, atol=1e-7)
    assert coder.score(X) == pytest.approx(-np.mean((X - expected)**2), rel=1e-9)


def test_curved_axes_are_better_than_pca():
    digits = load_digits().data / 16
    coder = Autoencoder(n_components=8, max_iter=60, n_iter_no_change=np.inf, random_state=0).fit(digits[:1400])
    pca = PCA(8).fit(digits[:1400])
    for rows in (digits[:1400], digits[1400:]):
        error = np.mean((rows - pca.inverse_transform(pca.transform(rows)))**2)
        assert -coder.score(rows) < 0.85 * error


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 7, 60])
def test_codes_rows_and_scores_are_those_of_the_layers(dtype, n):
    coder = small(hidden_layer_sizes=(9, 5), activation=["tanh", "relu"]).fit(X.astype(dtype))
    p = [value.astype(float) for value in coder.model_.parameters.values()]
    assert [value.shape for value in p[::2]] == [(8, 9), (9, 5), (5, 3), (3, 5), (5, 9), (9, 8)]
    z = np.maximum(np.tanh(X[:n].astype(dtype) @ p[0] + p[1]) @ p[2] + p[3], 0) @ p[4] + p[5]
    back = np.tanh(np.maximum(z @ p[6] + p[7], 0) @ p[8] + p[9]) @ p[10] + p[11]
    tol = {"rtol": 0, "atol": 3e-6 if dtype == "float32" else 1e-13}
    codes = coder.transform(X[:n].astype(dtype))
    assert codes.dtype == dtype and coder.n_components_ == 3 and coder.n_outputs_ == 8
    np.testing.assert_allclose(codes, z, **tol)
    rows = coder.inverse_transform(codes)
    assert rows.dtype == dtype
    np.testing.assert_allclose(rows, back, **tol)
    errors = np.mean((back - X[:n])**2, axis=1)
    np.testing.assert_allclose(coder.score_samples(X[:n]), -errors, **tol)
    weights = np.arange(1.0, n + 1)
    assert coder.score(X[:n]) == pytest.approx(-errors.mean(), abs=tol["atol"])
    assert coder.score(X[:n], sample_weight=weights) == pytest.approx(-np.average(errors, weights=weights),
                                                                      abs=tol["atol"])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_loss_is_half_the_mean_squared_error(solver):
    coder = small(solver=solver, alpha=0.5, batch_size="auto", max_iter=3).fit(X)
    history = History()
    again = small(solver=solver, alpha=0.5, max_iter=3, callbacks=[history]).fit(X)
    assert again.loss_curve_ == coder.loss_curve_ == history.history["loss"]
    squares = sum(np.sum(value**2) for name, value in coder.model_.parameters.items() if "kernel" in name)
    now = -0.5 * coder.score(X) + 0.5 * 0.5 * squares / len(X)
    further = coder.set_params(warm_start=True, max_iter=1).fit(X).loss_curve_[-1]
    assert now == pytest.approx(coder.loss_curve_[2] if solver == "lbfgs" else further, rel=1e-6)


def test_the_penalty_and_the_error_are_those_of_the_model():
    coder = small(solver="lbfgs", alpha=5, max_iter=5000, tol=1e-9).fit(X)
    value, grad = coder.model_.loss_and_grad(X, X, loss="squared_error")
    kernels = np.concatenate([np.ravel(array if name.endswith("kernel") else 0 * array)
                              for name, array in coder.model_.parameters.items()])
    penalty = 5 * kernels / len(X)
    assert np.abs(penalty).max() > 0.05
    np.testing.assert_allclose(0.5 * 8 * grad, -penalty, rtol=0, atol=2e-4)
    assert value == pytest.approx(-coder.score(X))


@pytest.mark.parametrize("solver", ["adam", "lbfgs", "lm"])
def test_learns(solver):
    coder = small(solver=solver, max_iter=300).fit(X)
    assert -coder.score(X) < 0.05 * X.var()
    outlier = X[0] + 10 * RNG.normal(size=8)
    assert coder.score_samples([outlier])[0] < coder.score_samples(X).min()


def test_it_is_a_transformer():
    order = Autoencoder.__mro__
    assert order.index(TransformerMixin) < order.index(BaseEstimator)
    coder = small().fit(X)
    np.testing.assert_array_equal(small().fit_transform(X), coder.transform(X))
    np.testing.assert_array_equal(small().fit_transform(X, "ignored"), coder.transform(X))
    assert list(coder.get_feature_names_out()) == ["autoencoder0", "autoencoder1", "autoencoder2"]
    assert not hasattr(coder, "predict") and not hasattr(clone(coder), "encoder_")
    for name, arguments in (("transform", [X]), ("inverse_transform", [X[:, :3]]), ("score", [X]),
                            ("score_samples", [X]), ("get_feature_names_out", [])):
        with pytest.raises(NotFittedError):
            getattr(small(), name)(*arguments)


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_frames(package):
    frames = pytest.importorskip(package, reason=f"the extra 'test' brings {package}, whose frames are the output")
    names = list("abcdefgh")
    coder = small().set_output(transform=package)
    frame = coder.fit_transform(frames.DataFrame({name: column for name, column in zip(names, X.T)}))
    assert list(frame.columns) == ["autoencoder0", "autoencoder1", "autoencoder2"]
    assert list(coder.feature_names_in_) == names
    np.testing.assert_array_equal(frame.to_numpy(), small().fit_transform(X))


def test_in_pipelines_and_searches():
    y = X[:, 0] > 0
    pipeline = make_pipeline(small(max_iter=60), LogisticRegression()).fit(X, y)
    assert pipeline.score(X, y) > 0.8
    search = GridSearchCV(small(max_iter=80), {"n_components": [1, 4]}, cv=3, n_jobs=2).fit(X)
    assert search.best_params_ == {"n_components": 4}


def test_a_pretrained_encoder():
    coder = small(max_iter=60).fit(X)
    assert isinstance(coder.encoder_, Sequential) and isinstance(coder.decoder_, Sequential)
    np.testing.assert_array_equal(coder.encoder_.predict(X), coder.transform(X))
    np.testing.assert_array_equal(coder.decoder_.predict(coder.transform(X)), coder.model_.predict(X))
    before = coder.model_.theta.copy()
    clf = NeuralNetClassifier(coder.encoder_, max_iter=40, learning_rate_init=0.01, random_state=0).fit(X, X[:, 0] > 0)
    assert clf.score(X, X[:, 0] > 0) > 0.9
    np.testing.assert_array_equal(coder.model_.theta, before)


# -- fits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_give_the_same_bits(solver, dtype):
    rows = np.tile(X, (5, 40)).astype(dtype)
    first, second = (Autoencoder((60,), 5, solver=solver, n_threads=n, **FEW).fit(rows) for n in (1, 2))
    np.testing.assert_array_equal(first.model_.theta, second.model_.theta)
    np.testing.assert_array_equal(first.transform(rows), second.transform(rows))


@pytest.mark.parametrize("parameters", [{}, {"dropout": 0.3}, {"early_stopping": True}, {
    "encoder": [layers.GaussianNoise(0.3), layers.Dense(4, "tanh")]}], ids=str)
def test_parts_of_a_fit_are_one_fit(parameters):
    whole = small(max_iter=10, n_iter_no_change=np.inf, **parameters).fit(X)
    part = small(max_iter=5, n_iter_no_change=np.inf, warm_start=True, **parameters).fit(X)
    part = pickle.loads(pickle.dumps(part)).fit(X)
    np.testing.assert_array_equal(part.model_.theta, whole.model_.theta)
    assert part.loss_curve_ == whole.loss_curve_
    if not whole.early_stopping:
        steps = small(**parameters)
        for _ in range(10):
            steps.partial_fit(X)
        np.testing.assert_array_equal(steps.model_.theta, whole.model_.theta)


def test_pickle_and_clone():
    coder = small(encoder=[layers.Dense(4, "relu")]).fit(X)
    again = pickle.loads(pickle.dumps(coder))
    np.testing.assert_array_equal(again.inverse_transform(again.transform(X)), coder.inverse_transform(
        coder.transform(X)))
    assert clone(coder).get_params() == coder.get_params() and not hasattr(clone(coder), "model_")


@pytest.mark.parametrize("solver", ["lbfgs", "cg"])
def test_a_weight_is_as_good_as_a_repeated_row(solver):
    weights = RNG.integers(0, 4, len(X))
    weighted = small(solver=solver, max_iter=20).fit(X, sample_weight=weights)
    repeated = small(solver=solver, max_iter=20).fit(np.repeat(X, weights, axis=0))
    np.testing.assert_array_equal(weighted.model_.theta, repeated.model_.theta)
    assert weighted.score(X, sample_weight=weights) == pytest.approx(repeated.score(np.repeat(X, weights, axis=0)))


def test_sparse_rows_are_fitted_as_dense_ones():
    rows = np.where(np.abs(X) > 1, X, 0)
    dense = small().fit(rows)
    for form in (sparse.csr_matrix, sparse.csc_array):
        coder = small().fit(form(rows))
        np.testing.assert_allclose(coder.model_.theta, dense.model_.theta, atol=1e-12)
        np.testing.assert_allclose(coder.transform(form(rows)), dense.transform(rows), atol=1e-12)
        np.testing.assert_allclose(coder.score_samples(form(rows)), dense.score_samples(rows), atol=1e-12)
        np.testing.assert_allclose(small(solver="lbfgs").fit(form(rows)).score(rows),
                                   small(solver="lbfgs").fit(rows).score(rows), rtol=1e-6)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        small(encoder=[layers.Dense(2)]).fit(sparse.csr_matrix(rows))


def test_validation_and_early_stopping():
    coder = small(max_iter=7).fit(X[:40], X_val=X[40:], sample_weight_val=np.arange(20))
    assert len(coder.validation_scores_) == 7
    assert coder.validation_scores_[-1] == pytest.approx(coder.score(X[40:], sample_weight=np.arange(20)))
    stopped = small(max_iter=400, early_stopping=True, learning_rate_init=0.05, n_iter_no_change=5).fit(X)
    assert stopped.n_iter_ < 400 and stopped.stop_reason_ == "no_improvement"
    assert stopped.best_validation_score_ == max(stopped.validation_scores_) > stopped.validation_scores_[0]
    with pytest.raises(ValueError, match="sample_weight_val needs X_val"):
        small().fit(X, sample_weight_val=np.ones(3))


def test_noise_in_front_is_to_be_taken_away():
    """Vincent et al.: the rows that are asked for are those without the noise."""
    noisy = X + 0.5 * np.random.default_rng(9).normal(size=X.shape)
    parts = {"decoder": [layers.Dense(9, "tanh"), layers.Dense(8)], "max_iter": 400, "n_iter_no_change": np.inf}
    coder = small(encoder=[layers.GaussianNoise(0.5), layers.Dense(9, "tanh"), layers.Dense(3)], **parts).fit(X)
    back = coder.inverse_transform(coder.transform(noisy))
    assert np.mean((back - X)**2) < 0.7 * np.mean((noisy - X)**2)
    np.testing.assert_array_equal(coder.transform(noisy), coder.transform(noisy))


# -- encoders and decoders of one's own ------------------------------------------------------------------------------


CNN = {"encoder": [layers.Conv2D(3, 3, padding="same", activation="relu"), layers.MaxPool2D(),
                   layers.Conv2D(2, 3, padding="same")],
       "decoder": [layers.UpSampling2D(), layers.Conv2D(3, 3, padding="same", activation="relu"),
                   layers.Conv2D(1, 3, padding="same")]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_images(dtype):
    rows = IMAGES.astype(dtype)
    coder = Autoencoder(**CNN, learning_rate_init=0.01, **FEW).fit(rows)
    codes = coder.transform(rows)
    assert codes.shape == (30, 4 * 3 * 2) and coder.n_components_ == 24 and codes.dtype == dtype
    back = coder.inverse_transform(codes)
    assert back.shape == rows.shape
    np.testing.assert_allclose(coder.score_samples(rows), -np.mean((back - rows)**2, axis=(1, 2, 3)), rtol=1e-5)
    assert coder.encoder_.output_shape == coder.decoder_.input_shape == (4, 3, 2)
    flat = Autoencoder(**CNN, input_shape=(8, 6, 1), learning_rate_init=0.01, **FEW).fit(rows.reshape(30, -1))
    np.testing.assert_array_equal(flat.model_.theta, coder.model_.theta)
    assert flat.inverse_transform(codes).shape == (30, 48)
    np.testing.assert_array_equal(flat.transform(rows), codes)


def test_bytes_are_computed_in_float32():
    rows = (255 * IMAGES).astype("uint8")
    coder = Autoencoder(**CNN, max_iter=2, random_state=0).fit(rows)
    assert coder.model_.dtype == "float32" and np.isfinite(coder.score(rows))
    np.testing.assert_array_equal(
        coder.model_.theta, Autoencoder(**CNN, max_iter=2, random_state=0).fit(rows.astype("f4")).model_.theta)


def test_sequences():
    rows = np.cumsum(RNG.normal(size=(40, 6, 2)), axis=1)
    coder = Autoencoder(
        encoder=[layers.GRU(7)], learning_rate_init=0.02, max_iter=150, random_state=0, n_iter_no_change=np.inf,
        decoder=[layers.Reshape((1, 7)), layers.UpSampling1D(6), layers.GRU(9, return_sequences=True), layers.Dense(2)])
    coder.fit(rows)
    assert coder.transform(rows).shape == (40, 7)
    assert coder.inverse_transform(coder.transform(rows)).shape == rows.shape
    assert -coder.score(rows) < 0.3 * rows.var()


def test_one_part_alone_has_the_other_by_the_sizes():
    coder = small(encoder=[layers.Conv1D(2, 3), layers.Flatten()], input_shape=(8, 1)).fit(X)
    assert [type(layer).__name__ for layer in coder.model_.layers] == ["Conv1D", "Flatten", "Dense", "Dense"]
    assert coder.n_components_ == 12
    coder = small(encoder=[layers.Conv1D(2, 3)], input_shape=(8, 1)).fit(X)
    assert [type(layer).__name__ for layer in coder.decoder_.layers] == ["Flatten", "Dense", "Dense"]
    coder = small(decoder=[layers.Dense(8)]).fit(X)
    assert [layer.units for layer in coder.model_.layers] == [9, 3, 8]
    whole = small().fit(IMAGES)             # samples of several axes are flattened
    assert whole.inverse_transform(whole.transform(IMAGES)).shape == IMAGES.shape


def test_onnx_writes_rows_of_codes():
    pytest.importorskip("onnx", reason="the extra 'test' brings onnx, which writes and runs the graph")
    from onnx_reference import run

    from ldl_cy import interop

    coder = small(max_iter=20).fit(X)
    proto = interop.to_onnx(coder, dtype="float64")
    found, = run(proto, X=X)
    np.testing.assert_allclose(found, coder.inverse_transform(coder.transform(X)), atol=1e-12)
    found, = run(interop.to_onnx(coder.encoder_, dtype="float64"), x=X)
    np.testing.assert_allclose(found, coder.transform(X), atol=1e-12)


def test_skops():
    io = pytest.importorskip("skops.io", reason="the extra 'test' brings skops, which writes and reads the file")
    from ldl_cy import SKOPS_TRUSTED

    coder = small(encoder=[layers.GaussianNoise(0.1), layers.Dense(3)], solver=optimizers.AdamW(0.01)).fit(X)
    again = io.loads(io.dumps(coder), trusted=list(SKOPS_TRUSTED))
    np.testing.assert_array_equal(again.transform(X), coder.transform(X))


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("parameters", "text"), [
    ({"n_components": 0}, "The 'n_components' parameter of Autoencoder must be an int in the range"),
    ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0"),
    ({"activation": ["relu", "tanh"]}, "activation must be one name, or one for each of 1 hidden layers"),
    ({"activation": "softmax"}, "The 'activation' parameter of Autoencoder must be"),
    ({"solver": "ridge"}, "The 'solver' parameter of Autoencoder must be"),
    ({"encoder": []}, "encoder must be None or a list of at least one ldl_cy layer"),
    ({"encoder": [3]}, "encoder must be None or a list of ldl_cy layers, got 3 in it"),
    ({"decoder": ()}, "decoder must be None or a list of at least one ldl_cy layer"),
    ({"decoder": [layers.Dense(7)]}, r"decoder must end with the 8 numbers of a sample, got the shape \(7,\)"),
    ({"encoder": [layers.Conv2D(3, 3)]}, "Conv2D: the input must have the shape"),
    ({"input_shape": (3, 3)}, r"X has 8 features, but Autoencoder is expecting samples of shape \(3, 3\)"),
    ({"batch_size": 0}, "The 'batch_size' parameter of Autoencoder must be"),
], ids=str)
def test_bad_parameters(parameters, text):
    coder = small().fit(X)
    before = {name: value for name, value in vars(coder).items() if name.endswith("_")}
    theta = coder.model_.theta.copy()
    with pytest.raises((TypeError, ValueError), match=text):
        coder.set_params(**parameters).fit(X)
    assert {name: value for name, value in vars(coder).items() if name.endswith("_")} == before
    np.testing.assert_array_equal(coder.model_.theta, theta)


def test_bad_rows():
    coder = small().fit(X)
    with pytest.raises(ValueError, match="X has 7 features, but Autoencoder is expecting 8 features as input"):
        coder.transform(X[:, 1:])
    with pytest.raises(ValueError, match="X has 4 features, but Autoencoder is expecting codes of 3 numbers"):
        coder.inverse_transform(X[:, :4])
    for method in ("fit", "partial_fit", "transform", "score", "score_samples", "inverse_transform"):
        with pytest.raises(ValueError, match="contains NaN"):
            getattr(coder, method)(np.full((3, 3 if method == "inverse_transform" else 8), np.nan))
    with pytest.raises(AttributeError, match="partial_fit"):
        small(solver="lbfgs").partial_fit(X)
    with pytest.raises(ValueError, match="sample_weight"):
        coder.fit(X, sample_weight=-np.ones(60))
