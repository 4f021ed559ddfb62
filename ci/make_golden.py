"""Writes the golden states that tests/test_golden.py holds the library to.

    python ci/make_golden.py

Five small networks in plain NumPy, each with its forward and backward pass written out by hand, in float64.
Nothing of the library is used here, so that a mistake in it cannot be in both places. Each gradient is
compared with central differences before its file is written. A file tests/golden/NAME.npz holds

    parameter.*      the weights, under the names that the library gives them
    X, y             a batch; sample_weight where the network is fitted with weights
    loss             of that batch at these weights
    gradient.*       of that loss
    rate, losses     of ten steps of gradient descent with that rate on the batch: the loss before each step
"""
from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden"
STEPS = 10


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def softmax_loss(a, codes):
    """Mean cross-entropy of the rows of a, and its gradient."""
    n = len(a)
    e = np.exp(a - a.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    loss = -np.mean(np.log(p[np.arange(n), codes]))
    d = p.copy()
    d[np.arange(n), codes] -= 1
    return loss, d / n


def squared_loss(a, y, w=None):
    """Weighted mean over rows of the mean over outputs of (a - y)^2, and its gradient."""
    w = np.ones(len(a)) if w is None else w
    r = a - y
    share = w[:, None] / w.sum() / a.shape[1]
    return np.sum(share * r**2), 2 * share * r


def dense_grad(g, name, x, d, W):
    """Enter the gradient of x W + b for d, the gradient of the result; that of x comes back."""
    g[f"{name}.kernel"] = x.T @ d
    g[f"{name}.bias"] = d.sum(axis=0)
    return d @ W.T


# Each network is a function (parameters, X, y, w) -> (loss, gradient by name).

def mlp_classifier(p, X, y, w):
    """6 -> 8 relu -> 5 tanh -> 3, softmax cross-entropy."""
    a0 = X @ p["dense_0.kernel"] + p["dense_0.bias"]
    h0 = np.maximum(a0, 0)
    h1 = np.tanh(h0 @ p["dense_1.kernel"] + p["dense_1.bias"])
    loss, d = softmax_loss(h1 @ p["dense_2.kernel"] + p["dense_2.bias"], y)
    g = {}
    d = dense_grad(g, "dense_2", h1, d, p["dense_2.kernel"]) * (1 - h1**2)
    d = dense_grad(g, "dense_1", h0, d, p["dense_1.kernel"]) * (a0 > 0)
    dense_grad(g, "dense_0", X, d, p["dense_0.kernel"])
    return loss, g


def mlp_regressor(p, X, y, w):
    """4 -> 6 tanh -> 5 tanh -> 2, squared error with sample weights."""
    h0 = np.tanh(X @ p["dense_0.kernel"] + p["dense_0.bias"])
    h1 = np.tanh(h0 @ p["dense_1.kernel"] + p["dense_1.bias"])
    loss, d = squared_loss(h1 @ p["dense_2.kernel"] + p["dense_2.bias"], y, w)
    g = {}
    d = dense_grad(g, "dense_2", h1, d, p["dense_2.kernel"]) * (1 - h1**2)
    d = dense_grad(g, "dense_1", h0, d, p["dense_1.kernel"]) * (1 - h0**2)
    dense_grad(g, "dense_0", X, d, p["dense_0.kernel"])
    return loss, g


def convolution(p, X, y, w):
    """(7, 6, 2) -> 3 filters of 3 x 2, tanh: (5, 5, 3) -> maxima of 2 x 2: (2, 2, 3) -> 4, cross-entropy."""
    K, b = p["conv2d_0.kernel"], p["conv2d_0.bias"]
    n = len(X)
    h = np.empty((n, 5, 5, 3))
    for i in range(5):
        for j in range(5):
            window = X[:, i:i + 3, j:j + 2, :]
            h[:, i, j] = np.tanh(np.einsum("nabc,abcf->nf", window, K) + b)
    pooled = np.empty((n, 2, 2, 3))
    which = np.empty((n, 2, 2, 3), int)          # of the four cells of each window
    for i in range(2):
        for j in range(2):
            window = h[:, 2 * i:2 * i + 2, 2 * j:2 * j + 2].reshape(n, 4, 3)
            which[:, i, j] = window.argmax(axis=1)
            pooled[:, i, j] = window.max(axis=1)
    flat = pooled.reshape(n, 12)
    loss, d = softmax_loss(flat @ p["dense_3.kernel"] + p["dense_3.bias"], y)
    g = {"conv2d_0.kernel": np.zeros_like(K), "conv2d_0.bias": np.zeros_like(b)}
    d = dense_grad(g, "dense_3", flat, d, p["dense_3.kernel"]).reshape(n, 2, 2, 3)
    dh = np.zeros_like(h)
    for r, i, j, f in np.ndindex(n, 2, 2, 3):
        cell = which[r, i, j, f]
        dh[r, 2 * i + cell // 2, 2 * j + cell % 2, f] = d[r, i, j, f]
    da = dh * (1 - h**2)
    for i in range(5):
        for j in range(5):
            g["conv2d_0.kernel"] += np.einsum("nabc,nf->abcf", X[:, i:i + 3, j:j + 2, :], da[:, i, j])
            g["conv2d_0.bias"] += da[:, i, j].sum(axis=0)
    return loss, g


def elman(p, X, y, w):
    """(6, 3) -> 5 tanh units, their last state -> 2, squared error."""
    W, U, b = p["rnn_0.kernel"], p["rnn_0.recurrent_kernel"], p["rnn_0.bias"]
    n, steps, _ = X.shape
    h = [np.zeros((n, 5))]
    for t in range(steps):
        h.append(np.tanh(X[:, t] @ W + h[t] @ U + b))
    loss, d = squared_loss(h[-1] @ p["dense_1.kernel"] + p["dense_1.bias"], y)
    g = {
        "rnn_0.kernel": np.zeros_like(W), "rnn_0.recurrent_kernel": np.zeros_like(U),
        "rnn_0.bias": np.zeros_like(b)}
    d = dense_grad(g, "dense_1", h[-1], d, p["dense_1.kernel"])
    for t in reversed(range(steps)):
        da = d * (1 - h[t + 1]**2)
        g["rnn_0.kernel"] += X[:, t].T @ da
        g["rnn_0.recurrent_kernel"] += h[t].T @ da
        g["rnn_0.bias"] += da.sum(axis=0)
        d = da @ U.T
    return loss, g


def lstm(p, X, y, w):
    """(6, 3) -> 4 LSTM units (gates i, f, g, o), their last state -> 3, softmax cross-entropy."""
    W, U, b = p["lstm_0.kernel"], p["lstm_0.recurrent_kernel"], p["lstm_0.bias"]
    n, steps, _ = X.shape
    h, c, gates = [np.zeros((n, 4))], [np.zeros((n, 4))], []
    for t in range(steps):
        a = np.split(X[:, t] @ W + h[t] @ U + b, 4, axis=1)
        i, f, v, o = sigmoid(a[0]), sigmoid(a[1]), np.tanh(a[2]), sigmoid(a[3])
        gates.append((i, f, v, o))
        c.append(f * c[t] + i * v)
        h.append(o * np.tanh(c[t + 1]))
    loss, dh = softmax_loss(h[-1] @ p["dense_1.kernel"] + p["dense_1.bias"], y)
    g = {
        "lstm_0.kernel": np.zeros_like(W), "lstm_0.recurrent_kernel": np.zeros_like(U),
        "lstm_0.bias": np.zeros_like(b)}
    dh = dense_grad(g, "dense_1", h[-1], dh, p["dense_1.kernel"])
    dc = np.zeros((n, 4))
    for t in reversed(range(steps)):
        i, f, v, o = gates[t]
        s = np.tanh(c[t + 1])
        dc = dc + dh * o * (1 - s**2)
        da = np.concatenate([
            dc * v * i * (1 - i), dc * c[t] * f * (1 - f), dc * i * (1 - v**2), dh * s * o * (1 - o)], axis=1)
        g["lstm_0.kernel"] += X[:, t].T @ da
        g["lstm_0.recurrent_kernel"] += h[t].T @ da
        g["lstm_0.bias"] += da.sum(axis=0)
        dh, dc = da @ U.T, dc * f
    return loss, g


def dense_shapes(first, *sizes):
    out = {}
    for i, (a, b) in enumerate(pairwise(sizes)):
        out |= {f"dense_{first + i}.kernel": (a, b), f"dense_{first + i}.bias": (b,)}
    return out


# name: (network, shape of a row, outputs, is the target a class, has it sample weights, learning rate,
# shapes of the parameters)
NETWORKS = {
    "mlp_classifier": (mlp_classifier, (6,), 3, True, False, 0.5, dense_shapes(0, 6, 8, 5, 3)),
    "mlp_regressor": (mlp_regressor, (4,), 2, False, True, 0.2, dense_shapes(0, 4, 6, 5, 2)),
    "convolution": (convolution, (7, 6, 2), 4, True, False, 0.2, {
        "conv2d_0.kernel": (3, 2, 2, 3), "conv2d_0.bias": (3,), **dense_shapes(3, 12, 4)}),
    "elman": (elman, (6, 3), 2, False, False, 0.1, {
        "rnn_0.kernel": (3, 5), "rnn_0.recurrent_kernel": (5, 5), "rnn_0.bias": (5,),
        **dense_shapes(1, 5, 2)}),
    "lstm": (lstm, (6, 3), 3, True, False, 0.5, {
        "lstm_0.kernel": (3, 16), "lstm_0.recurrent_kernel": (4, 16), "lstm_0.bias": (16,),
        **dense_shapes(1, 4, 3)}),
}


def check_gradient(network, p, g, *batch):
    """Refuse a gradient that is not that of the loss."""
    h = 1e-6
    for name, values in p.items():
        for index in np.ndindex(values.shape):
            at = values[index]
            values[index] = at + h
            above = network(p, *batch)[0]
            values[index] = at - h
            below = network(p, *batch)[0]
            values[index] = at
            numeric = (above - below) / (2 * h)
            if abs(numeric - g[name][index]) > 1e-8:
                raise SystemExit(
                    f"{network.__name__}: {name}{list(index)} is {g[name][index]}, numerically {numeric}")


def make(seed, network, row, k, codes, weighted, rate, shapes, n=12):
    """Everything that the file of one network holds."""
    rng = np.random.default_rng(seed)
    p = {name: 0.5 * rng.standard_normal(shape) for name, shape in shapes.items()}
    X = rng.standard_normal((n, *row))
    y = rng.integers(0, k, n) if codes else rng.standard_normal((n, k))
    w = rng.uniform(0.2, 2, n) if weighted else None
    loss, g = network(p, X, y, w)
    check_gradient(network, p, g, X, y, w)
    out = {f"parameter.{name}": values.copy() for name, values in p.items()}
    out |= {f"gradient.{name}": g[name] for name in p}
    out |= {"X": X, "y": y, "loss": loss, "rate": rate}
    if weighted:
        out["sample_weight"] = w
    losses = []
    for _ in range(STEPS):
        value, g = network(p, X, y, w)
        losses.append(value)
        for name in p:
            p[name] -= rate * g[name]
    return out | {"losses": np.array(losses)}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for seed, (name, network) in enumerate(NETWORKS.items()):
        path = FOLDER / f"{name}.npz"
        state = make(seed, *network)
        np.savez_compressed(path, **state)
        first, *_, last = state["losses"]
        print(f"{path.name}: {path.stat().st_size:,} bytes, losses from {first:.4f} to {last:.4f}")
