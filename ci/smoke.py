#!/usr/bin/env python
"""Does an installed wheel work? Small networks in both dtypes, their files and pickles, and the estimators.

    python ci/smoke.py

Needs NumPy and SciPy alone; without scikit-learn the estimators are left out, and the last line says so.
"""
import pickle
import platform
import tempfile
import warnings
from pathlib import Path

import numpy as np

import ldl_cy
from ldl_cy import Sequential, layers, optimizers
from ldl_cy._engine.vec import instruction_set, instruction_sets, use_instruction_set

rng = np.random.default_rng(0)
SHAPES = {"dense": (12,), "convolution": (6, 6, 2), "recurrent": (7, 3)}
STACKS = {
    "dense": lambda: [layers.Dense(16, "gelu"), layers.LayerNorm(), layers.Dropout(0.1), layers.Dense(3)],
    "convolution": lambda: [layers.Conv2D(8, 3, activation="relu"), layers.BatchNorm(), layers.MaxPool2D(2),
                            layers.Flatten(), layers.Dense(3)],
    "recurrent": lambda: [layers.GRU(6, return_sequences=True), layers.LSTM(6), layers.Dense(3)],
}


def network(kind, dtype, folder):
    """Fit, predict, save, load and pickle one network; two threads give the bits of one."""
    X = rng.standard_normal((64, *SHAPES[kind])).astype(dtype)
    y = X.reshape(64, -1)[:, -3:].argmax(axis=1)
    models = [Sequential(STACKS[kind](), dtype=dtype, random_state=0) for _ in range(2)]
    for n_threads, model in enumerate(models, 1):
        losses = model.fit(X, y, loss="log_loss", optimizer=optimizers.Adam(0.01), epochs=20,
                           n_threads=n_threads).history["loss"]
        assert losses[-1] < 0.9 * losses[0], (kind, dtype, losses)
    model = models[0]
    assert np.array_equal(model.theta, models[1].theta), f"{kind}: threads change the weights"
    want = model.predict(X)
    assert want.dtype == dtype and want.shape == (64, 3) and np.isfinite(want).all()
    model.save(folder / "model.ldl")
    for copy in (Sequential.load(folder / "model.ldl"), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(copy.predict(X), want), f"{kind}: a copy predicts something else"


def estimators():
    """Classifiers and a regressor: fit, score, pickle."""
    from ldl_cy import CNNClassifier, MLPClassifier, MLPRegressor, RNNClassifier

    X, y = rng.standard_normal((100, 8)), rng.integers(0, 2, 100)
    X[:, 0] += 3 * y
    fitted = [
        MLPClassifier((16,), max_iter=20, learning_rate_init=0.01, random_state=0).fit(X, y),
        MLPRegressor(hidden_layer_sizes=(16,), solver="lbfgs", max_iter=50, random_state=0).fit(X, X[:, 0]),
        CNNClassifier(input_shape=(2, 4, 1), max_iter=2, random_state=0).fit(X, y),
        RNNClassifier(units=4, max_iter=2, random_state=0).fit(list(X[:, :, None]), y),
    ]
    for estimator in fitted:
        rows = list(X[:, :, None]) if isinstance(estimator, RNNClassifier) else X
        again = pickle.loads(pickle.dumps(estimator))
        assert np.array_equal(again.predict(rows), estimator.predict(rows)), type(estimator).__name__
    assert min(fitted[0].score(X, y), fitted[1].score(X, X[:, 0])) > 0.8
    return len(fitted)


def main():
    best, sets = instruction_set(), instruction_sets()
    with tempfile.TemporaryDirectory() as folder:
        for isa in sets:
            use_instruction_set(isa)
            for kind in STACKS:
                for dtype in ("float32", "float64"):
                    network(kind, dtype, Path(folder))
    use_instruction_set(best)
    try:
        import sklearn
    except ImportError:
        done = "no scikit-learn, so no estimators"
    else:
        warnings.simplefilter("ignore")         # a few iterations do not converge
        done = f"{estimators()} estimators with scikit-learn {sklearn.__version__}"
    import scipy

    print(f"smoke: ldl_cy {ldl_cy.__version__} on Python {platform.python_version()} {platform.machine()}, "
          f"numpy {np.__version__}, scipy {scipy.__version__}: networks on {', '.join(sets)}; {done}")


if __name__ == "__main__":
    main()
