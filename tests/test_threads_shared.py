"""One model in several threads, and several models in as many: the bits of one thread, and a fit is exclusive.

Each test has threads of its own. ``ci/freethreading`` runs it in several more, on a CPython without its lock.
"""
import pickle
import threading

import numpy as np
import pytest

from ldl_cy import MLPClassifier, Sequential, layers, optimizers

N_THREADS = 4
ROUNDS = 5
KINDS = {
    "dense": ((5,), [layers.Dense(40, "tanh"), layers.BatchNorm(), layers.Dropout(0.2), layers.Dense(3)]),
    "convolution": ((8, 8, 2), [layers.Conv2D(4, 3, activation="relu"), layers.MaxPool2D(), layers.Flatten(),
                                layers.Dense(3)]),
    "recurrent": ((6, 3), [layers.Bidirectional(layers.GRU(5)), layers.Dense(3)]),
    "wide": ((300,), [layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(3)]),
}


def model_and_data(kind, n=200):
    shape, stack = KINDS[kind]
    rng = np.random.default_rng(0)
    return Sequential(stack, random_state=0).build(shape), rng.standard_normal((n, *shape)), rng.integers(0, 3, n)


def together(work, count=N_THREADS):
    """What ``work(i)`` gives in as many threads, which begin at once; an exception in one of them comes out."""
    gate, found = threading.Barrier(count), [None] * count

    def run(i):
        gate.wait()
        try:
            found[i] = work(i)
        except BaseException as error:
            found[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for value in found:
        if isinstance(value, BaseException) and not isinstance(value, RuntimeError):
            raise value
    return found


def same(found, expected):
    for value in found:
        if isinstance(value, BaseException):
            raise value
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_of_one_model(kind):
    """Of few rows and many, by the fast path and the general one, from a model that was not asked before."""
    model, X, y = model_and_data(kind)
    other, _, _ = model_and_data(kind)
    sizes = [1, 7, len(X)]
    expected = np.concatenate([other.predict(X[:n]) for n in sizes])

    def work(i):
        found = [np.concatenate([model.predict(X[:n], **({"n_threads": 2} if i == 0 else {})) for n in sizes])
                 for _ in range(ROUNDS)]
        for part in found[1:]:
            np.testing.assert_array_equal(part, found[0])
        return found[0]

    same(together(work), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_that_only_reads(kind):
    model, X, y = model_and_data(kind)
    expected = model.loss_and_grad(X, y, loss="log_loss")[1]
    value, traced = model.evaluate(X, y, loss="log_loss"), model.trace(X)

    def work(i):
        for _ in range(ROUNDS):
            if i % 2:
                assert model.evaluate(X, y, loss="log_loss") == value
                copy = pickle.loads(pickle.dumps(model))
                np.testing.assert_array_equal(copy.theta, model.theta)
            else:
                found = model.trace(X)
                for name, values in traced.items():
                    np.testing.assert_array_equal(found[name], values)
            grad = model.loss_and_grad(X, y, loss="log_loss")[1]
        return grad

    same(together(work), expected)


@pytest.mark.parametrize("optimizer", [optimizers.SGD(0.1, 0.9), optimizers.Adam(), optimizers.LBFGS()],
                         ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("kind", ["dense", "recurrent", "wide"])
def test_fits_of_separate_models(kind, optimizer):
    if kind == "dense" and optimizer.full_batch:
        optimizer = optimizers.GD(0.1)          # with Dropout and BatchNorm
    options = {"loss": "log_loss", "optimizer": optimizer, "epochs": 3}
    model, X, y = model_and_data(kind, 64)
    expected = model.fit(X, y, **options) and model.theta

    def work(i):
        own, _, _ = model_and_data(kind, 64)
        return own.fit(X, y, n_threads=1 + i % 2, **options) and own.theta

    same(together(work), expected)


def test_one_of_several_fits_of_one_model():
    """The others are refused, and what comes out is what the one that ran would have given alone."""
    model, X, y = model_and_data("dense")
    alone, _, _ = model_and_data("dense")
    begun, all_asked = threading.Event(), threading.Event()
    asked = []

    def hold(_, logs):
        begun.set()
        assert all_asked.wait(60)

    def work(i):
        if i:
            assert begun.wait(60)
        try:
            return model.fit(X, y, loss="log_loss", epochs=2, callbacks=[hold] if i == 0 else ())
        finally:
            asked.append(i)
            if len(asked) == N_THREADS - 1:
                all_asked.set()

    found = together(work)
    assert not isinstance(found[0], BaseException)
    for error in found[1:]:
        assert isinstance(error, RuntimeError)
        assert str(error) == "Sequential: another fit of this model is running."
    alone.fit(X, y, loss="log_loss", epochs=2)
    np.testing.assert_array_equal(model.theta, alone.theta)
    model.fit(X, y, loss="log_loss", epochs=1)          # and it is free again


def test_racing_fits_of_one_model():
    """Whoever comes first; each fit that was not refused counts its epochs."""
    model, X, y = model_and_data("dense")
    found = together(lambda i: model.fit(X, y, loss="log_loss", epochs=2))
    fits = [value for value in found if not isinstance(value, BaseException)]
    assert fits and model.epoch == 2 * len(fits)
    alone, _, _ = model_and_data("dense")
    alone.fit(X, y, loss="log_loss", epochs=model.epoch)
    np.testing.assert_array_equal(model.theta, alone.theta)


@pytest.mark.filterwarnings("ignore:.*converge")       # five iterations are few
def test_estimators():
    _, X, y = model_and_data("dense")
    shared = MLPClassifier((20,), max_iter=5, n_iter_no_change=5, tol=0.0, random_state=0, solver="lbfgs", max_fun=5)

    def fitted():
        return MLPClassifier(**shared.get_params()).fit(X, y)

    first = fitted()
    expected = first.predict_proba(X)
    same(together(lambda i: fitted().predict_proba(X)), expected)
    same(together(lambda i: pickle.loads(pickle.dumps(first)).predict_proba(X) if i % 2 else first.predict_proba(X)),
         expected)
