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

from ldl_cy import Sequential, layers, losses
from ldl_cy._engine.plan import Plan
from ldl_cy._engine.pool import Pool
from ldl_cy._engine.program import Workspace
from ldl_cy.initializers import get as get_initializer

DTYPES = ["float64", "float32"]
GUARD = 24                      # numbers before and after every buffer


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
    """A kernel that is given the initial running statistics anew with every call."""

    def __init__(self, kernel, state):
        self.kernel, self.state = kernel, state.astype(kernel.dtype)

    def __getattr__(self, name):
        return getattr(self.kernel, name)

    def forward(self, *arguments, **options):
        return self.kernel.forward(*arguments, state=self.state.copy(), **options)

    def backward(self, *arguments, **options):
        return self.kernel.backward(*arguments, state=self.state.copy(), **options)


def close(a, b, tol):
    """|a - b| within tol of the largest entry (at least 1)."""
    scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
    np.testing.assert_allclose(np.asarray(a, float).ravel(), np.asarray(b, float).ravel(), rtol=0, atol=tol * scale)


def run(kernel, theta, x, seed=3, want_dx=True, want_grad=True, **options):
    """Forward, then backward with a fixed random dy: (y, dx, grad)."""
    options = {"training": True, "seed": 11, "epoch": 2, "step": 5, **options}
    y, cache, derived = kernel.forward(theta, x, **options)
    dy = np.random.default_rng(seed).standard_normal(y.shape).astype(kernel.dtype)
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
    options = {"training": True, "seed": 11, "epoch": 2, "step": 5}

    def loss(theta, x):
        return float(np.sum(r * kernel.forward(theta, x, **options)[0]))

    h = 1e-6
    for analytic, at in ((dx, x), (grad, theta)):
        numeric = np.empty(at.size)
        for i in range(at.size):
            moved = [at.copy(), at.copy()]
            moved[0].flat[i] += h
            moved[1].flat[i] -= h
            pair = [loss(theta, m) if at is x else loss(m, x) for m in moved]
            numeric[i] = (pair[0] - pair[1]) / (2 * h)
        close(analytic, numeric, 2e-7)


def check_grad_accumulates(case, dtype):
    _, kernel, theta, x = case.make(dtype)
    _, _, grad = run(kernel, theta, x)
    options = {"training": True, "seed": 11, "epoch": 2, "step": 5}
    y, cache, derived = kernel.forward(theta, x, **options)
    dy = np.random.default_rng(3).standard_normal(y.shape).astype(dtype)
    total = np.full(kernel.n_params, 2, dtype)
    kernel.backward(theta, x, y, dy, cache, derived=derived, grad=total, **options)
    close(total - 2, grad, 1e-11 if dtype == "float64" else 1e-4)


def check_dx_and_grad_may_be_null(case, dtype):
    _, kernel, theta, x = case.make(dtype)
    y, dx, grad = run(kernel, theta, x)
    np.testing.assert_array_equal(run(kernel, theta, x, want_dx=False)[2], grad)
    np.testing.assert_array_equal(run(kernel, theta, x, want_grad=False)[1], dx)
    run(kernel, theta, x, want_dx=False, want_grad=False)


def guarded(size, dtype, fill):
    """(whole, inner): an inner buffer between two guard zones."""
    whole = np.full(size + 2 * GUARD, 77.0, dtype)
    inner = whole[GUARD:GUARD + size]
    inner[:] = fill
    return whole, inner


def check_buffers_and_guards(case, dtype):
    """Buffers of NaN or of 1e3 give the same bits; nothing outside a buffer and no input is written."""
    _, kernel, theta, x = case.make(dtype)
    n = len(x)
    options = {"training": True, "seed": 11, "epoch": 2, "step": 5}
    results = []
    for fill in (np.nan, 1e3):
        sizes = {
            "theta": kernel.n_params, "x": x.size, "y": n * kernel.y_size, "dy": n * kernel.y_size,
            "dx": x.size, "grad": kernel.n_params, "cache": n * kernel.cache_size,
            "derived": kernel.n_derived, "scratch": n * kernel.scratch_size + kernel.scratch_fixed,
        }
        whole, b = {}, {}
        for key, size in sizes.items():
            whole[key], b[key] = guarded(size, dtype, fill)
        b["theta"][:] = theta
        b["x"][:] = x.ravel()
        b["grad"][:] = 0
        kernel.forward(b["theta"], b["x"], y=b["y"], cache=b["cache"], derived=b["derived"],
                       scratch=b["scratch"], **options)
        y = b["y"].copy()
        b["dy"][:] = np.random.default_rng(3).standard_normal(b["dy"].size)
        b["scratch"][:] = fill
        kernel.backward(b["theta"], b["x"], b["y"], b["dy"], b["cache"], derived=b["derived"],
                        dx=b["dx"], grad=b["grad"], scratch=b["scratch"], **options)
        for key, array in whole.items():
            assert (array[:GUARD] == 77).all() and (array[-GUARD:] == 77).all(), f"{key} was left"
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
    options = {"training": True, "seed": 11, "epoch": 2, "step": 5, "n_batch": n}
    y, cache, derived = kernel.forward(theta, x, **options)
    dy = np.random.default_rng(3).standard_normal(y.shape).astype(dtype)
    dx, grad = np.empty_like(x), np.zeros(kernel.n_params, dtype)
    kernel.backward(theta, x, y.copy(), dy.copy(), cache, derived=derived, dx=dx, grad=grad, **options)
    grad1 = np.zeros(kernel.n_params, dtype)
    for i in range(n):
        row = np.ascontiguousarray(x[i:i + 1])
        yi, cache, derived = kernel.forward(theta, row, row0=i, **options)
        close(yi, y[i], tol)
        dxi = np.empty_like(row)
        kernel.backward(theta, row, yi, dy[i:i + 1].copy(), cache, derived=derived, dx=dxi, grad=grad1,
                        row0=i, **options)
        close(dxi, dx[i], tol)
    close(grad1, grad, 10 * tol)


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
    assert case.layer.default_name().islower()


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
    _, _, theta, x = case.make(dtype, 11)
    graph = model.network.graph
    y = np.random.default_rng(5).standard_normal((11, *graph.shapes[-1]))
    targets, loss = losses.SquaredError().encode_targets(y, 11, graph.shapes[-1], dtype)
    results = []
    for threads, options in ((1, {}), *((t, {"block_rows": 2, "lanes": 3}) for t in (1, 2, 5))):
        plan = Plan(graph, True, 11, loss.target_size, input_gradient=True, **options)
        workspace = Workspace(plan, threads)
        workspace.share_above = 0
        grad, dx = np.full(theta.size, np.nan, dtype), np.full((11, graph.sizes[0]), np.nan, dtype)
        with Pool(threads) as pool:
            value = workspace.gradient(
                x.reshape(11, -1), targets, None, theta, np.zeros(graph.n_state, dtype), loss, grad, pool,
                training=True, seed=11, epoch=2, step=5, dx=dx)
        results.append((value, grad, dx))
    tol = 1e-11 if dtype == "float64" else 1e-4
    for a, b in zip(results[0], results[1]):
        close(a, b, tol)
    for other in results[2:]:
        for a, b in zip(other, results[1]):
            np.testing.assert_array_equal(a, b)


CHECKS = [
    check_sizes, check_forward, check_inference_is_forward, check_gradients, check_grad_accumulates,
    check_dx_and_grad_may_be_null, check_buffers_and_guards, check_rows_alone, check_read_only_input,
    check_config, check_in_a_model, check_threads,
]
