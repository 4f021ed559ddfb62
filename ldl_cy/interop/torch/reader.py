"""The reader of a chain of torch's modules: the layers so far, and the layout of their output in torch."""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ldl_cy import layers as L
from ldl_cy._engine.graph import MOST_LEVELS, MOST_NODES
from ldl_cy.interop.assembly import Imported, as_name
from ldl_cy.interop.layouts import Layout, channels_first, channels_last
from ldl_cy.interop.torch.weights import Conversion
from ldl_cy.layers.base import Layer, Shape
from ldl_cy.messages import shown
from ldl_cy.weights import as_array

OWNER = "from_torch"
OWN = "ldl_cy.interop.torch.modules"        # where modules of to_torch's own are
# what a module raises that was changed after it was made
FAULTS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class Kind(NamedTuple):
    """How modules of a class are read.

    Attributes
    ----------
    read : function of a Reader, a path and a module
    reads : str
        How the module reads maps: "first" is channels-first, "last" with the features last, "" in any order.
    required : mapping of attributes to what they must be
    """

    read: Callable[[Reader, str, Any], None]
    reads: str = ""
    required: Mapping[str, Any] = {}


def named(path: str, module: Any) -> str:
    """A module's class and path, for errors."""
    return f"{type(module).__name__} {path!r}" if path else type(module).__name__


def is_sequential(module: Any) -> bool:
    """Whether a module calls its children in turn: an nn.Sequential, or a subclass with the same forward."""
    base: Any = next((cls for cls in type(module).__mro__ if (cls.__module__, cls.__qualname__) == (
        "torch.nn.modules.container", "Sequential")), None)
    return base is not None and not is_changed(module) and all(
        getattr(type(module), name) is getattr(base, name) for name in ("__call__", "__iter__", "forward"))


def children(module: Any) -> list[tuple[str, Any]]:
    """A module's own children, also those that are there twice."""
    return [(name, child) for name, child in vars(module)["_modules"].items() if child is not None]


def leaves(path: str, module: Any, count: Iterator[int] | None = None) -> Iterator[tuple[str, Any]]:
    """The modules of nested nn.Sequential, branches as one; ``count`` counts those of several calls together.

    Raises
    ------
    ValueError
        They are nested too deep, as those that are within themselves, or are too many: where each of a few has the next
        one twice.
    """
    count = itertools.count() if count is None else count
    stack = [(path, module, 0)]
    while stack:
        path, module, level = stack.pop()
        if level > MOST_LEVELS:
            raise ValueError(f"{OWNER}: modules must be nested at most {MOST_LEVELS} deep, got more in "
                             f"{shown(path.partition('.')[0])}.")
        if next(count) > MOST_NODES:
            raise ValueError(f"{OWNER}: module must have at most {MOST_NODES} modules, got more.")
        if is_sequential(module):
            inside = [(f"{path}.{name}" if path else name, child, level + 1) for name, child in children(module)]
            stack += reversed(inside)
        else:
            yield path, module


def is_changed(module: Any) -> bool:
    """Whether functions of the user's run in place of forward, before or after it."""
    return any(vars(module).get(each) for each in ("forward", "_forward_hooks", "_forward_pre_hooks"))


def paths_of(path: str, module: Any, count: Iterator[int] | None = None) -> list[list[tuple[str, Any]]]:
    """The modules of each path of a branch; none for other modules."""
    if type(module).__module__ != OWN or type(module).__name__ not in ("Add", "Concatenate", "Multiply"):
        return []
    return [list(leaves(f"{path}.{name}" if path else name, child, count)) for name, child in children(module)]


class Reader:
    """Reads one chain of modules.

    Parameters
    ----------
    layout : Layout of the chain's input
    natural : tuple of ints
        The order of axes there that the value has when it leaves the network.
    kind_of : function of a module that returns its Kind
    prefix : str
        What the paths of all modules of the chain begin with.

    Attributes
    ----------
    chain : list of Imported
    """

    def __init__(
        self, layout: Layout, natural: tuple[int, ...], kind_of: Callable[[Any], Kind | None], prefix: str = "",
    ) -> None:
        self.layout, self.natural, self.kind_of, self.prefix = layout, natural, kind_of, prefix
        self.chain: list[Imported] = []
        self.source = ""
        self._names: set[str] = set()

    def read(self, modules: Sequence[tuple[str, Any]]) -> list[Imported]:
        """The layers of these modules; a ValueError names the module that does not fit."""
        for path, module in modules:
            self.source = named(path, module)
            kind = self.kind_of(module)
            assert kind is not None
            try:
                kind.read(self, path, module)
            except FAULTS as error:
                if str(error).startswith(OWNER):
                    raise
                # settings and weights that are not those of its class raise errors of Python's own
                text = str(error) if isinstance(error, (TypeError, ValueError)) else f"it has no {error}" if isinstance(
                    error, KeyError) else "its settings must be those of its class"
                raise self.error(f"has no counterpart: {text}".removesuffix(".")) from error
        return self.chain

    def named_chain(self) -> list[Imported]:
        """The chain; the default name of a layer without one must not be that of a module."""
        for i, each in enumerate(self.chain):
            name = f"{each.layer.default_name()}_{i}"
            if each.layer.name is None and name in self._names:
                while name in self._names:
                    name += "_"
                each.layer.name = name
                self._names.add(name)
        return self.chain

    def name(self, path: str) -> str | None:
        """A layer's name, if the path is made of words that no other layer has."""
        name = as_name(path.removeprefix(self.prefix).replace(".", "_"))
        if name is None or name in self._names:
            return None
        self._names.add(name)
        return name

    def add(self, layer: Layer, weights: Mapping[str, np.ndarray] | None = None) -> None:
        """Append a layer to the chain."""
        self.chain.append(Imported(layer, weights or {}, self.source))

    def convert(self, layer: Layer, conversion: Conversion, module: Any) -> None:
        """A layer with the weights of a module."""
        self.add(layer, conversion.to_ours(arrays_of(module)))

    def error(self, text: str) -> ValueError:
        """The error for the module that is read."""
        return ValueError(f"{OWNER}: {self.source} {text}.")

    def output(self) -> None:
        """Take over the output shape of the layer that was added last; the order of axes stays."""
        self.layout = self.layout._replace(shape=self.chain[-1].layer.compute_output_shape(self.layout.shape))

    # -- the order of axes --------------------------------------------------------------------------------

    def arrange(self, order: tuple[int, ...]) -> None:
        """Permute our axes so that torch's have this order of ours."""
        now = self.layout.order
        if now != order:
            dims = [0] * len(order)
            for target, axis in zip(order, now):
                dims[target] = axis + 1
            self.add(L.Permute(tuple(dims)))
            self.layout = Layout.of(self.layout.theirs, order)

    def first(self, rank: int) -> None:
        """For a module that reads channels-first maps of ``rank`` axes."""
        if self.layout.rank != rank:
            raise self.error(f"must have an input of {rank} axes without the batch axis, got {self.layout.theirs}")
        if rank > 1:
            self.arrange(channels_first(rank))
            self.natural = channels_first(rank)

    def last(self) -> None:
        """For a module that reads the last axis."""
        if not self.layout.is_vector:
            self.arrange(channels_last(self.layout.rank))
            self.natural = channels_last(self.layout.rank)

    def same(self) -> None:
        """Bring our axes, or the numbers of a vector, into torch's order."""
        if self.layout.places is not None:
            origin = self.layout.origin
            if origin is None:
                raise self.error("must not follow a concatenation of flattened maps")
            self.add(L.Reshape(origin.shape))
            self.add(L.Permute(tuple(axis + 1 for axis in origin.order)))
            self.add(L.Flatten())
            self.layout = Layout.last(self.layout.shape)
        self.arrange(channels_last(self.layout.rank))

    def reshape(
        self, theirs: Shape, natural: tuple[int, ...] | None = None, name: str | None = None,
        prefer: tuple[int, ...] | None = None,
    ) -> None:
        """Reshape torch's value; preferred is an order of axes that a reshape gives here as well, without a Permute."""
        rank = len(theirs)
        if rank == 1:
            if not self.layout.is_vector:
                self.layout = self.layout.flattened()
                self.add(L.Flatten(name=name))
            return
        first, last = channels_first(rank), channels_last(rank)
        if prefer is None:
            ours = self.layout.places is None and self.layout.order == channels_last(self.layout.rank)
            prefer = last if ours and rank == 2 else first
        for order in (prefer, first, last):
            new = Layout.of(theirs, order)
            if new.same_numbers(self.layout):
                break
        else:
            self.same()
            new = Layout.last(theirs)
        self.layout = new
        self.natural = new.order if natural is None else natural
        self.add(L.Reshape(self.layout.shape, name=name))


def arrays_of(module: Any) -> dict[str, np.ndarray]:
    """A module's entries in its state dict, in a dtype that NumPy has."""
    found = {}
    for name, tensor in module.state_dict().items():
        found[name] = as_array(OWNER, name, tensor.float() if tensor.dtype.itemsize < 4 else tensor)
    return found
