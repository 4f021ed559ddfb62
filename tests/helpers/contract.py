"""The contract of a layer: one table of cases, one list of checks, for every layer there is.

A test file of a layer lists its cases, each with an independent NumPy reference, and runs

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("case", CASES, ids=str)
    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check, case, dtype):
        check(case, dtype)
"""
from __future__ import annotations

import copy
import math
import pickle
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from buffers import Guarded
from compare import DTYPES, close
from gradients import check_gradient
from steps import STEP, check_blocks_and_threads, run_model_step

from ldl_cy import Sequential, layers
from ldl_cy.initializers import get as get_initializer

__all__ = ["CHECKS", "DTYPES", "LayerCase", "close", "run"]


@dataclass
class LayerCase:
    """A layer, the shape of its input, and what it should compute.

    ``reference(parameters, x) -> y`` works in float64 on x of (n, *input_shape) with the layer's
    parameters in a dict by name. ``data`` makes x where standard normal numbers will not do. Running
    statistics are the initial ones.
    """

    name: str
    layer: Any
    input_shape: tuple[int, ...]
    reference: Callable[[dict[str, np.ndarray], np.ndarray], np.ndarray]
    n: int = 5
    data: Callable[[np.random.Generator, int], np.ndarray] | None = None
    options: dict[str, Any] = field(default_factory=dict)   # of the kernel's call, e.g. seed

    def __str__(self) -> str:
        return self.name

    def make(self, dtype: str, n: int | None = None):
        """(built, kernel, theta, x) with random theta and x; the same numbers for both dtypes."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        n = self.n if n is None else n
        built = self.layer.build(self.input_shape)
        kernel = built.kernel(dtype)
        if kernel.n_state:
            kernel = Stateful(kernel, np.concatenate([
                get_initializer(self.name, p.name, p.initializer)(p.shape, None).ravel() for p in built.state]))
        theta = 0.5 * rng.standard_normal(sum(p.size for p in built.parameters))
        shape = (n, *self.input_shape)
        x = self.data(rng, n) if self.data else rng.standard_normal(shape)
        return built, kernel, theta.astype(dtype), np.ascontiguousarray(x.reshape(shape).astype(dtype))

    def parameters(self, built, theta) -> dict[str, np.ndarray]:
        out, start = {}, 0
        for p in built.parameters:
            out[p.name] = theta[start:start + p.size].reshape(p.shape).astype(np.float64)
            start += p.size
        return out


class Stateful:
    """A kernel that is given the initial running statistics with every call."""

    def __init__(self, kernel, state):
        self.kernel, self.state = kernel, state.astype(kernel.dtype)

    def __getattr__(self, name):
        return getattr(self.kernel, name)

    def forward(self, *arguments, **options):
        return self.kernel.forward(*arguments, state=self.state.copy(), **options)

    def backward(self, *arguments, **options):
        return self.kernel.backward(*arguments, state=self.state.copy(), **options)


def run(kernel, theta, x, dy=None, want_dx=True, want_grad=True, **options):
    """Forward, then backward with dy, or a fixed random one: (y, dx, grad)."""
    options = {**STEP, **options}
    y, cache, derived = kernel.forward(theta, x, **options)
    dy = np.random.default_rng(3).standard_normal(y.shape) if dy is None else np.reshape(dy, y.shape)
    dy = dy.astype(kernel.dtype)                # a copy: backward may write into it
    dx = np.full(x.shape, np.nan, kernel.dtype) if want_dx else None
    grad = np.zeros(kernel.n_params, kernel.dtype) if want_grad else None
    kernel.backward(theta, x, y.copy(), dy, cache, derived=derived, dx=dx, grad=grad, **options)
    return y, dx, grad


def check_sizes(case, dtype):
    built, kernel, theta, x = case.make(dtype)
    assert kernel.n_params == theta.size
    assert kernel.x_size == math.prod(case.input_shape)
    assert kernel.y_size == math.prod(built.output_shape)
    assert kernel.dtype == dtype
    y, _, _ = kernel.forward(theta, x)
    reference = case.reference(case.parameters(built, theta), x.astype(float))
    assert reference.shape == (case.n, *built.output_shape)
    assert y.size == reference.size


def check_forward(case, dtype):
    for n in (case.n, 1):
        built, kernel, theta, x = case.make(dtype, n)
        y, _, _ = kernel.forward(theta, x, **case.options)
        close(y, case.reference(case.parameters(built, theta), x.astype(float)),
              1e-12 if dtype == "float64" else 1e-5)


def check_inference_is_forward(case, dtype):
    _, kernel, theta, x = case.make(dtype)
    kept, _, _ = kernel.forward(theta, x)
    alone, cache, _ = kernel.forward(theta, x, keep=False)
    assert cache is None
    np.testing.assert_array_equal(kept, alone)


def check_gradients(case, dtype):
    """Both gradients of sum(r * y) against central differences, in float64; float32 against float64."""
    _, kernel, theta, x = case.make("float64")
    _, dx, grad = run(kernel, theta, x)
    if dtype == "float32":
        _, kernel32, theta32, x32 = case.make("float32")
        _, dx, grad = run(kernel, theta32.astype(float), x32.astype(float))
        _, dx32, grad32 = run(kernel32, theta32, x32)
        close(dx32, dx, 1e-4)
        close(grad32, grad, 1e-4)
        return
    r = np.random.default_rng(3).standard_normal((len(x), kernel.y_size))

    def loss(theta, x):
        return float(np.sum(r * kernel.forward(theta, x, **STEP)[0]))

    check_gradient(lambda x: loss(theta, x), x, dx)
    check_gradient(lambda theta: loss(theta, x), theta, grad)


def check_grad_accumulates(case, dtype):
    _, kernel, theta, x = case.make(dtype)
    _, _, grad = run(kernel, theta, x)
    y, cache, derived = kernel.forward(theta, x, **STEP)
    dy = np.random.default_rng(3).standard_normal(y.shape).astype(dtype)
    total = np.full(kernel.n_params, 2, dtype)
    kernel.backward(theta, x, y, dy, cache, derived=derived, grad=total, **STEP)
    close(total - 2, grad, 1e-11 if dtype == "float64" else 1e-4)


def check_dx_and_grad_may_be_null(case, dtype):
    _, kernel, theta, x = case.make(dtype)
    y, dx, grad = run(kernel, theta, x)
    np.testing.assert_array_equal(run(kernel, theta, x, want_dx=False)[2], grad)
    np.testing.assert_array_equal(run(kernel, theta, x, want_grad=False)[1], dx)
    run(kernel, theta, x, want_dx=False, want_grad=False)


def check_buffers_and_guards(case, dtype):
    """Buffers of NaN or of 1e3 give the same bits; nothing outside a buffer and no input is written."""
    _, kernel, theta, x = case.make(dtype)
    n = len(x)
    results = []
    for fill in (np.nan, 1e3):
        sizes = {
            "theta": kernel.n_params, "x": x.size, "y": n * kernel.y_size, "dy": n * kernel.y_size,
            "dx": x.size, "grad": kernel.n_params, "cache": n * kernel.cache_size,
            "derived": kernel.n_derived, "scratch": n * kernel.scratch_size + kernel.scratch_fixed,
        }
        guarded = Guarded(dtype)
        b = {key: guarded(np.full(size, fill), 24, key) for key, size in sizes.items()}
        b["theta"][:] = theta
        b["x"][:] = x.ravel()
        b["grad"][:] = 0
        kernel.forward(b["theta"], b["x"], y=b["y"], cache=b["cache"], derived=b["derived"],
                       scratch=b["scratch"], **STEP)
        y = b["y"].copy()
        b["dy"][:] = np.random.default_rng(3).standard_normal(b["dy"].size)
        b["scratch"][:] = fill
        kernel.backward(b["theta"], b["x"], b["y"], b["dy"], b["cache"], derived=b["derived"],
                        dx=b["dx"], grad=b["grad"], scratch=b["scratch"], **STEP)
        guarded.check()
        np.testing.assert_array_equal(b["theta"], theta)
        np.testing.assert_array_equal(b["x"], x.ravel())
        np.testing.assert_array_equal(b["y"], y)
        results.append((y, b["dx"].copy(), b["grad"].copy()))
    for first, second in zip(*results):
        assert np.isfinite(first).all()
        np.testing.assert_array_equal(first, second)


def check_rows_alone(case, dtype):
    """Rows computed one by one equal rows computed together, to rounding."""
    _, kernel, theta, x = case.make(dtype)
    if kernel.couples_rows:
        pytest.skip("the rows of this op are coupled")
    tol = 1e-12 if dtype == "float64" else 2e-5
    n = len(x)
    y, cache, derived = kernel.forward(theta, x, **STEP)
    dy = np.random.default_rng(3).standard_normal(y.shape).astype(dtype)
    dx, grad = np.empty_like(x), np.zeros(kernel.n_params, dtype)
    kernel.backward(theta, x, y.copy(), dy.copy(), cache, derived=derived, dx=dx, grad=grad, **STEP)
    grad1 = np.zeros(kernel.n_params, dtype)
    for i in range(n):
        row = np.ascontiguousarray(x[i:i + 1])
        yi, cache, derived = kernel.forward(theta, row, row0=i, **STEP)
        close(yi, y[i], tol)
        dxi = np.empty_like(row)
        kernel.backward(theta, row, yi, dy[i:i + 1].copy(), cache, derived=derived, dx=dxi, grad=grad1,
                        row0=i, **STEP)
        close(dxi, dx[i], tol)
    close(grad1, grad, 10 * tol)


def check_draws(case, dtype):
    """Only an op that is flagged so computes something else in another step, whatever it has drawn in this one."""
    _, kernel, theta, x = case.make(dtype)
    if kernel.draws:
        pytest.skip("this op draws random numbers")
    for other in ("seed", "epoch", "step"):
        for first, second in zip(run(kernel, theta, x), run(kernel, theta, x, **{other: STEP[other] + 1})):
            np.testing.assert_array_equal(first, second)


def check_read_only_input(case, dtype):
    _, kernel, theta, x = case.make(dtype)
    y, _, _ = kernel.forward(theta, x)
    theta.flags.writeable = x.flags.writeable = False
    np.testing.assert_array_equal(kernel.forward(theta, x)[0], y)


def check_config(case, dtype):
    """Building changes nothing; config, repr and pickle give the layer back."""
    layer = case.layer
    before = copy.deepcopy(layer.get_config())
    first, second = layer.build(case.input_shape), layer.build(case.input_shape)
    assert first.output_shape == second.output_shape and first.parameters == second.parameters
    assert layer.get_config() == before
    assert type(layer)(**before) == layer
    assert pickle.loads(pickle.dumps(layer)) == layer
    assert eval(repr(layer), vars(layers).copy()) == layer
    # acronyms stay together: conv2d, max_pool2d
    assert layer.default_name().replace("_", "") == type(layer).__name__.lower()
    assert not layer.default_name().startswith("_")


def model_of(case, dtype):
    """The layer alone as a model, with the case's weights."""
    _, _, theta, x = case.make(dtype)
    model = Sequential([case.layer], dtype=dtype, random_state=0).build(case.input_shape)
    model.theta[:] = theta
    return model, x


def check_in_a_model(case, dtype):
    """A model predicts what the kernel gives, names the parameters, and survives files and pickle."""
    model, x = model_of(case, dtype)
    built, kernel, theta, _ = case.make(dtype)
    tol = 1e-12 if dtype == "float64" else 1e-5
    y = kernel.forward(theta, x)[0].reshape(case.n, *built.output_shape)
    found = model.predict(x)
    assert found.shape == y.shape and found.dtype == dtype
    close(found, y, tol)
    name = case.layer.name or f"{case.layer.default_name()}_0"
    assert list(model.parameters) == [f"{name}.{p.name}" for p in built.parameters]
    close(np.concatenate([np.ravel(v) for v in model.parameters.values()]) if theta.size else theta, theta, 0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(x), found)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model")
        loaded = Sequential.load(f"{folder}/model")
    np.testing.assert_array_equal(loaded.predict(x), found)
    assert loaded.layers == model.layers
    close(next(iter(model.trace(x).values())), y, tol)


def check_threads(case, dtype):
    """Blocks of two rows in three lanes: 1, 2 and 5 threads give the same bits, and what one block gives."""
    model, _ = model_of(case, dtype)
    _, _, _, x = case.make(dtype, 11)
    y = np.random.default_rng(5).standard_normal((11, *model.output_shape))
    check_blocks_and_threads(lambda threads, **options: run_model_step(model, x, y, threads, **options),
                             1e-11 if dtype == "float64" else 1e-4)


CHECKS = [
    check_sizes, check_forward, check_inference_is_forward, check_gradients, check_grad_accumulates,
    check_dx_and_grad_may_be_null, check_buffers_and_guards, check_rows_alone, check_draws,
    check_read_only_input, check_config, check_in_a_model, check_threads,
]
