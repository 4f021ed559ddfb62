"""PyTorch: its modules and state dicts here, and networks as its modules.

Images are (n, c, h, w) there and (n, h, w, c) here. Signals (n, channels, time) where a convolution, a pooling or
BatchNorm reads them first, (n, time, features) where a recurrent or a Linear layer does; vectors have the same order.
What a Flatten of channels-first values changes is found from the shapes, in both directions.
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
    """The weights and running statistics of a model under torch's names and in its layouts; torch is not needed.

    Parameters
    ----------
    model : Sequential, built

    Returns
    -------
    dict of arrays, copies, as ``to_torch(model).state_dict()`` has them

    Raises
    ------
    ValueError
        Layers without a counterpart, all of them named; a model that is not built.
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
        return their sequence or their last state alone, padding of pooling that differs from side to side, changes of
        layout. Weights are copies in the model's dtype. An Embedding takes ids as ints.

    Raises
    ------
    ValueError
        Layers without a counterpart, all of them named: Custom, an RNN whose activation is neither tanh nor relu;
        layers named as attributes of nn.Sequential; a model that is not built.
    ImportError
        torch is not installed.
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

    Entries belong to the layers of the same names, if all have those of ``torch_state_dict(model)``. Otherwise
    modules, which are entries with the same prefix, belong to layers in their order. If kinds or shapes do not fit that
    way, each belongs to the layer of its kind and shape; several of one kind and shape must have names that differ in
    numbers only, which then give their order. Files are sorted by name, so that their order says nothing.

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
        Shapes that differ, entries that fit in no way or in several (both sides are listed), numbers that are not
        finite, too large for the model's dtype or no floats. The model is unchanged.
    RuntimeError
        A fit of the model is running.

    Notes
    -----
    A Flatten is taken to be one of channels-first maps there. ``num_batches_tracked`` is left out. Recurrent modules of
    several layers are as many layers here. Training is counted on, and an optimizer's state stays as it is.
    """
    with Exclusive([model], "of this model"), entries_of("load_torch", state_dict) as entries:
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
        Its outputs are the module's in evaluation mode, with images channels-last. Layers have the names of the
        children that are words. A recurrent module gives its sequence.

    Raises
    ------
    ValueError
        Modules without a counterpart, by path and class, all of them listed: transposed convolutions, attention,
        classes of your own, weight_norm and others. Modules that do not fit the input shape, weights that are not
        finite.
    ImportError
        torch is not installed.

    Notes
    -----
    Inference is the same, training need not be: torch's running variance is unbiased, and Dropout2d leaves out whole
    channels, where Dropout leaves out numbers.
    """
    torch = import_package("from_torch", "torch")
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch: module must be an nn.Module, got {shown(module)}.")
    shape = check_input_shape(input_shape)
    dtypes = {tensor.dtype for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()}
    dtype = "float64" if torch.float64 in dtypes else "float32"
    if not dtypes and type(module).__module__ == OWN:
        dtype = getattr(module, "dtype", dtype)         # of the model that it was made of
    return assemble("from_torch", read(module, shape), shape, dtype)
