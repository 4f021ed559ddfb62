"""scikit-learn's MLP: dense rows. X in float32 is computed in float32."""
from __future__ import annotations

import warnings

from benchmarks.common import NotSupported, input_data, training_data
from benchmarks.row import EPOCHS_OF_REGRESSION, LEARNING_RATE


def estimator(row, epochs, n):
    """An MLP that runs all its epochs, on plain SGD or Adam."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPRegressor if row.loss == "squared_error" else MLPClassifier
    return kind(hidden_layer_sizes=tuple(layer.units for layer in row.network[:-1]), activation="relu",
                alpha=0.0, solver="adam" if row.optimizer == "adam" else "sgd", momentum=0.0,
                batch_size=min(row.batch, n), learning_rate_init=LEARNING_RATE, max_iter=epochs,
                n_iter_no_change=epochs + 1, random_state=0)


def prepare(row, part, dtype, threads, setting):
    """A function that does some steps in one fit, or predicts some times."""
    if not row.dense:
        raise NotSupported("dense layers only")
    import sklearn

    warnings.simplefilter("ignore")                     # that max_iter was reached
    X, y = training_data(row, dtype)
    if part == "train":
        least = EPOCHS_OF_REGRESSION if row.optimizer == "gd" else 1

        def run(count):
            epochs, fits = max(least, -(-count // row.batches)), 1
            if row.optimizer == "gd":
                fits, epochs = -(-count // least), least
            for _ in range(fits):
                made = estimator(row, epochs, len(X)).fit(X, y)
                if made.n_iter_ != epochs:
                    raise RuntimeError(f"scikit-learn stopped after {made.n_iter_} of {epochs} epochs.")
            return fits * epochs * row.batches

        return run
    model = estimator(row, 1, len(X)).fit(X, y)
    predict = getattr(model, setting["method"])
    rows = input_data(row, part, dtype)

    def run(count):
        with sklearn.config_context(assume_finite=setting["assume_finite"]):
            for _ in range(count):
                predict(rows)
        return count

    return run
