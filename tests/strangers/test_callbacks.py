"""Callbacks that do whatever they like in the middle of a fit: a right result, or what they raised, and a whole model.

Each is done in every hook of a fit of each kind.
"""
import contextlib
import copy
import gc
import io
import pickle
import re
import warnings

import numpy as np
import scipy.sparse as sp
from small_fits import METHODS, X_NEW, Y_NEW, X, Y, made
from strangers import run_all

from ldl_cy import Sequential, find_learning_rate, layers, losses, optimizers, schedules
from ldl_cy._engine.process import count_fits
from ldl_cy.callbacks import Callback

NET = [layers.Dense(8, "tanh"), layers.BatchNorm(), layers.Dropout(0.2), layers.Dense(1)]
PLAIN = [layers.Dense(8, "tanh"), layers.Dense(1)]
KINDS = ["adam", "ema", "batches", "lbfgs", "cg", "lm", "gauss_newton_cg"]
HOOKS = ["check", "on_fit_begin", "load_state_dict", "on_epoch_begin", "on_epoch_end", "state_dict", "on_fit_end"]
VALIDATION = (X_NEW, Y_NEW)


def new(kind):
    return made(NET if kind in ("adam", "ema", "batches") else PLAIN, seed=3).build(5)


def fit(model, kind, callbacks=(), epochs=2, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "batches":
            return model.fit([(X[:40], Y[:40]), (X[40:], Y[40:])], loss="squared_error", epochs=epochs,
                             callbacks=callbacks, **options)
        return model.fit(X, Y, loss="squared_error", optimizer=METHODS[kind], epochs=epochs, callbacks=callbacks,
                         **options)


class In(Callback):
    """Acts in one hook."""

    def __init__(self, hook, act):
        self.hook, self.act, self.model, self.count = hook, act, None, 0

    def seen(self, hook, model=None):
        self.model = self.model if model is None else model
        if hook == self.hook:
            self.count += 1
            self.act(self.model)

    def check(self, optimizer, known):
        self.seen("check")

    def on_fit_begin(self, model, epochs):
        self.seen("on_fit_begin", model)

    def load_state_dict(self, state):
        self.seen("load_state_dict")

    def state_dict(self):
        self.seen("state_dict")
        return {"n": 1}

    def on_epoch_begin(self, model, epoch):
        self.seen("on_epoch_begin", model)

    def on_epoch_end(self, model, epoch, logs):
        self.seen("on_epoch_end", model)

    def on_fit_end(self, model):
        self.seen("on_fit_end", model)


def same(one, two):
    return np.array_equal(one.theta, two.theta) and np.array_equal(one.network.statistics, two.network.statistics)


# -- calls from within ------------------------------------------------------------------------------------------------


def calls_within(kind, hook):
    """All that does not change a model, from within its fit: on its numbers of now, which stay as they are."""
    alone, model = new(kind), new(kind)

    def act(given):
        one = model if given is None else given
        before = one.theta.copy(), one.network.statistics.copy()
        saved = io.BytesIO()
        one.save(saved)
        saved.seek(0)
        for other in (Sequential.load(saved), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert same(other, one)
            assert np.array_equal(other.predict(X), one.predict(X))
        for n in (1, 7, 75):
            assert one.predict(X[:n], n_threads=2).shape == (n, 1)
        assert np.isfinite(one.evaluate(X, Y, loss="squared_error"))
        value, _ = one.loss_and_grad(X, Y, loss="squared_error", training=True)
        assert one.objective(X, Y, loss="squared_error", training=True)(one.theta)[0] == value
        one.jacobian(X[:3])
        one.trace(X[:3])
        with contextlib.redirect_stdout(io.StringIO()):
            one.summary()
        find_learning_rate(one, X, Y, loss="squared_error", n_steps=30)
        fit(new(kind), kind, epochs=1)                                      # another model's
        assert np.array_equal(one.theta, before[0]) and np.array_equal(one.network.statistics, before[1])

    callback = In(hook, act)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(alone, kind, In("none", None), epochs=1)
        fit(alone, kind, In("none", None))
        fit(model, kind, callback, epochs=1)
        fit(model, kind, callback)
    return [callback.count > 0, bool(same(model, alone)), count_fits()]


def test_calls_from_within():
    cases = [[kind, hook] for kind in KINDS for hook in HOOKS]
    for case, ended in zip(cases, run_all(calls_within, cases)):
        assert ended.result() == [True, True, 0], case


# -- exceptions of every kind ---------------------------------------------------------------------------------------


class Mine(BaseException):
    """An exception that takes arguments of its own."""

    def __init__(self, one, *, two):
        super().__init__(one)


RAISED = {"SystemExit": lambda: SystemExit(3), "GeneratorExit": GeneratorExit, "StopIteration": StopIteration,
          "KeyboardInterrupt": KeyboardInterrupt, "MemoryError": MemoryError, "RecursionError": RecursionError,
          "FloatingPointError": lambda: FloatingPointError("Mine: it must be finite."), "Mine": lambda: Mine(1, two=2)}


def raising(kind, hook, name):
    """What a hook raises comes out, the model is as after its last whole epoch, and continues to the same bits."""
    error, model, whole = RAISED[name](), new(kind), new(kind)

    def act(_):
        if callback.armed:
            raise error

    callback = In(hook, act)
    callback.armed = False
    for one in (model, whole):
        fit(one, kind, callback, epochs=2)
    callback.armed = True
    try:
        fit(model, kind, callback, epochs=2)
    except BaseException as raised:
        assert raised is error, repr(raised)
    else:
        raise AssertionError("nothing came out")
    callback.armed = False
    assert count_fits() == 0 and 2 <= model.epoch <= 4
    if model.epoch > 2:
        fit(whole, kind, callback, epochs=model.epoch - 2)
    assert same(model, whole), "not whole epochs"
    if kind != "lbfgs":             # SciPy keeps its memory within a fit
        for one in (model, whole):
            fit(one, kind, callback)
        assert same(model, whole), "continues otherwise"
    model.reset()
    return True


def test_exceptions_of_every_kind():
    names = list(RAISED)
    cases = [[kind, hook, names[(i + j) % len(names)]] for i, kind in enumerate(KINDS) for j, hook in enumerate(HOOKS)]
    cases += [["adam", "on_epoch_end", name] for name in names] + [["cg", "on_epoch_begin", name] for name in names]
    for case, ended in zip(cases, run_all(raising, cases)):
        assert ended.result() is True, case


# -- settings that change during a fit ------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(schedules.Cosine(0.05, length=100), 0.9, ema=0.9), "adam": lambda: optimizers.Adam(),
    "cg": optimizers.ConjugateGradient, "gd": lambda: optimizers.GD(0.05, tol=0), "lm": optimizers.LevenbergMarquardt,
    "lbfgs": optimizers.LBFGS,
}
VALUES = {"word": "many", "none": None, "negative": -1, "nan": float("nan"), "huge": 10**30, "object": object(),
          "list": [1, 2, 3], "removed": None}


def settings_within(which, what, value):
    """The settings of an optimizer, loss or layer, each given another value: the fit ends as alone, or in an error."""
    optimizer, loss, stack = OPTIMIZERS[which](), losses.Huber(0.5) if which != "lm" else losses.get("squared_error"), [
        layers.Dense(8, "tanh"), layers.Dense(1)]
    model = Sequential(stack, random_state=0)

    def change(m, logs):
        changed = {"optimizer": [optimizer], "loss": [loss], "layers": list(m.layers),
                   "schedule": [getattr(optimizer, "learning_rate", None)]}[what]
        for one in changed:
            for name in list(getattr(one, "__dict__", ())):
                with contextlib.suppress(AttributeError, TypeError, ValueError):        # read-only, or checked
                    if value == "removed":
                        delattr(one, name)
                    else:
                        setattr(one, name, VALUES[value])
        stack.clear()

    try:
        model.fit(X, Y, loss=loss, optimizer=optimizer, epochs=3, callbacks=change, validation_data=VALIDATION)
    except (TypeError, ValueError, AttributeError, RuntimeError, FloatingPointError, OverflowError) as error:
        said = f"{type(error).__name__}: {error}"
    else:
        said = ""
    assert count_fits() == 0 and np.isfinite(model.theta).all()
    again = Sequential([layers.Dense(8, "tanh"), layers.Dense(1)], random_state=0).build(5)
    again.theta = model.theta
    assert np.array_equal(again.predict(X), model.predict(X))
    if what != "layers":
        model.reset().fit(X, Y, loss="squared_error", optimizer="adam", epochs=1)
    return said


def test_settings_that_change_during_a_fit():
    cases = [[which, what, value] for which in OPTIMIZERS for what in ("optimizer", "loss", "layers", "schedule")
             for value in VALUES if what != "schedule" or which == "sgd"]
    said = {"/".join(case): ended.result() for case, ended in zip(cases, run_all(settings_within, cases))}
    # those of layers were read before; an optimizer's count from the next epoch on, and are checked; of what losses
    # and schedules have read and computed with, Python's own errors may come
    sentence = re.compile(r"\w+Error: \w+: .* (must|became) ")
    assert [name for name, text in said.items() if text and "/layers/" in name] == []
    assert [text for name, text in said.items() if text and "/optimizer/" in name and not sentence.match(text)] == []


# -- arrays that become others ---------------------------------------------------------------------------------------


def arrays_within(which, how, kind):
    """The owner gives an array another dtype, strides or size, or a sparse matrix other arrays, in the middle."""
    rng = np.random.default_rng(0)
    dense, targets = (rng.standard_normal((64, k)).astype("float32") for k in (6, 2))
    rows = sp.csr_matrix(dense) if which == "sparse" else dense.copy()
    y, weights = targets.copy(), np.ones(64, "float32")
    validation = (dense.copy(), y.copy(), weights.copy())
    changed = {"X": [rows], "y": [y], "weights": [weights], "validation": list(validation), "sparse": [rows]}[which]
    options = {"loss": "squared_error", "optimizer": METHODS[kind], "epochs": 3, "batch_size": "auto"}
    if kind == "adam":
        options["batch_size"] = 16

    def change(model, logs):
        for array in changed:
            with contextlib.suppress(ValueError, AttributeError, TypeError):        # NumPy may refuse it
                if which == "sparse":
                    if how == "dtype":
                        array.data, array.indices = array.data.astype("int8"), array.indices.astype("int64")
                    elif how == "strides":
                        array.data, array.indices = array.data[:1], array.indices[:1]
                        array.indptr = array.indptr[:2]
                    else:
                        array.resize((1, 1))
                elif how == "dtype":
                    array.dtype = "float64" if array.ndim == 2 else "uint8"
                elif how == "strides":
                    array.strides = (0,) * array.ndim
                else:
                    array.resize((1,) * array.ndim)
        gc.collect()
        [np.full(10**4, 1e30) for _ in range(10)]           # whoever reads freed memory finds these

    found = []
    watched = {"sample_weight": weights, "validation_data": validation, "callbacks": [change]}
    for data, more in (((rows, y), watched), ((dense, targets), {})):
        model = Sequential([layers.Dense(8, "tanh"), layers.Dense(2)], random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(*data, **more, **options)
        found.append(model.theta)
    return bool(np.allclose(*found, 1e-3, 1e-5))


def test_arrays_that_become_others():
    cases = [[which, how, kind] for which in ("X", "y", "weights", "validation", "sparse")
             for how in ("dtype", "strides", "size") for kind in ("adam", "cg", "lm")]
    for case, ended in zip(cases, run_all(arrays_within, cases)):
        assert ended.result() is True, case


# -- references -------------------------------------------------------------------------------------------------------


def last_references(kind):
    """A callback removes the model's and the data's last names, and itself; the fit keeps what it needs."""
    expected = new(kind)
    fit(expected, kind, lambda m, logs: None, validation_data=VALIDATION)
    box = {"model": new(kind), "X": X.copy(), "y": Y.copy(), "validation": [a.copy() for a in VALIDATION]}
    found = []

    def forget(model, logs):
        box.clear()
        callbacks.clear()
        gc.collect()
        [np.full(10**4, 1e30) for _ in range(10)]
        found.append(model.theta.copy())

    callbacks = [forget]
    Xs, ys = box.pop("X"), box.pop("y")
    batches = [(Xs[:40], ys[:40]), (Xs[40:], ys[40:])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = {"X": batches} if kind == "batches" else {"X": Xs, "y": ys, "optimizer": METHODS[kind]}
        del Xs, ys, batches
        history = box.pop("model").fit(loss="squared_error", epochs=2, callbacks=callbacks,
                                       validation_data=tuple(box.pop("validation")), **data)
    return [len(found), bool(np.array_equal(found[-1], expected.theta)), sorted(history.history), count_fits()]


def test_a_model_without_references():
    for kind, ended in zip(KINDS, run_all(last_references, [[kind] for kind in KINDS])):
        assert ended.result()[:2] == [2, True] and ended.value[3] == 0, kind


def without_attributes(kind):
    """A callback removes all that the model consists of: an AttributeError, and nothing else is harmed."""
    model, other = new(kind), new(kind)
    with contextlib.suppress(AttributeError):
        fit(model, kind, lambda m, logs: m.__dict__.clear())
    fit(other, kind)
    return count_fits()


def test_a_model_without_attributes():
    assert [ended.result() for ended in run_all(without_attributes, [[kind] for kind in KINDS])] == [0] * len(KINDS)
