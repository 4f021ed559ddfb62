"""Short fits of a small network, and callbacks that note, stop or fail."""
import numpy as np

from ldl_cy import Sequential, layers, optimizers
from ldl_cy.callbacks import Callback

NET = [layers.Dense(8, "tanh"), layers.Dense(1)]
METHODS = {
    "adam": optimizers.Adam(0.01), "gd": optimizers.GD(0.05, tol=0), "ema": optimizers.SGD(0.05, 0.9, ema=0.9),
    "line_search": optimizers.GD(0.1, tol=0, line_search=True), "lbfgs": optimizers.LBFGS(),
    "cg": optimizers.ConjugateGradient(), "lm": optimizers.LevenbergMarquardt(),
    "bayesian": optimizers.LevenbergMarquardt(bayesian=True), "gauss_newton_cg": optimizers.GaussNewtonCG(),
}


def data(n=75, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5))
    return X, (X[:, :1] * X[:, 1:2] + 0.3 * rng.standard_normal((n, 1)))


X, Y = data()
X_NEW, Y_NEW = data(30, seed=1)


def made(net=NET, dtype="float32", seed=1):
    return Sequential(net, dtype, seed)


def fit(model, callbacks=(), epochs=3, optimizer="adam", **options):
    return model.fit(X, Y, loss="squared_error", optimizer=METHODS.get(optimizer, optimizer), epochs=epochs,
                     callbacks=callbacks, **options)


class Recorder(Callback):
    """Notes every call under a name, in a list that several may share."""

    def __init__(self, name="", calls=None):
        self.name, self.calls = name, [] if calls is None else calls

    def check(self, optimizer, known):
        self.calls.append((self.name, "check", type(optimizer).__name__, *known))

    def on_fit_begin(self, model, epochs):
        self.calls.append((self.name, "fit begins", epochs))

    def on_epoch_begin(self, model, epoch):
        assert model.epoch == epoch - 1
        self.calls.append((self.name, "begins", epoch))

    def on_epoch_end(self, model, epoch, logs):
        assert model.epoch == epoch and all(type(value) is float for value in logs.values())
        self.calls.append((self.name, "ends", epoch, *logs))

    def on_non_finite(self, model, error):
        self.calls.append((self.name, "non-finite", str(error)))

    def on_fit_end(self, model):
        self.calls.append((self.name, "fit ends"))


def after(epoch, what):
    def act(model, logs):
        return what() if model.epoch == epoch else None
    return act


def fail():
    raise KeyError("mine")
