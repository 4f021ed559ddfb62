"""Layers and losses in NumPy that strangers wrote: a result or a sentence, whatever their functions return or do."""
import gc
import warnings

import numpy as np
from strangers import run_all

from ldl_cy import Sequential, layers, losses, optimizers

X = np.random.default_rng(0).standard_normal((50, 6))
Y = X[:, :2]


def forward(p, x):
    return x @ p["W"]


def backward(p, x, y, dy):
    return dy @ p["W"].T, {"W": x.T @ dy}


def error(y_pred, y):
    return ((y_pred - y) ** 2).mean(axis=1), 2 * (y_pred - y) / y.shape[1]


def layer(forward=forward, backward=backward, **settings):
    return layers.Custom(forward, backward, 2, {"W": (6, 2)}, **settings)


def model_of(forward=forward, backward=backward, dtype="float32"):
    return Sequential([layers.Dense(6), layer(forward, backward)], dtype, 0)


KEPT = []
CALLS = {"n": 0}


def keeps(f):
    """The function, which stores what it is given."""
    def kept(*arrays):
        KEPT.extend(arrays)
        return f(*arrays)
    return kept


def later(f, g, after=3):
    """f for some calls, then g."""
    CALLS["n"] = 0

    def changed(*arrays):
        CALLS["n"] += 1
        return (f if CALLS["n"] <= after else g)(*arrays)
    return changed


def with_W(change):
    return lambda p, x, y, dy: (dy @ p["W"].T, {"W": change(x.T @ dy)})


def with_dx(change):
    return lambda p, x, y, dy: (change(dy @ p["W"].T), {"W": x.T @ dy})


def with_loss(change):
    return lambda y_pred, y: (change(error(y_pred, y)[0]), error(y_pred, y)[1])


def with_gradient(change):
    return lambda y_pred, y: (error(y_pred, y)[0], change(error(y_pred, y)[1]))


NONSENSE = {
    "complex": lambda a: a + 1j, "words": lambda a: a.astype(str), "objects": lambda a: a.astype(object),
    "None": lambda a: None, "a word": lambda a: "no", "dates": lambda a: a.astype("M8[s]"),
    "a dict": lambda a: {"a": a}, "a generator": lambda a: iter(a), "ragged": lambda a: [[1.0], [2.0, 3.0]],
    "a row less": lambda a: a[1:], "an axis more": lambda a: a[None], "transposed": lambda a: a.reshape(-1, 1, 1, 1),
    "a number": lambda a: 3.0, "bytes": lambda a: a.tobytes(), "structured": lambda a: np.zeros(a.shape, "f4, f4"),
}
FORMS = {
    "float64": lambda a: a.astype(float), "half": lambda a: a.astype(np.float16), "a list": lambda a: a.tolist(),
    "Fortran order": lambda a: np.asfortranarray(a), "another byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "ints": lambda a: np.rint(a).astype(int),
    "bools": lambda a: a > 0, "read-only": lambda a: np.broadcast_to(a, a.shape),
    "masked": lambda a: np.ma.masked_array(a, False),
}
PLACES = {
    "forward": lambda change: (model_of(lambda p, x: change(forward(p, x))), losses.SquaredError()),
    "dx": lambda change: (model_of(backward=with_dx(change)), losses.SquaredError()),
    "gradients": lambda change: (model_of(backward=with_W(change)), losses.SquaredError()),
    "loss": lambda change: (model_of(), losses.Custom(with_loss(change))),
    "gradient": lambda change: (model_of(), losses.Custom(with_gradient(change))),
}


def fit_with(place, name, optimizer):
    model, loss = PLACES[place]({**NONSENSE, **FORMS}[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, Y, loss=loss, epochs=2, optimizer=optimizer)
    return bool(np.isfinite(model.theta).all())


def test_what_they_return():
    cases = [[place, name, optimizer] for place in PLACES for name in NONSENSE for optimizer in ("sgd", "lbfgs")]
    for case, ended in zip(cases, run_all(fit_with, cases)):
        assert ended.error in ("TypeError", "ValueError") and ended.text.startswith("Custom: "), (case, ended)
    cases = [[place, name, optimizer] for place in PLACES for name in FORMS for optimizer in ("sgd", "lbfgs")]
    for case, ended in zip(cases, run_all(fit_with, cases)):
        assert ended.result() is True, (case, ended)


HUGE = 1e300            # is infinite in float32


def overflows(place, value, dtype, optimizer):
    model, loss = PLACES[place](lambda a: a * 0 + np.asarray(value, float))
    model = Sequential(model.layers, dtype, 0).build(6)
    before = model.theta.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            model.fit(X, Y, loss=loss, epochs=2, optimizer=optimizer)
        finally:
            assert np.isfinite(model.theta).all()
            assert model.epoch or np.array_equal(model.theta, before)
    return "fitted"


def test_what_overflows():
    cases = [[place, value, dtype, optimizer] for place in PLACES for value in ("nan", "inf", "1e300", "-1e308")
             for dtype in ("float32", "float64") for optimizer in ("sgd", "lbfgs")]
    for case, ended in zip(cases, run_all(overflows, cases)):
        assert ended.value == "fitted" or ended.says(
            "FloatingPointError", "Sequential: the loss or a weight became non-finite in epoch "), (case, ended)
        assert ended.error or case[1] not in ("nan", "inf"), (case, ended)


def call_itself(what):
    model = model_of()

    def inner(f):
        def called(*arrays):
            {"fit": lambda: model.fit(X, Y, loss="squared_error", epochs=1),
             "predict": lambda: model.predict(X[:3]), "reset": lambda: model.reset(),
             "build": lambda: model.build(6), "evaluate": lambda: model.evaluate(X, Y, loss="squared_error"),
             "gradient": lambda: model.loss_and_grad(X, Y, loss="squared_error"),
             "jacobian": lambda: model.jacobian(X[:2]), "trace": lambda: model.trace(X[:2]),
             "save": lambda: model.save("/dev/null"), "summary": lambda: repr(model)}[what.split()[0]]()
            return f(*arrays)
        return called
    if what.endswith("loss"):
        loss = losses.Custom(inner(error))
    else:
        loss = losses.SquaredError()
        where = model.layers[1]
        where.backward = inner(backward) if what.endswith("backward") else where.backward
        where.forward = inner(forward) if what.endswith("forward") else where.forward
    try:
        model.fit(X, Y, loss=loss, epochs=2)
    except RecursionError as deep:
        raise RecursionError("Sequential: too deep") from deep
    finally:
        model.layers[1].forward, model.layers[1].backward = forward, backward
        assert len(model.fit(X, Y, loss="squared_error", epochs=1).epoch) == 1
    return bool(np.isfinite(model.theta).all())


def test_functions_that_call_the_model():
    cases = [[f"{what} in {where}"] for where in ("forward", "backward", "loss") for what in (
        "fit", "predict", "reset", "build", "evaluate", "gradient", "jacobian", "trace", "save", "summary")]
    for (case,), ended in zip(cases, run_all(call_itself, cases)):
        assert ended.value is True or ended.text.startswith(("Sequential: ", "save: ")), (case, ended)
        assert not case.startswith("fit") or ended.says("RuntimeError", "Sequential: another fit of this model")


def keep(what):
    """Arrays that a function keeps are its own: nothing changes them, and reading them later is no crash."""
    KEPT.clear()
    model = model_of(keeps(forward), keeps(backward))
    model.fit(X, Y, loss=losses.Custom(keeps(error)) if what == "loss" else "squared_error", epochs=1)
    arrays = [a for kept in KEPT for a in (kept.values() if isinstance(kept, dict) else [kept])]
    before = [np.array(a) for a in arrays]
    model.fit(X[::-1], Y[::-1], loss="squared_error", epochs=2)
    del model
    gc.collect()
    junk = [np.full(1 << 12, 7.0, np.float32) for _ in range(500)]
    same = all(np.array_equal(a, b) for a, b in zip(arrays, before))
    return [same, len(arrays) > 10, len(junk)]


def test_functions_that_keep_what_they_are_given():
    for ended in run_all(keep, [["layer"], ["loss"]]):
        assert ended.result() == [True, True, 500]


def change(where):
    """What they are given is read-only, or their own."""
    def damage(f):
        def damaged(*arrays):
            for given in arrays:
                for a in given.values() if isinstance(given, dict) else [given]:
                    try:
                        a.setflags(write=True)
                        a[...] = 1e6
                        a.resize(3, refcheck=False)
                    except ValueError:
                        pass
            return f(*[{**{k: np.zeros((6, 2)) for k in given}} if isinstance(given, dict) else np.zeros((
                CALLS["rows"], {"forward": 6}.get(where, 2))) for given in arrays])
        return damaged
    CALLS["rows"] = 50
    model = model_of()
    model.build(6)
    x = X.astype(np.float32)
    saved, theta = x.copy(), model.theta.copy()
    if where == "forward":
        model.layers[1].forward = damage(forward)
        model.predict(x)
    else:
        model.evaluate(x, Y, loss=losses.Custom(damage(error)))
    return [bool(np.array_equal(x, saved)), bool(np.array_equal(theta, model.theta))]


def test_functions_that_change_what_they_are_given():
    for ended in run_all(change, [["forward"], ["loss"]]):
        assert ended.result() == [True, True]


def sometimes(where):
    wrong = {"forward": lambda *a: forward(*a)[1:], "backward": lambda *a: None, "loss": lambda *a: error(*a)[0],
             "raises": lambda *a: 1 / 0}[where]
    f = later(forward, wrong) if where == "forward" else forward
    b = later(backward, wrong) if where in ("backward", "raises") else backward
    loss = losses.Custom(later(error, wrong)) if where == "loss" else losses.SquaredError()
    model = Sequential([layers.Dense(6), layer(f, b)], random_state=0).build(6)
    before = model.theta.copy()
    try:
        model.fit(X, Y, loss=loss, batch_size=8, epochs=1, shuffle=False)
    finally:
        assert np.array_equal(model.theta, before) and model.epoch == 0
        model.layers[1].forward, model.layers[1].backward = forward, backward
        model.fit(X, Y, loss="squared_error", epochs=1)
    return "fitted"


def test_functions_that_fail_sometimes():
    for where, ended in zip(("forward", "backward", "loss"), run_all(sometimes, [["forward"], ["backward"], ["loss"]])):
        assert ended.error in ("TypeError", "ValueError") and ended.text.startswith("Custom: "), (where, ended)
    assert run_all(sometimes, [["raises"]])[0].error == "ZeroDivisionError"


BACKWARD = {
    "gradients of None": (lambda p, x, y, dy: (dy @ p["W"].T, None), "Custom: backward must return a gradient for 'W'"),
    "an array of gradients": (lambda p, x, y, dy: (dy @ p["W"].T, x.T @ dy), "Custom: backward must return "),
    "a list": (lambda p, x, y, dy: [dy @ p["W"].T, {"W": x.T @ dy}], "Custom: backward must return (dx, gradients)"),
    "dx alone": (lambda p, x, y, dy: dy @ p["W"].T, "Custom: backward must return (dx, gradients)"),
}


def pass_back(name):
    model = model_of(backward=BACKWARD[name][0])
    model.fit(X, Y, loss="squared_error", epochs=1)


def test_what_backward_returns():
    for name, ended in zip(BACKWARD, run_all(pass_back, [[name] for name in BACKWARD])):
        assert ended.error in ("TypeError", "ValueError") and ended.text.startswith(BACKWARD[name][1]), (name, ended)


def test_second_order_methods_with_them():
    for optimizer in (optimizers.ConjugateGradient(), optimizers.LevenbergMarquardt()):
        model = model_of(dtype="float64")
        history = model.fit(X, Y, loss="squared_error", optimizer=optimizer, epochs=3)
        assert len(history.epoch) > 0 and np.isfinite(model.theta).all()
