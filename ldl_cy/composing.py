"""Composes, the part of a model that is about its parts: slices, more layers and fewer, frozen layers."""
from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self, overload

from ldl_cy._engine.process import Exclusive
from ldl_cy.layers.base import Layer, layer_names
from ldl_cy.layers.inside import matching, walk, with_trainable
from ldl_cy.messages import listed, shown
from ldl_cy.network import check_settings
from ldl_cy.optimizers.step_rule import AVERAGED
from ldl_cy.saving import Saves
from ldl_cy.serialize import Saved
from ldl_cy.state import TrainingState

OWNER = "Sequential"


class Composes(Saves):
    """Base class of ``Sequential``: access to layers, and changes of what the model is made of."""

    @overload
    def __getitem__(self, key: int | str) -> Layer: ...
    @overload
    def __getitem__(self, key: slice) -> Self: ...

    def __getitem__(self, key: Any) -> Any:
        """``model[2]`` and ``model["dense_2"]`` are layers, ``model["add_2.0.dense_1"]`` one inside of a branch.

        ``model[a:b]``, with places or names of layers as in Python's slices (b is not included), is a model of its own
        of these layers, with copies of their weights and running statistics; it counts its training from 0. Layers
        without a name of their own are called by their place in the new model. It is not built if this model is not.

        Raises
        ------
        IndexError, KeyError
            There is no such place, or no layer of this name.
        TypeError, ValueError
            Neither a place nor a name; a step other than 1; no layers in between.
        """
        layers, network, _ = self._built
        if not isinstance(key, slice):
            return layer_of(layers, key)
        low, high = ends_of(layers, key)
        stack, dtype, seed = check_settings(layers[low:high], self.dtype, self._seed)
        built = None if network is None else network.between(low, high)
        state = TrainingState() if built is None else TrainingState(built.n_params, dtype)
        part = type(self).__new__(type(self))
        part._restore(Saved(stack, dtype, seed, built, state))
        return part

    def __iter__(self) -> Iterator[Layer]:
        """Over the layers."""
        return iter(self.layers)

    def append(self, layer: Layer) -> Self:
        """Add a layer at the end; see ``extend``."""
        if not isinstance(layer, Layer):
            raise TypeError(f"{OWNER}: layer must be a layer, got {shown(layer)}.")
        return self.extend([layer])

    def extend(self, layers: Iterable[Layer]) -> Self:
        """Add layers at the end; returns the model itself.

        The others keep their weights and running statistics, in new arrays. The new ones begin with the initial weights
        that they would have in a model of all these layers with this seed. Epochs and steps are counted from 0, and the
        optimizer's state is dropped. A model that is not built gets more layers to be built.

        Parameters
        ----------
        layers : list of layers

        Raises
        ------
        TypeError, ValueError
            They are no layers, two layers have one name, or a layer does not fit the shape that reaches it. The model
            is unchanged.
        RuntimeError
            A fit of the model is running.
        """
        try:
            added = tuple(layers)
        except TypeError:
            raise TypeError(f"{OWNER}: layers must be a list of layers, got {shown(layers)}.") from None
        with Exclusive([self], "of this model"):
            self._resize((*self.layers, *added))
        return self

    def pop(self) -> Layer:
        """Remove the last layer and return it; the others keep their weights, and counts begin at 0 as in ``extend``.

        Raises
        ------
        ValueError
            It is the only layer.
        RuntimeError
            A fit of the model is running.
        """
        with Exclusive([self], "of this model"):
            *rest, last = self.layers
            if not rest:
                raise ValueError(f"{OWNER}: a model must keep at least one layer, got pop() of the only one.")
            self._resize(tuple(rest))
        return last

    def _resize(self, layers: tuple[Layer, ...]) -> None:
        _, network, state = self._built
        stack, *_ = check_settings(layers, self.dtype, self._seed)
        if network is not None:
            network = network.resized(stack)
            state = TrainingState(network.n_params, network.dtype)
        self._built = stack, network, state

    def freeze(self, *patterns: str) -> Self:
        """Freeze layers: fits no longer change their weights, by no step, penalty, decay or average; returns the model.

        A frozen BatchNorm normalizes by its running statistics and keeps them. Nothing is computed for what is frozen
        but its outputs and, between trainable layers, gradients with respect to its input. Weights, counts and the
        optimizer's state stay as they are; a running average of weights (``ema``) keeps the weights of this moment.

        Parameters
        ----------
        *patterns : str
            Names of layers as ``parameters`` has them, which may contain ``*`` and ``?`` (fnmatch): ``"conv2d_*"``,
            ``"add_2.0.*"``. With a layer, all that is inside of it is frozen. None freezes all layers.

        Raises
        ------
        TypeError, ValueError
            A pattern that is no str, or that matches no layer. Nothing has been changed.
        RuntimeError
            A fit of the model is running.

        Notes
        -----
        This is the setting ``trainable`` of layers. The layer objects that were given to the model are not changed: it
        continues with copies.

        Examples
        --------
        >>> from ldl_cy import Sequential, layers
        >>> model = Sequential([layers.Dense(8, "relu"), layers.Dense(8, "relu"), layers.Dense(1)])
        >>> [layer.trainable for layer in model.freeze("dense_[01]")]
        [False, False, True]
        """
        return self._set_trainable(patterns, False)

    def unfreeze(self, *patterns: str) -> Self:
        """Let frozen layers train; returns the model. For the arguments and the errors see ``freeze``.

        Of a branch that was frozen as a whole the other layers stay frozen.
        """
        return self._set_trainable(patterns, True)

    def _set_trainable(self, patterns: tuple[str, ...], trainable: bool) -> Self:
        with Exclusive([self], "of this model"):
            layers, network, state = self._built
            names = layer_names(OWNER, layers)
            chosen = matching(OWNER, patterns, [name for name, _ in walk(layers, names)])
            stack = tuple(with_trainable(layers, names, chosen, trainable))
            if network is not None:
                network = network.refrozen(stack)
                if state.optimizer.name.endswith(AVERAGED):
                    # the steps' own weights are those of the average, which the model has now
                    frozen = ~network.trainable
                    state.optimizer.slots[-1, frozen] = network.vectors[0][frozen]
            self._built = stack, network, state
        return self


def layer_of(layers: Sequence[Layer], key: Any) -> Layer:
    """The layer in a place, which may count from the end, or of a name, also inside of another layer."""
    if isinstance(key, str):
        known = dict(walk(layers, layer_names(OWNER, layers)))
        if key not in known:
            raise KeyError(f"no layer {shown(key)}; there are: {listed([*known])}")
        return known[key]
    place = as_place(key)
    if not -len(layers) <= place < len(layers):
        raise IndexError(f"{OWNER}: the place of a layer must be in {-len(layers)} .. {len(layers) - 1}, got {place}.")
    return layers[place]


def ends_of(layers: Sequence[Layer], key: slice) -> tuple[int, int]:
    """The first place of a slice and the one after its last."""
    if key.step not in (None, 1):
        raise ValueError(f"{OWNER}: the step of a slice must be 1, got {shown(key.step)}.")
    names = layer_names(OWNER, layers)
    ends: list[int | None] = []
    for end in (key.start, key.stop):
        if isinstance(end, str):
            if end not in names:
                raise KeyError(f"no layer {shown(end)}; there are: {listed(names)}")
            ends.append(names.index(end))
        else:
            ends.append(None if end is None else as_place(end))
    low, high, _ = slice(*ends).indices(len(layers))
    if low >= high:
        raise ValueError(f"{OWNER}: a slice must hold at least one layer, got [{shown(key.start)}:{shown(key.stop)}] "
                         f"of {len(layers)}.")
    return low, high


def as_place(key: Any) -> int:
    """A place as an int."""
    try:
        return operator.index(key)
    except TypeError:
        raise TypeError(f"{OWNER}: a layer must be given by its place or its name, got {shown(key)}.") from None
