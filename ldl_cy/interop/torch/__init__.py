"""PyTorch: its modules and state dicts here, and networks as its modules.

Images are (n, c, h, w) there and (n, h, w, c) here. Signals are (n, channels, time) where a convolution, a pooling or
a BatchNorm reads them first, and (n, time, features) where a recurrent or a Linear layer does; vectors are the same.
How a Flatten of channels-first values reorders the rows of the Linear behind it is inferred from the shapes, in both
directions.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy._engine.process import Exclusive
from ldl_cy.checks import check_values
from ldl_cy.interop.assembly import assemble
from ldl_cy.interop.torch.names import assign
from ldl_cy.interop.torch.reader import OWN
from ldl_cy.interop.torch.reading import read
from ldl_cy.interop.torch.steps import OWNER, with_names
from ldl_cy.interop.torch.writing import steps
from ldl_cy.messages import shown
from ldl_cy.models import Sequential
from ldl_cy.network import check_input_shape
from ldl_cy.packages import import_package
from ldl_cy.weights import WeightsReport, check_dtype, checked, entries_of, replace

if TYPE_CHECKING:
    from torch import nn

__all__ = ["from_torch", "load_torch", "to_torch", "torch_state_dict"]


def torch_state_dict(model: Sequential) -> dict[str, np.ndarray]:
    """The weights and running statistics of a model under torch's names and in torch's layouts; torch is not needed.

    Parameters
    ----------
    model : Sequential, built

    Returns
    -------
    dict of arrays, copies, as ``to_torch(model).state_dict()`` has them

    Raises
    ------
    TypeError
        No ``Sequential``.
    ValueError
        Layers without a counterpart, all of them named; a model that is not built.

    Examples
    --------
    >>> from ldl_cy import Sequential, interop, layers
    >>> model = Sequential([layers.Dense(4, "relu"), layers.Dense(1)]).build(3)
    >>> {name: array.shape for name, array in interop.torch_state_dict(model).items()}
    {'dense_0.weight': (4, 3), 'dense_0.bias': (4,), 'dense_1.weight': (1, 4), 'dense_1.bias': (1,)}
    """
    return {f"{name}.{key}": array for name, step in with_names(steps(model, "torch_state_dict")[0])
            for key, array in step.arrays.items()}


def to_torch(model: Sequential) -> nn.Sequential:
    """The model as a module of torch, in evaluation mode.

    Parameters
    ----------
    model : Sequential, built

    Returns
    -------
    nn.Sequential whose children have the names of the model's layers
        Activations, padding and changes of layout that are modules of their own have a suffix to the layer's name.
        What torch.nn has no module for is one of ``ldl_cy.interop.torch.modules``: branches, recurrent modules that
        return only their sequence or only their last state, padding of pooling that differs from side to side, changes
        of layout. Weights are copies in the model's dtype. An Embedding takes ids as ints.

    Raises
    ------
    TypeError
        No ``Sequential``.
    ValueError
        Layers without a counterpart, all of them named: Custom, an RNN that leaks or whose activation is neither tanh
        nor relu; layers named as attributes of nn.Sequential; a model that is not built.
    ImportError
        torch is not installed: ``pip install torch``.

    Examples
    --------
    >>> from ldl_cy import Sequential, interop, layers
    >>> model = Sequential([layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(2)]).build((8, 8, 3))
    >>> module = interop.to_torch(model)  # doctest: +SKIP
    >>> module(torch.zeros(1, 3, 8, 8)).shape  # doctest: +SKIP
    torch.Size([1, 2])
    """
    torch = import_package(OWNER, "torch")
    found, order = steps(model)
    from ldl_cy.interop.torch import modules

    module = modules.Network(modules.children(found, getattr(torch, model.dtype)), order, model.dtype)
    arrays = {f"{name}.{key}": torch.from_numpy(array) for name, step in with_names(found)
              for key, array in step.arrays.items()}
    module.load_state_dict(arrays)
    return module.eval()


def load_torch(model: Sequential, state_dict: Any) -> WeightsReport:
    """Replace a model's weights and running statistics by those of a network of torch with the same layers.

    Entries are matched by name if their names are those of ``torch_state_dict(model)``. Otherwise they are grouped
    into modules by prefix, and modules are matched with layers in order. Where kinds or shapes differ in that order,
    and for files, whose entries are sorted by name, a module is matched with the layer of its kind and shape; several
    modules of one kind and shape must have names that differ in their numbers only, which then give the order.

    Parameters
    ----------
    model : Sequential, built
    state_dict : mapping of names to arrays or torch's tensors, or a safetensors file, a path or a binary file object

    Returns
    -------
    report : as of ``Sequential.load_weights``; all names are in ``loaded``

    Raises
    ------
    ValueError, TypeError
        Shapes that differ; entries that match no layer, or more than one (both sides are listed); numbers that are no
        floats, not finite or too large for the model's dtype; a source that is neither a mapping nor a safetensors
        file; layers without a counterpart; a model that is not built. The model is unchanged.
    RuntimeError
        A fit of the model is running.

    Notes
    -----
    A Flatten is assumed to be one of channels-first maps. ``num_batches_tracked`` is ignored. A recurrent module of
    several layers counts as that many layers here. The counts of epochs and steps and the optimizer's state are kept.

    Examples
    --------
    >>> from ldl_cy import Sequential, interop, layers
    >>> trained, model = (Sequential([layers.Dense(4, "relu"), layers.Dense(1)], random_state=seed).build(3)
    ...                   for seed in (0, 1))
    >>> report = interop.load_torch(model, interop.torch_state_dict(trained))
    >>> report.loaded
    ['dense_0.kernel', 'dense_0.bias', 'dense_1.kernel', 'dense_1.bias']
    >>> bool((model.theta == trained.theta).all())
    True
    """
    with Exclusive([model], "of this model"), entries_of("load_torch", state_dict, "state_dict") as entries:
        found = [(name, step) for name, step in with_names(steps(model, "load_torch")[0]) if step.arrays]
        chosen = assign(found, {name: entry.shape for name, entry in entries.items()}, isinstance(state_dict, Mapping))
        values = {}
        for (_, step), keys in zip(found, chosen):
            assert step.part is not None and step.to_ours is not None
            for full in keys.values():
                check_dtype("load_torch", full, entries[full].dtype)
            arrays = {key: checked("load_torch", full, entries[full], "float64") for key, full in keys.items()}
            with np.errstate(over="ignore"):
                weights = step.to_ours(arrays)
            for key, value in weights.items():
                name = f"{step.part.name}.{key}"
                check_values("load_torch", f"{name} of {', '.join(keys.values())}", value, model.dtype)
                values[name] = value
        replace(model.network, values)
    return WeightsReport([*filter(values.__contains__, (*model.parameters, *model.state))], [], [], [])


def from_torch(module: nn.Module, input_shape: int | Sequence[int]) -> Sequential:
    """A module of torch as a model, with its weights.

    Parameters
    ----------
    module : nn.Sequential, nested or not, or one module of torch.nn, or a result of ``to_torch``
    input_shape : int or sequence of ints >= 1
        Shape of one sample here, without the batch axis: (h, w, c), (time, features), (tokens,) or (features,).

    Returns
    -------
    Sequential, built, float64 if a weight is, otherwise float32
        Its outputs are the module's in evaluation mode, with images channels-last. Layers take the names of the
        modules where these are identifiers. A recurrent module becomes layers that return sequences.

    Raises
    ------
    TypeError
        No ``nn.Module``.
    ValueError
        Modules without a counterpart, by class and path, up to 20 of them: transposed convolutions, attention, your
        own classes, weight_norm and others. Modules that do not fit the input shape, weights that are not finite.
    ImportError
        torch is not installed: ``pip install torch``.

    Notes
    -----
    Inference is the same; training may differ: torch's running variance is unbiased, and Dropout2d drops whole
    channels, where Dropout drops single numbers.

    Examples
    --------
    >>> from ldl_cy.interop import from_torch
    >>> module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))  # doctest: +SKIP
    >>> model = from_torch(module, (8, 8, 3))  # doctest: +SKIP
    >>> model.predict(images)  # doctest: +SKIP
    """
    torch = import_package("from_torch", "torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch: module must be an nn.Module, got {shown(module)}.")
    shape = check_input_shape(input_shape)
    chain = read(module, shape)
    dtypes = {tensor.dtype for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()}
    dtype = "float64" if torch.float64 in dtypes else "float32"
    if not dtypes and type(module).__module__ == OWN:
        dtype = getattr(module, "dtype", dtype)         # of the model that it was made of
    return assemble("from_torch", chain, shape, dtype)
