"""Keras' recurrent layers as ours: the gates of an LSTM are in the same order, those of a GRU are not."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ldl_cy import layers
from ldl_cy.interop.assembly import Imported
from ldl_cy.interop.keras.settings import Make, Read, Settings
from ldl_cy.layers.base import Shape


def recurrent(s: Settings) -> tuple[layers.RNN | layers.LSTM | layers.GRU, Callable[[Shape], list[Shape]],
                                    Callable[[Sequence[np.ndarray]], dict[str, np.ndarray]]]:
    """A recurrent layer, the shapes of Keras' weights for a shape of the input, and what makes ours of them."""
    kind = {"SimpleRNN": layers.RNN, "LSTM": layers.LSTM, "GRU": layers.GRU}[s.class_name]
    options: dict[str, Any] = s.common()
    for name in ("return_sequences", "go_backwards"):
        options[name] = s.get(name, False)
    options["use_bias"] = bias = s.get("use_bias", True)
    s.must("stateful", False)
    s.must("return_state", False)
    if kind is layers.RNN:
        options["activation"] = s.activation(s.get("activation"))
    else:
        s.must("activation", "tanh")
        s.must("recurrent_activation", "sigmoid")
    if kind is layers.GRU:
        s.must("reset_after", True)
    layer = kind(s.get("units"), **options)
    units, names = layer.units, ("kernel", "recurrent_kernel", "bias")[:3 if bias else 2]

    def shapes(shape: Shape) -> list[Shape]:
        found = [p.shape for p in layer.build(shape).parameters]
        return [*found[:2], (2, 3 * units)] if kind is layers.GRU and bias else found

    def weights(arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return gru_weights(arrays, units) if kind is layers.GRU else dict(zip(names, arrays))
    return layer, shapes, weights


def gru_weights(arrays: Sequence[np.ndarray], units: int) -> dict[str, np.ndarray]:
    """Keras' gates z, r, h are r, z, n here; the two biases are added, but for those of n."""
    def turned(array: np.ndarray) -> np.ndarray:
        z, r, n = np.split(array, 3, axis=-1)
        return np.concatenate([r, z, n], axis=-1)

    found = {"kernel": turned(arrays[0]), "recurrent_kernel": turned(arrays[1])}
    if len(arrays) > 2:
        inputs, states = turned(arrays[2])
        found["recurrent_bias"] = states[2 * units:]
        found["bias"] = np.concatenate([inputs[:2 * units] + states[:2 * units], inputs[2 * units:]])
    return found


def one_direction(s: Settings) -> Make:
    layer, shapes, weights = recurrent(s)
    return lambda shape, read: [Imported(layer, weights(read(shapes(shape))), s.source)]


def bidirectional(s: Settings) -> Make:
    pair = [s.within(s.get(name), None) for name in ("layer", "backward_layer")]
    for each in pair:
        if each.class_name not in ("SimpleRNN", "LSTM", "GRU"):
            raise ValueError(f"{s.source} must have a SimpleRNN, LSTM or GRU in it, got {each.source}.")
    (forward, shapes, weights), (backward, _, _) = (recurrent(each) for each in pair)
    for each in pair:
        each.close()
    mirrored = {**forward.get_config(), "go_backwards": not forward.go_backwards}
    if type(forward) is not type(backward) or backward.get_config() != mirrored:
        raise ValueError(f"{s.source} must have two layers that differ in go_backwards alone, got {forward} and "
                         f"{backward}.")
    if forward.go_backwards and forward.return_sequences:
        raise ValueError(f"{s.source} must have a layer with go_backwards False, got True.")
    layer = layers.Bidirectional(forward, s.must("merge_mode", "concat", "sum"), **s.common())

    def make(shape: Shape, read: Read) -> list[Imported]:
        wanted = shapes(shape)
        arrays = read([*wanted, *wanted])
        found = {f"{direction}.{name}": array
                 for direction, part in (("forward", arrays[:len(wanted)]), ("backward", arrays[len(wanted):]))
                 for name, array in weights(part).items()}
        return [Imported(layer, found, s.source)]
    return make
