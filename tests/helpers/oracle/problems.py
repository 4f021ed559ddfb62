"""Models and batches of the networks that are compared, and the comparison."""
from __future__ import annotations

import numpy as np

from ldl_cy import Sequential


def compare(tally, what, found, expected, tol, floor=0.0):
    """The error relative to the largest entry (at least ``floor``); a NaN is never within tol."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape, what
    scale = max(float(np.abs(expected).max(initial=0.0)), floor)
    error = float(np.abs(found - expected).max(initial=0.0))
    if error > 0:
        error = error / scale if scale > 0 else np.inf
    assert error <= tol, f"{what}: error {error:.2e} of the largest entry {scale:.2e}"
    tally.error(what, error)


def make_batch(problem, output_shape):
    """(X, y, weights or None) in float64, with numbers that float32 holds exactly where that matters."""
    rng = np.random.default_rng(problem["seed"])
    n, k = problem["n"], problem["k"]
    if "ids" in problem:
        X = rng.integers(0, problem["ids"], (n, *problem["shape"])).astype(float)
    else:
        X = rng.standard_normal((n, *problem["shape"])).astype("float32").astype(float)
    if problem["loss"] in ("codes", "hinge"):
        y = rng.integers(0, k, (n, *output_shape[:-1]))
    elif problem["loss"] == "probabilities":
        y = rng.dirichlet(np.ones(k), (n, *output_shape[:-1]))
    elif problem["loss"] == "binary_log_loss":
        y = rng.integers(0, 2, (n, *output_shape)).astype(float)
    elif problem["loss"] == "poisson":
        y = rng.poisson(1.5, (n, *output_shape)).astype(float)
    else:
        y = rng.standard_normal((n, *output_shape))
    weights = rng.uniform(0.1, 3, n) if problem["weighted"] else None
    return X, y, weights


def make_model(problem, dtype):
    """A model with biases that are not zero; the weights fit into float32, so both dtypes have the same."""
    seed = problem["seed"]
    model = Sequential(problem["stack"], dtype=dtype, random_state=seed).build(problem["shape"])
    noise = 0.2 * np.random.default_rng(seed + 1).standard_normal(model.n_parameters)
    # initial weights are drawn in float64 and rounded: rounded twice they are the same for both dtypes
    model.theta = model.theta.astype("float32") + noise.astype("float32")
    rng = np.random.default_rng(seed + 2)
    for values in model.state.values():         # running statistics; 0.5 .. 2 does for variances
        values[...] = rng.uniform(0.5, 2, values.shape).astype("float32")
    return model
