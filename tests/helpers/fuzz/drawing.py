"""Strategies: arrays as users bring them, networks, losses, optimizers, and junk."""
from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from oracle import networks

from ldl_cy import layers as L
from ldl_cy import losses, optimizers, schedules

JUNK = [None, True, False, -1, 0, 1, 2, 3, 2**31, 2**70, -2**70, 0.0, 0.5, 1.0, -1.5, 1e-300, 1e300, float("nan"),
        float("inf"), "", "x", "tanh", "same", "zeros", b"x", [], (), {}, (1, 2), [2, 2], (0, 1), (1, "a"),
        {"a": 1}, 1j,
        np.int64(2), np.float32(0.5), np.bool_(True), np.array([1]), np.array(2), np.zeros((0, 3)), np.nan, object(),
        int, print, [None], [[1], [1, 2]], range(3), "float64", np.float64(3), L.Dense(2), L.GRU(2)]


def junk():
    return st.sampled_from(JUNK)


# -- arrays -------------------------------------------------------------------------------------------------

NUMBERS = ["float64", "float32", "float16", "longdouble", ">f8", ">f4", "<f8", "uint8", "int8", "int64",
           "uint64", ">i4",
           "bool"]
LAYOUTS = ["C", "C", "fortran", "rows", "reversed", "columns", "turned", "readonly", "memmap", "list",
           "matrix", "masked",
           "wrapped", "offset"]


class Wrapped:
    """What has no more than ``__array__``."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype) if copy or dtype is not None else self.array


def lay(array, layout, folder):
    """The same numbers in another layout, or in no array at all."""
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "rows":
        return np.repeat(array, 2, axis=0)[::2]
    if layout == "reversed":
        return np.ascontiguousarray(array[::-1])[::-1]
    if layout == "columns" and array.ndim > 1:
        return np.repeat(array, 3, axis=-1)[..., ::3]
    if layout == "turned" and array.ndim > 1:
        return np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    if layout == "readonly":
        array = array.copy()
        array.flags.writeable = False
        return array
    if layout == "memmap":
        path = folder / "array.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")
    if layout == "list":
        return array.tolist()
    if layout == "matrix" and array.ndim == 2:
        return np.asmatrix(array)
    if layout == "masked":
        return np.ma.array(array)
    if layout == "wrapped":
        return Wrapped(array)
    if layout == "offset":
        raw = np.zeros(array.nbytes + 1, np.uint8)     # numbers at odd addresses
        odd = raw[1:].view(array.dtype).reshape(array.shape)
        odd[...] = array
        return odd
    return array


@st.composite
def dressings(draw):
    return draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(LAYOUTS))


def dress(array, dressing, folder):
    """(the array in a dtype and a layout, a plain copy of it)"""
    dtype, layout = dressing
    with np.errstate(all="ignore"):
        array = array.astype(dtype)
    given = lay(array, layout, folder)
    return given, np.array(given, order="C")


def spoil(array, how):
    """An array that no model takes."""
    if how in ("nan", "inf", "-inf"):
        array = array.astype(float)
        array.flat[-1] = float(how)
        return array
    return {
        "complex": lambda: array.astype(complex), "object": lambda: array.astype(object),
        "str": lambda: array.astype(str),
        "none": lambda: None, "no rows": lambda: array[:0], "more axes": lambda: array[..., None, None],
        "number": lambda: 3.0, "ragged": lambda: [[1.0], [1.0, 2.0]], "time": lambda: np.zeros(array.shape, "M8[s]"),
        "fewer": lambda: array[:-1] if len(array) > 1 else array[:0], "more": lambda: np.concatenate([array, array]),
        "dict": lambda: {"a": array}, "empty": lambda: [], "text": lambda: "rows",
        "huge": lambda: np.full(array.shape, 1e300),
        "longdouble": lambda: np.full(array.shape, np.longdouble("1e4000")), "no numbers": lambda: array[..., :0],
        "records": lambda: np.zeros(len(array), [("a", "f4")]), "set": lambda: {1.0},
        "generator": lambda: (x for x in array),
        "negative": lambda: -1 - np.abs(array.astype(float)), "big": lambda: [[2**70]] * len(array),
    }[how]()


SPOILT = ["nan", "inf", "-inf", "complex", "object", "str", "none", "no rows", "more axes", "number", "ragged",
          "time",
          "fewer", "more", "dict", "empty", "text", "huge", "longdouble", "no numbers", "records", "set", "generator",
          "negative", "big"]


@st.composite
def sample_weights(draw, n):
    """(n,) weights of any size, or none."""
    kind = draw(st.sampled_from(["none"] * 6 + ["uniform", "zeros", "tiny", "huge", "mixed", "ints", "nothing"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    u = rng.uniform(0.1, 1, n)
    return {
        "none": None, "uniform": u, "zeros": u * (rng.uniform(size=n) < 0.5), "tiny": u * 1e-39, "huge": u * 1e38,
        "mixed": 10.0 ** rng.integers(-320, 30, n), "ints": rng.integers(0, 3, n), "nothing": np.zeros(n)}[kind]


# -- networks -----------------------------------------------------------------------------------------------

@np.errstate(all="ignore")
def wave(parameters, x):
    return np.sin(x * parameters["frequency"])


@np.errstate(all="ignore")
def wave_back(parameters, x, y, dy):
    slope = dy * np.cos(x * parameters["frequency"])
    return slope * parameters["frequency"], {"frequency": (slope * x).sum(axis=0)}


CUSTOM = {"wave": wave, "wave_back": wave_back}


@st.composite
def custom_networks(draw):
    n = draw(st.integers(1, 6))
    middle = L.Custom(wave, wave_back, n, {"frequency": n})
    before = draw(st.lists(networks.dense_layers(), max_size=1))
    return (draw(st.integers(1, 5)),), [*before, L.Dense(n), middle]


KINDS = {
    "dense": networks.dense_networks(), "conv1d": networks.conv1d_networks(), "conv2d": networks.conv2d_networks(),
    "recurrent": networks.recurrent_networks(), "mixed": networks.mixed_networks(),
    "normalized": networks.normalized_networks(), "branching": networks.branching_networks(),
    "bidirectional": networks.bidirectional_networks(), "tokens": networks.token_networks(),
    "custom": custom_networks()}


@np.errstate(all="ignore")
def squares(y_pred, y):
    """A loss in NumPy."""
    gap = y_pred - y.reshape(y_pred.shape)
    axes = tuple(range(1, gap.ndim))
    return (gap**2).sum(axis=axes), 2 * gap


LOSSES = [
    "squared_error", "absolute_error", "huber", "quantile", "poisson", "log_loss", "binary_log_loss", "hinge",
    losses.Huber(0.3), losses.Quantile(0.9), losses.LogLoss(0.1), losses.Poisson(True, scale=2.0),
    losses.SquaredError(scale=1e-3), losses.Custom(squares)]


def targets(loss, shape, n, rng):
    """Targets that a loss takes for an output of a shape."""
    name = loss if isinstance(loss, str) else loss.name
    if name in ("log_loss", "hinge") and shape[-1] > 1:
        return rng.integers(0, shape[-1], (n, *shape[:-1]))
    y = rng.standard_normal((n, *shape))
    if name == "poisson":
        return np.abs(y)
    return (y > 0).astype(float) if name in ("binary_log_loss", "hinge") else y


@st.composite
def rates(draw):
    by = draw(st.sampled_from(["step", "epoch"]))
    rate, n = draw(st.sampled_from([1e-3, 1e-2, 0.1])), draw(st.integers(1, 9))
    cosine = schedules.Cosine(rate, n, by=by)
    return draw(st.sampled_from([
        rate, rate, rate, 1e-300, 1e3, 1e30, 1e300, schedules.Constant(rate), schedules.Step(rate, 0.5, n, by=by),
        schedules.Exponential(rate, 0.9, by=by), schedules.InverseScaling(rate, by=by),
        schedules.Linear(rate, n, by=by), cosine, schedules.OneCycle(rate, n + 2), schedules.Warmup(cosine, n, by=by),
        schedules.Warmup(rate, n)]))


STEP_RULES = [kind for kind in optimizers.OPTIMIZERS.values() if issubclass(kind, optimizers.StepRule)]


@st.composite
def step_rules(draw):
    options = {"clip_norm": draw(st.sampled_from([None, None, 1e-3, 1.0, 1e300])),
               "weight_decay": draw(st.sampled_from([0.0, 0.0, 1e-2, 1e3])),
               "ema": draw(st.sampled_from([None, None, 0.9]))}
    kind = draw(st.sampled_from(STEP_RULES))
    if kind is optimizers.SGD:
        options.update(momentum=draw(st.sampled_from([0.0, 0.9, 1.0])), nesterov=draw(st.booleans()))
    if kind is optimizers.RMSprop:
        options.update(momentum=draw(st.sampled_from([0.0, 0.9])), centered=draw(st.booleans()))
    return kind(draw(rates()), **options)


FULL_BATCH = [
    *(kind() for kind in optimizers.OPTIMIZERS.values() if issubclass(kind, optimizers.FullBatchMethod)),
    optimizers.LBFGS(0.0, 1, 3), optimizers.ConjugateGradient(0.0),
    optimizers.LevenbergMarquardt(1e3, 0.0, bayesian=True),
    optimizers.GD(1.0, line_search=True), optimizers.GD(0.1, tol=1e-3, criterion="loss"),
    optimizers.GD(1e10, 0.0, line_search=True)]


def all_optimizers():
    return st.one_of(step_rules(), step_rules(), st.sampled_from(FULL_BATCH))


@st.composite
def problems(draw):
    """A network with an output layer, its data, and how it is trained."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    shape, stack = draw(KINDS[kind])
    stack = [*stack, L.Dense(draw(st.integers(1, 4)))]
    n = draw(st.integers(1, 12))
    return {
        "kind": kind, "shape": shape, "stack": stack, "n": n, "dtype": draw(st.sampled_from(["float32", "float64"])),
        "seed": draw(st.integers(0, 2**32)), "loss": draw(st.sampled_from(LOSSES)),
        "weights": draw(sample_weights(n)),
        "scale": draw(st.sampled_from([1.0] * 8 + [0.0, 1e-30, 1e3, 1e30])), "optimizer": draw(all_optimizers()),
        "lengths": kind in ("recurrent", "bidirectional", "tokens") and draw(st.booleans()),
        "options": {
            "batch_size": draw(st.sampled_from(["auto", "auto", "full", 1, 3, 1000])),
            "epochs": draw(st.integers(1, 3)),
            "alpha": draw(st.sampled_from([0.0, 1e-3, 10.0, 1e30])), "shuffle": draw(st.booleans()),
            "n_threads": draw(st.sampled_from([None, 1, 2, 3])),
            "validation_split": draw(st.sampled_from([0.0] * 4 + [0.3]))}}


def data_of(problem, output_shape):
    """X, y, weights and lengths of a problem."""
    rng = np.random.default_rng(problem["seed"])
    n, shape = problem["n"], problem["shape"]
    if problem["kind"] == "tokens":
        X = rng.integers(0, 11, (n, *shape)).astype(float)
    else:
        X = problem["scale"] * rng.standard_normal((n, *shape))
    lengths = rng.integers(1, shape[0] + 1, n) if problem["lengths"] else None
    return X, targets(problem["loss"], output_shape, n, rng), problem["weights"], lengths
