"""Model files: a zip of model.json and .npy arrays. No code from a file is run; there is no pickle in it.

model.json describes the layers by class and configuration, and the training state; classes come from
``ldl_cy.layers`` and from the caller's ``custom``. The arrays are theta, state (running statistics) and slots (the
optimizer's vectors). The zip is in ``archive``, the file under its path in ``replacing``.
"""
from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ldl_cy import layers
from ldl_cy._engine.version import VersionCounter
from ldl_cy.archive import LARGEST_JSON, read_array, read_model, read_text, write_model
from ldl_cy.checks import check_int, check_ints, check_real
from ldl_cy.initializers import Constant
from ldl_cy.layers.base import Layer, Shape
from ldl_cy.messages import shown
from ldl_cy.network import Network, check_settings, make_graph
from ldl_cy.optimizers import OPTIMIZERS
from ldl_cy.optimizers.step_rule import AVERAGED
from ldl_cy.state import TrainingState, least_in_memory

FORMAT = 1
LARGEST_COUNT = 1 << 53         # epochs and steps
MOST_LEVELS = 100               # of dicts and lists in a callback's state
LONGEST_INT = 1 << 13           # bits: Python reads ints of some 14,000


def _encode(value: Any) -> Any:
    if isinstance(value, (Layer, Constant)):
        return {"class": type(value).__name__, "config": {k: _encode(v) for k, v in value.get_config().items()}}
    if isinstance(value, tuple):
        return {"tuple": [_encode(v) for v in value]}
    if isinstance(value, list):
        return [_encode(v) for v in value]
    if isinstance(value, dict):
        return {"dict": {str(k): _encode(v) for k, v in value.items()}}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if callable(value) and getattr(value, "__name__", "").isidentifier():
        return {"function": value.__name__}     # only its name: the caller of load passes the function
    raise TypeError(f"save: {shown(value)} cannot be written to a file; it needs a name that can be given to load.")


def _decode(value: Any, classes: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_decode(v, classes) for v in value]
    if isinstance(value, dict):
        if "tuple" in value:
            return tuple(_decode(v, classes) for v in value["tuple"])
        if "dict" in value:
            return {k: _decode(v, classes) for k, v in value["dict"].items()}
        name = value.get("class", value.get("function"))
        kind = "class" if "class" in value else "function"
        # a function is passed to the layer, never called with values from the file
        if name not in classes or (kind == "class" and not isinstance(classes[name], type)):
            raise ValueError(f"load: the file needs the {kind} {shown(name)}; pass it as custom={{{shown(name)}: "
                             "...}.")
        if "function" in value:
            return classes[name]
        make = getattr(classes[name], "from_config", lambda config: classes[name](**config))
        return make({k: _decode(v, classes) for k, v in value["config"].items()})
    return value


class Saved(NamedTuple):
    """The parts of a model.

    Attributes
    ----------
    layers : tuple of layers
    dtype : str
    seed : int
    network : Network, or None if the model is not built
    state : TrainingState
    """

    layers: tuple[Layer, ...]
    dtype: str
    seed: int
    network: Network | None
    state: TrainingState


def to_dict(saved: Saved) -> dict[str, Any]:
    """A model as a dict: "described" (numbers, strings, lists and dicts), "layers" and, if built, "arrays"."""
    network, state = saved.network, saved.state
    described: dict[str, Any] = {
        "format": FORMAT, "dtype": saved.dtype, "random_state": saved.seed,
        "input_shape": None if network is None else network.input_shape,
    }
    found: dict[str, Any] = {"described": described, "layers": saved.layers}
    if network is not None:
        training, slots = state.parts()
        described.update(training)
        theta, statistics = network.to_read()
        found["arrays"] = {"theta": theta, "state": statistics, "slots": slots}
    return found


def describe_network(stack: Sequence[Layer], dtype: str, input_shape: Shape | None) -> dict[str, Any]:
    """The part of a file's description that identifies the network: dtype, input shape and layers."""
    encoded = [_encode(layer) for layer in stack]
    shape = None if input_shape is None else list(input_shape)
    return {"dtype": dtype, "input_shape": shape, "layers": json.loads(json.dumps(encoded))}


def network_of(described: Any) -> tuple[tuple[Layer, ...], str, Shape]:
    """(layers, dtype, input shape) from the result of ``describe_network``, whatever it has become in a file.

    Raises
    ------
    ValueError, TypeError, LookupError, AttributeError
        It describes no network of ldl_cy's own layers.
    """
    classes = _own_classes()
    stack, dtype, _ = check_settings([_decode(layer, classes) for layer in described["layers"]], described["dtype"], 0)
    shape = tuple(described["input_shape"])
    return stack, dtype, check_ints("load", "input_shape", shape, len(shape))


def _own_classes() -> dict[str, Any]:
    """The classes that a file may name."""
    return {"Constant": Constant, **{name: value for name, value in vars(layers).items()
                                     if isinstance(value, type) and issubclass(value, Layer)}}


def from_dict(found: dict[str, Any]) -> Saved:
    """The model from ``to_dict``'s result; everything is checked before memory is allocated.

    Raises
    ------
    ValueError, TypeError
        A description or an array that no model can have.
    """
    described = found["described"]
    stack, dtype, seed = check_settings(found["layers"], described["dtype"], described["random_state"])
    if described["input_shape"] is None:
        return Saved(stack, dtype, seed, None, TrainingState())
    shape = check_ints("load", "input_shape", tuple(described["input_shape"]), len(described["input_shape"]))
    graph, arrays = make_graph(stack, shape, dtype), found["arrays"]
    counts = {name: _count(described, name) for name in ("epoch", "step", "optimizer_steps", "optimizer_epochs")}
    n_slots = _check_optimizer(described["optimizer"], described["memory"], len(arrays["slots"]))
    _check_callbacks(described.get("callbacks", {}))
    for name, wanted in (("theta", (graph.n_params,)), ("state", (graph.n_state,)),
                         ("slots", (n_slots, graph.n_params))):
        array = arrays[name]
        if array.shape != wanted or array.dtype != dtype:
            raise ValueError(f"load: {name} must be {wanted} of {dtype}, got {array.shape} of {array.dtype}.")
    theta, statistics, slots = (np.array(arrays[name], order="C") for name in ("theta", "state", "slots"))
    state = TrainingState.from_dict({**described, **counts}, slots)
    return Saved(stack, dtype, seed, Network(stack, graph, theta, statistics, seed, VersionCounter()), state)


def _check_callbacks(states: Any) -> None:
    """Refuse anything but a dict of dicts; each callback checks its own state when it loads it."""
    if not isinstance(states, dict) or not all(isinstance(state, dict) for state in states.values()):
        raise ValueError(f"load: callbacks must be names with the states of callbacks, got {shown(states)}.")


def _is_plain(value: Any, levels: int = MOST_LEVELS) -> bool:
    """Whether a value comes back from JSON as it is: tuples and keys that are numbers become others."""
    if isinstance(value, (dict, list)) and not levels:
        return False
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item, levels - 1) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_plain(item, levels - 1) for item in value)
    if isinstance(value, int):
        return value.bit_length() <= LONGEST_INT
    return value is None or isinstance(value, (float, str))


def _count(described: dict[str, Any], name: str) -> int:
    """A count >= 0 that leaves room for further counting in 64 bits."""
    count = check_int("load", name, described[name], 0)
    if count > LARGEST_COUNT:
        raise ValueError(f"load: {name} must be an int <= {LARGEST_COUNT}, got {count}.")
    return count


def _check_optimizer(name: Any, memory: Any, n_slots: int) -> int:
    """Refuse a state that the named optimizer cannot have; return ``n_slots``. A user's own optimizer can have any."""
    if not isinstance(name, str) or not isinstance(memory, dict):
        raise ValueError(f"load: optimizer must be a name, and memory names with numbers, got {shown(name)} and "
                         f"{shown(memory)}.")
    kinds = {kind.__name__: kind for kind in OPTIMIZERS.values()}
    kind = kinds.get(name.removesuffix(AVERAGED))
    for key, value in memory.items():
        least = kind.state_scalars.get(key, least_in_memory(key)) if kind else least_in_memory(key)
        if least is None and (kind or not name):
            raise ValueError(f"load: memory must hold what {name or 'a model'} keeps, got {shown(key)}.")
        check_real("load", f"memory[{key!r}]", value, -np.inf if least is None else least)
    possible = (0,) if not name else () if kind is None else kind.slot_counts
    possible = tuple(count + name.endswith(AVERAGED) for count in possible)
    if possible and n_slots not in possible:
        raise ValueError(f"load: slots must be {' or '.join(map(str, possible))} vectors for {name or 'no optimizer'}, "
                         f"got {n_slots}.")
    return n_slots


def save(saved: Saved, path: Any) -> None:
    """Write a model to a path, atomically, or to a binary file object.

    Raises
    ------
    TypeError
        A layer's setting or a callback's state cannot be written, e.g. an initializer that is a function; a file that
        is not binary.
    ValueError
        A path that is no file's; a file object that is closed or cannot be written.
    OSError
        The file cannot be written, e.g. since the disk is full. It names the path, under which nothing has changed.
    """
    found = to_dict(saved)
    for key, state in found["described"].get("callbacks", {}).items():
        if not _is_plain(state):
            raise TypeError("save: the state of a callback must be numbers, strings, and lists and dicts of them with "
                            f"strings as keys, at most {MOST_LEVELS} levels deep, got another one from {shown(key)}.")
    text = json.dumps({**found["described"], "layers": [_encode(layer) for layer in found["layers"]]}, indent=1)
    if len(text) > LARGEST_JSON:
        raise ValueError(f"save: the description must be of at most {LARGEST_JSON} characters, got {len(text)}; arrays "
                         "are no part of a callback's state.")
    write_model(path, text, found.get("arrays", {}))


def _read_description(archive: zipfile.ZipFile) -> dict[str, Any]:
    described = json.loads(read_text(archive))
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        found = described.get("format") if isinstance(described, dict) else described
        raise ValueError(f"model.json must describe a model of format {FORMAT}, got {shown(found)}")
    return described


def read_description(path: Any) -> dict[str, Any]:
    """model.json of a file; a ValueError if the file is not a model."""
    return read_model(path, _read_description)


def load(path: Any, custom: dict[str, Any]) -> Saved:
    """Read a model written by ``save``; see ``Sequential.load``.

    Raises
    ------
    ValueError
        The file is not a model, is damaged, or needs a class or function that is not in ``custom``.
    """
    classes = {**_own_classes(), **custom}

    def read(archive: zipfile.ZipFile) -> Saved:
        described = _read_description(archive)
        names = () if described["input_shape"] is None else ("theta", "state", "slots")
        arrays = {name: read_array(archive, f"{name}.npy") for name in names}
        stack = [_decode(layer, classes) for layer in described.pop("layers")]
        return from_dict({"described": described, "layers": stack, "arrays": arrays})

    return read_model(path, read)
