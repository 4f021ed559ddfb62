"""Models in files: a zip of model.json and .npy arrays. Nothing in a file is run; no pickle.

model.json names the layers by class and configuration; classes come from ``ldl_cy.layers`` and from the
caller's ``custom``. Arrays: theta, state, slots (the optimizer's).
"""
from __future__ import annotations

import io
import json
import math
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ldl_cy.models import Sequential

FORMAT = 1
MOST_STEPS = 1 << 53            # counted in floats too
LARGEST_JSON = 1 << 24          # bytes: a description is never longer, a hostile file may be


def _encode(value: Any) -> Any:
    from ldl_cy.initializers import Constant
    from ldl_cy.layers.base import Layer

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
        return {"function": value.__name__}     # its name alone: whoever loads the file brings the function
    raise TypeError(f"save: {value!r} cannot be written to a file; it needs a name that can be given to load.")


def _decode(value: Any, classes: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_decode(v, classes) for v in value]
    if isinstance(value, dict):
        if "tuple" in value:
            return tuple(_decode(v, classes) for v in value["tuple"])
        if "dict" in value:
            return {k: _decode(v, classes) for k, v in value["dict"].items()}
        name = value.get("class", value.get("function"))
        if name not in classes:
            kind = "class" if "class" in value else "function"
            raise ValueError(f"load: the file needs the {kind} {name!r}; pass it as custom={{{name!r}: ...}}.")
        if "function" in value:
            return classes[name]
        make = getattr(classes[name], "from_config", lambda config: classes[name](**config))
        return make({k: _decode(v, classes) for k, v in value["config"].items()})
    return value


def to_dict(model: Sequential) -> dict[str, Any]:
    """Everything a model is: its description and its arrays."""
    described = {
        "format": FORMAT, "dtype": model.dtype, "random_state": model.random_state,
        "input_shape": model.input_shape,
    }
    state: dict[str, Any] = {"described": described, "layers": model.layers}
    if model._graph is not None:
        described.update(epoch=model.epoch, step=model.step, optimizer=model._optimizer_name,
                         optimizer_steps=model._optimizer_steps, optimizer_epochs=model._optimizer_epochs,
                         memory=dict(model._memory))
        state["arrays"] = {"theta": model.theta, "state": model._state, "slots": model._slots}
    return state


def restore(model: Sequential, state: dict[str, Any]) -> None:
    """Make a model what ``to_dict`` described; sizes are checked before anything is taken over."""
    described = state["described"]
    type(model).__init__(model, state["layers"], described["dtype"], described["random_state"])
    if described["input_shape"] is None:
        return
    # nothing as large as a network says it is before there are as many numbers for it
    graph = model._make_graph(model._check_shape(tuple(described["input_shape"])))
    arrays = state["arrays"]
    for name, shape in (("theta", (graph.n_params,)), ("state", (graph.n_state,)),
                        ("slots", (arrays["slots"].shape[0], graph.n_params))):
        array = arrays[name]
        if array.shape != shape or array.dtype != model.dtype:
            raise ValueError(f"load: {name} must be {shape} of {model.dtype}, got {array.shape} of {array.dtype}.")
    model._take(graph, np.array(arrays["theta"]), np.array(arrays["state"]))
    model._slots = np.ascontiguousarray(arrays["slots"])
    model.epoch, model.step = _count(described, "epoch"), _count(described, "step")
    model._optimizer_name = str(described["optimizer"])
    model._optimizer_steps = _count(described, "optimizer_steps")
    model._optimizer_epochs = _count(described, "optimizer_epochs")
    model._memory = {str(name): float(value) for name, value in described["memory"].items()}


def _count(described: dict[str, Any], name: str) -> int:
    """A count of steps or epochs."""
    count = described[name]
    if not isinstance(count, int) or not 0 <= count <= MOST_STEPS:
        raise ValueError(f"load: {name} must be an int from 0 to {MOST_STEPS}, got {count!r}.")
    return count


def save(model: Sequential, path: str | Path) -> None:
    """Write a model; the file appears whole or not at all (temporary file, fsync, rename).

    Raises
    ------
    TypeError
        A layer's setting cannot be written, e.g. an initializer that is a function.
    """
    state = to_dict(model)
    text = json.dumps({**state["described"], "layers": [_encode(layer) for layer in state["layers"]]}, indent=1)
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent or ".", prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr("model.json", text)
                for name, array in state.get("arrays", {}).items():
                    buffer = io.BytesIO()
                    np.lib.format.write_array(buffer, array, allow_pickle=False)
                    archive.writestr(f"{name}.npy", buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def epoch_of(path: str | Path) -> int:
    """The epochs that the model in a file has been trained for; ValueError where it is not a model."""
    with _opened(path) as archive:
        described = _read_description(archive)
        return _count(described, "epoch") if "epoch" in described else 0


@contextmanager
def _opened(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """A model's file; whatever comes up while it is read, of whatever kind, is a ValueError that names it."""
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except Exception as error:
            if isinstance(error, ValueError) and str(error).startswith("load:"):
                raise
            raise ValueError(f"load: {path} is not a readable ldl_cy model: {error or type(error).__name__}") from error


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member, of which there are no more than in the file."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(name)


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array whose header says no more than what stands behind it."""
    file = io.BytesIO(_read_member(archive, name))
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{name} must be in version 1.0 of the .npy format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if math.prod(shape) * dtype.itemsize != len(file.getbuffer()) - file.tell():
        raise ValueError(f"{name} does not hold the {shape} of {dtype} that its header names")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _read_description(archive: zipfile.ZipFile) -> dict[str, Any]:
    if archive.getinfo("model.json").file_size > LARGEST_JSON:
        raise ValueError("model.json is too long")
    described = json.loads(_read_member(archive, "model.json"))
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise ValueError(f"the format must be {FORMAT}, got {described.get('format')!r}")
    return described


def load(path: str | Path, custom: dict[str, Any]) -> Sequential:
    """Read a model written by ``save``; see ``Sequential.load``.

    Raises
    ------
    ValueError
        The file is not a model, is damaged, or needs a class that is not known.
    """
    from ldl_cy import layers
    from ldl_cy.initializers import Constant
    from ldl_cy.layers.base import Layer
    from ldl_cy.models import Sequential

    classes: dict[str, Any] = {
        name: value for name, value in vars(layers).items() if isinstance(value, type) and issubclass(value, Layer)}
    classes |= {"Constant": Constant, **custom}
    with _opened(path) as archive:
        described = _read_description(archive)
        arrays = {}
        if described["input_shape"] is not None:
            arrays = {name: _read_array(archive, f"{name}.npy") for name in ("theta", "state", "slots")}
        stack = [_decode(layer, classes) for layer in described.pop("layers")]
        model: Sequential = Sequential.__new__(Sequential)
        restore(model, {"described": described, "layers": stack, "arrays": arrays})
    return model
