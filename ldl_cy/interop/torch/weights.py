"""torch's weights and ours, layer by layer: arrays of both names and layouts, in NumPy alone.

    Linear       weight (out, in)                        kernel (in, out); rows reordered behind a Flatten of (c, h, w)
    Conv1d, 2d   weight (out, in / groups, k, k)         kernel (k, k, in / groups, out)
    BatchNorm    weight, bias, running_mean, running_var gamma, beta, mean, variance
    LayerNorm    weight, bias                            gamma, beta
    PReLU        weight                                  alpha
    Embedding    weight                                  table
    CategoryEmbedding  table_0, counts_0, ...            NAME.table, NAME.counts
    RNN, LSTM    weight_ih, weight_hh (gates u, in)      kernel, recurrent_kernel: transposed, gates i, f, g, o in both
                 bias_ih, bias_hh                        bias: their sum
    GRU          gates r, z, n in both                   bias: the sum, but for n; recurrent_bias: bias_hh of n

https://docs.pytorch.org/docs/stable/nn.html. Its running variance is unbiased, the sum of squares divided by the count
less one, and ours is biased: equal in inference, and different when training continues.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ldl_cy.interop.layouts import Layout, gather, spread

Arrays = Mapping[str, np.ndarray]
COUNTER = "num_batches_tracked"         # of batches in torch's BatchNorm, which nothing here needs


class Conversion(NamedTuple):
    """Both directions of a layer's weights.

    Attributes
    ----------
    to_theirs : function of our arrays by their own names, "kernel"; returns torch's by theirs, "weight"
    to_ours : function of torch's arrays, which returns ours
    """

    to_theirs: Callable[[Arrays], dict[str, np.ndarray]]
    to_ours: Callable[[Arrays], dict[str, np.ndarray]]


def _with_bias(there: dict[str, np.ndarray], source: Arrays, name: str) -> dict[str, np.ndarray]:
    return {**there, name: source["bias"]} if "bias" in source else there


def linear(layout: Layout) -> Conversion:
    """Of a Dense layer whose input has this layout."""
    def to_theirs(w: Arrays) -> dict[str, np.ndarray]:
        return _with_bias({"weight": spread(w["kernel"], layout.places).T}, w, "bias")

    def to_ours(a: Arrays) -> dict[str, np.ndarray]:
        return _with_bias({"kernel": gather(a["weight"].T, layout.places)}, a, "bias")

    return Conversion(to_theirs, to_ours)


def convolution(axes: int) -> Conversion:
    """Of a convolution whose windows have ``axes`` axes."""
    to_ours_axes = (*range(2, axes + 2), 1, 0)
    to_theirs_axes = (axes + 1, axes, *range(axes))
    return Conversion(
        lambda w: _with_bias({"weight": w["kernel"].transpose(to_theirs_axes)}, w, "bias"),
        lambda a: _with_bias({"kernel": a["weight"].transpose(to_ours_axes)}, a, "bias"))


BATCH_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}


def batch_norm(layout: Layout) -> Conversion:
    """Of a BatchNorm whose input has this layout."""
    def to_theirs(w: Arrays) -> dict[str, np.ndarray]:
        arrays = {key: spread(w[own], layout.places) for key, own in BATCH_NORM.items()}
        return {**arrays, COUNTER: np.array(0, np.int64)}

    def to_ours(a: Arrays) -> dict[str, np.ndarray]:
        ones, zeros = np.ones_like(a["running_var"]), np.zeros_like(a["running_var"])
        found = {"weight": ones, "bias": zeros, **a}            # without affine they have none
        return {own: gather(found[key], layout.places) for key, own in BATCH_NORM.items()}

    return Conversion(to_theirs, to_ours)


def layer_norm(layout: Layout, count: int) -> Conversion:
    """Of a LayerNorm over the last ``count`` axes there; ours are in the order of our axes."""
    axes = np.argsort(layout.order[-count:])
    names = {"weight": "gamma", "bias": "beta"}
    return Conversion(
        lambda w: {key: spread(w[own].transpose(np.argsort(axes)), layout.places) for key, own in names.items()},
        lambda a: {own: gather(a[key].transpose(axes), layout.places) for key, own in names.items()})


def prelu(layout: Layout, shape: tuple[int, ...]) -> Conversion:
    """Of slopes that torch counts along one axis and we in this shape."""
    return Conversion(lambda w: {"weight": spread(w["alpha"].ravel(), layout.places)},
                      lambda a: {"alpha": gather(a["weight"], layout.places).reshape(shape)})


def broadcast(layout: Layout, names: Mapping[str, str]) -> Conversion:
    """Of arrays with all axes of the value, some of length 1, by the names there."""
    back = np.argsort(layout.order)
    return Conversion(
        lambda w: {key: spread(w[own].transpose(layout.order), layout.places) for key, own in names.items()},
        lambda a: {own: gather(a[key].transpose(back), layout.places) for key, own in names.items()})


def embedding() -> Conversion:
    """Of a table."""
    return Conversion(lambda w: {"weight": w["table"]}, lambda a: {"table": a["weight"]})


def category_embedding(names: Sequence[str]) -> Conversion:
    """Of a table, and the counts of its rows, for each of these columns."""
    # parameters, then buffers, as in a state dict
    pairs = {f"{kind}_{i}": f"{name}.{kind}" for kind in ("table", "counts") for i, name in enumerate(names)}
    return Conversion(lambda w: {key: w[own] for key, own in pairs.items()},
                      lambda a: {own: a[key] for key, own in pairs.items()})


def recurrent(kind: str, suffix: str = "_l0") -> Conversion:
    """Of a layer in one direction, "RNN", "LSTM" or "GRU"; torch's names end with a suffix."""
    def to_theirs(w: Arrays) -> dict[str, np.ndarray]:
        arrays = {f"weight_ih{suffix}": w["kernel"].T, f"weight_hh{suffix}": w["recurrent_kernel"].T}
        if "bias" in w:
            hidden = np.zeros_like(w["bias"])
            if kind == "GRU":
                hidden[-len(w["recurrent_bias"]):] = w["recurrent_bias"]
            arrays |= {f"bias_ih{suffix}": w["bias"], f"bias_hh{suffix}": hidden}
        return arrays

    def to_ours(a: Arrays) -> dict[str, np.ndarray]:
        weights = {"kernel": a[f"weight_ih{suffix}"].T, "recurrent_kernel": a[f"weight_hh{suffix}"].T}
        if f"bias_ih{suffix}" in a:
            bias, hidden = a[f"bias_ih{suffix}"].copy(), a[f"bias_hh{suffix}"]
            if kind == "GRU":
                units = len(hidden) // 3
                weights["recurrent_bias"], hidden = hidden[2 * units:], hidden[:2 * units]
            added = np.flatnonzero(hidden)              # where there is nothing to add, -0 stays -0
            bias[added] += hidden[added]
            weights["bias"] = bias
        return weights

    return Conversion(to_theirs, to_ours)


def bidirectional(kind: str) -> Conversion:
    """Of the two directions."""
    each = {"forward.": recurrent(kind), "backward.": recurrent(kind, "_l0_reverse")}

    def to_theirs(w: Arrays) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for prefix, one in each.items():
            arrays |= one.to_theirs({key.removeprefix(prefix): v for key, v in w.items() if key.startswith(prefix)})
        return arrays

    def to_ours(a: Arrays) -> dict[str, np.ndarray]:
        return {prefix + key: v for prefix, one in each.items() for key, v in one.to_ours(a).items()}

    return Conversion(to_theirs, to_ours)
