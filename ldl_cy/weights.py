"""Weights by name: what ``save_weights`` and ``load_weights`` do with safetensors files and mappings.

Names, dtypes and shapes are compared with the network before any number is read, and the network is changed as a whole
or not at all.
"""
from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ldl_cy.archive import LARGEST_JSON, open_file, write_file
from ldl_cy.checks import as_numbers, check_values
from ldl_cy.layers.base import Layer, Shape
from ldl_cy.messages import cut, listed, shown
from ldl_cy.network import Network, Views
from ldl_cy.packages import import_package
from ldl_cy.safetensors_file import DTYPES, Entry, read_entries
from ldl_cy.serialize import describe_network

FORMAT = "ldl_cy"                       # in the file's metadata
SAVE, LOAD = "save_weights", "load_weights"

Rename = Mapping[str, str] | Callable[[str], str] | None


class Mismatch(NamedTuple):
    """An array of another shape.

    Attributes
    ----------
    name : str
    shape : tuple of ints, which the model has
    found : tuple of ints, of the array that came
    """

    name: str
    shape: Shape
    found: Shape

    def __repr__(self) -> str:
        return f"{cut(self.name)} {self.shape}, got {shown(self.found)}"


class WeightsReport(NamedTuple):
    """What became of each name, in the order of the model or, for ``unexpected``, of the source.

    Attributes
    ----------
    loaded : list of str
        Names in the model whose numbers were replaced.
    missing : list of str
        Names in the model that the source does not have.
    unexpected : list of str
        Names in the source, after renaming, that the model does not have.
    mismatched : list of Mismatch
        Names that both have, with arrays of different shapes.
    """

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: list[Mismatch]

    def __repr__(self) -> str:
        groups = {"missing": list(map(cut, self.missing)), "unexpected": list(map(cut, self.unexpected)),
                  "of another shape": list(map(repr, self.mismatched))}
        return "; ".join([f"{len(self.loaded)} loaded", *(
            f"{len(names)} {what}: {listed(names)}" for what, names in groups.items() if names)])


# -- writing --------------------------------------------------------------------------------------------


def save(network: Network, layers: tuple[Layer, ...], file: Any) -> None:
    """Write parameters and running statistics; see ``Sequential.save_weights``."""
    metadata = {"format": FORMAT}
    with suppress(TypeError):       # of a setting that has no name in a file: the weights do not need it
        metadata["model"] = json.dumps(describe_network(layers, network.dtype, network.input_shape))
    parameters, statistics = network.views
    arrays = {**parameters, **statistics}
    content = import_package(SAVE, "safetensors.numpy", "io").save(arrays, metadata)
    length = int.from_bytes(content[:8], "little")
    if length > LARGEST_JSON:
        raise ValueError(f"{SAVE}: the file's header must have at most {LARGEST_JSON} bytes, got {length}; the "
                         "model has too many arrays.")
    write_file(SAVE, file, lambda target: target.write(content))


# -- reading --------------------------------------------------------------------------------------------


def load(network: Network, source: Any, strict: bool, rename: Rename) -> WeightsReport:
    """Replace weights and running statistics by arrays of the same names; see ``Sequential.load_weights``."""
    with entries_of(LOAD, source) as entries:
        return _load(network, entries, strict, rename)


@contextmanager
def entries_of(owner: str, source: Any, name: str = "source") -> Iterator[dict[str, Entry]]:
    """The arrays of a safetensors file or a mapping, which can be read within; ``name`` is the argument's, for errors.

    Raises
    ------
    TypeError, ValueError
        It is neither, or a file that is not one.
    """
    if isinstance(source, Mapping):
        yield from_mapping(owner, source)
        return
    if not isinstance(source, (str, bytes, os.PathLike)) and not hasattr(source, "read"):
        raise TypeError(f"{owner}: {name} must be a path, a binary file or a mapping of names to arrays, "
                        f"got {shown(source)}.")
    with open_file(owner, source) as file:
        yield read_entries(owner, source, file)


def _load(network: Network, entries: Mapping[str, Entry], strict: bool, rename: Rename) -> WeightsReport:
    entries = renamed(entries, rename)
    wanted = {entry.name: entry.parameter for entry in (*network.graph.parameters, *network.graph.state)}
    both = [name for name in wanted if name in entries]
    fitting = [name for name in both if entries[name].shape == wanted[name].shape]
    report = WeightsReport(
        fitting, [name for name in wanted if name not in entries], [name for name in entries if name not in wanted],
        [Mismatch(name, wanted[name].shape, entries[name].shape) for name in both
         if entries[name].shape != wanted[name].shape])
    if strict and (report.missing or report.unexpected or report.mismatched):
        raise ValueError(f"{LOAD}: names and shapes must be those of the model: {report}. strict=False loads what "
                         "fits, rename gives other names.")
    for name in fitting:
        check_dtype(LOAD, name, entries[name].dtype)
    replace(network, {name: checked(LOAD, name, entries[name], network.dtype) for name in fitting})
    return report


def replace(network: Network, values: Mapping[str, np.ndarray]) -> None:
    """Write arrays of these names, in the network's shapes and dtype, into its weights and running statistics."""
    theta, statistics = network.snapshot()
    views = {**Views("parameter", theta, network.graph.parameters),
             **Views("running statistic", statistics, network.graph.state)}
    for name, value in values.items():
        views[name][...] = value
    network.restore((theta, statistics))


def check_dtype(owner: str, name: str, dtype: str) -> None:
    """Refuse what is not a float of 2, 4 or 8 bytes, by the file's name of the dtype or by NumPy's."""
    if dtype not in {*DTYPES, "float16", "float32", "float64"}:
        raise ValueError(f"{owner}: {cut(name)} must be an array of float16, float32 or float64, got {cut(dtype)}.")


def checked(owner: str, name: str, entry: Entry, dtype: str) -> np.ndarray:
    """The numbers of an entry in a copy, which all have finite values in ``dtype``."""
    array = np.array(as_numbers(owner, cut(name), entry.read()))
    check_dtype(owner, name, array.dtype.name)
    if array.shape != entry.shape:      # of an object that has changed in the meantime
        raise ValueError(f"{owner}: {cut(name)} must have the shape {entry.shape}, got {array.shape}.")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    check_values(owner, cut(name), array, dtype)
    return array.astype(dtype, copy=False)


def renamed(entries: Mapping[str, Entry], rename: Rename) -> dict[str, Entry]:
    """The entries under their new names.

    Raises
    ------
    TypeError
        ``rename`` is neither a mapping of str to str nor a function that returns a str.
    ValueError
        Two entries get the same name.
    """
    found: dict[str, Entry] = {}
    old: dict[str, str] = {}
    change = _renaming(rename)
    for name, entry in entries.items():
        new = change(name)
        if not isinstance(new, str):
            raise TypeError(f"{LOAD}: rename must return a str, got {shown(new)} for {cut(name)}.")
        if new in found:
            raise ValueError(f"{LOAD}: rename must give different names, got {cut(new)} for {cut(old[new])} and "
                             f"{cut(name)}.")
        found[new], old[new] = entry, name
    return found


def _renaming(rename: Rename) -> Callable[[str], str]:
    """A function of a name; of several prefixes the longest counts."""
    if rename is None:
        return lambda name: name
    if not isinstance(rename, Mapping):
        if not callable(rename):
            raise TypeError(f"{LOAD}: rename must be None, a dict of prefixes or a function, got {shown(rename)}.")
        return rename
    if not all(isinstance(part, str) for pair in rename.items() for part in pair):
        raise TypeError(f"{LOAD}: rename must have strings as old and new prefixes, got {shown(rename)}.")
    prefixes = sorted(rename, key=len, reverse=True)

    def change(name: str) -> str:
        for prefix in prefixes:
            rest = name[len(prefix):]
            # a prefix is whole words: "conv_1" is none of "conv_10.kernel"
            if name.startswith(prefix) and (not rest or rest[0] == "." or prefix[-1:] in ("", ".")):
                return rename[prefix] + rest
        return name

    return change


def from_mapping(owner: str, source: Mapping[str, Any]) -> dict[str, Entry]:
    """The arrays of a mapping, also torch's tensors; a TypeError for names that are not strings."""
    found = {}
    for name, value in source.items():
        if not isinstance(name, str):
            raise TypeError(f"{owner}: names must be strings, got {shown(name)}.")
        with _readable_tensor(owner, name):
            array = value if hasattr(value, "shape") and hasattr(value, "dtype") else as_numbers(
                owner, cut(name), value)
            dtype = getattr(array.dtype, "name", None) or str(array.dtype).removeprefix("torch.")
            found[name] = Entry(tuple(array.shape), dtype, partial(as_array, owner, name, array))
    return found


def as_array(owner: str, name: str, value: Any) -> Any:
    """The numbers of a tensor of torch in NumPy; other values are returned unchanged.

    Raises
    ------
    ValueError
        It has none: a sparse tensor, one on the meta device.
    """
    if not hasattr(value, "detach"):
        return value
    with _readable_tensor(owner, name):
        if value.device.type == "meta":
            raise ValueError("one on the meta device")
        return value.numpy(force=True)


@contextmanager
def _readable_tensor(owner: str, name: str) -> Iterator[None]:
    """A ValueError with the name where a tensor, or what looks like one, raises an error of its own."""
    try:
        yield
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        if str(error).startswith(f"{owner}: "):
            raise
        raise ValueError(f"{owner}: {cut(name)} must be a dense tensor with numbers, got "
                         f"{cut(str(error)).removesuffix('.')}.") from error
