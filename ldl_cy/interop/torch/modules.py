"""Modules of torch for what torch.nn has no module for. Imported, with torch, when ``to_torch`` is called.

Their classes are found again when a module is read from a pickle, and by ``from_torch``.
"""
from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ldl_cy.interop.torch.steps import OWNER, Step
from ldl_cy.messages import shown


class Network(nn.Sequential):
    """An nn.Sequential that knows in which order the axes of its input are.

    Attributes
    ----------
    order : tuple of ints
        The axis k of the input, without the batch axis, is axis ``order[k]`` in ldl_cy.
    dtype : str
        Of the model that it was made of, which may have no weights.
    """

    def __init__(self, children: OrderedDict[str, nn.Module], order: tuple[int, ...], dtype: str) -> None:
        super().__init__(children)
        self.order, self.dtype = order, dtype


class MoveAxes(nn.Module):
    """x.permute of the axes behind the batch axis, counted from 0 without it: a change of layout."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, *(axis + 1 for axis in self.axes))

    def extra_repr(self) -> str:
        return f"axes={self.axes}"


class Permute(MoveAxes):
    """The same as a layer of the model."""


class Reorder(nn.Module):
    """The numbers of a vector in another order."""

    def __init__(self, places: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("places", torch.tensor(places, dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.places]


class Reshape(nn.Module):
    """A sample in another shape; ``order`` is that of ldl_cy's axes in it."""

    def __init__(self, shape: tuple[int, ...], order: tuple[int, ...]) -> None:
        super().__init__()
        self.shape, self.order = shape, order

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.shape)

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


class _Padded(nn.Module):
    """Base class of pooling whose padding torch.nn has no argument for."""

    def __init__(self, kernel_size: Any, stride: Any, around: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.around = kernel_size, stride, around
        self.sides = [count for both in reversed(around) for count in both]

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, around={self.around}"


class PaddedMaxPool(_Padded):
    """The maximum over windows, with -inf around."""

    def forward(self, x: Tensor) -> Tensor:
        pool = F.max_pool1d if len(self.around) == 1 else F.max_pool2d
        return pool(F.pad(x, self.sides, value=-math.inf), self.kernel_size, self.stride)


class PaddedAvgPool(_Padded):
    """The mean over the cells of windows that are not padding."""

    def forward(self, x: Tensor) -> Tensor:
        pool = F.avg_pool1d if len(self.around) == 1 else F.avg_pool2d
        ones = F.pad(torch.ones_like(x[:1, :1]), self.sides)
        share = pool(ones, self.kernel_size, self.stride)
        return pool(F.pad(x, self.sides), self.kernel_size, self.stride) / share


class BatchNormNd(nn.modules.batchnorm._BatchNorm):
    """BatchNorm of any number of axes."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


class Normalization(nn.Module):
    """(x - mean) / sqrt(variance) with numbers that do not change."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape, dtype=dtype))
        self.register_buffer("variance", torch.ones(shape, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.variance.sqrt().clamp_min(1e-7)


class CategoryEmbedding(nn.Module):
    """A table for each column of categories at ``places``, beside the other columns; see the layer of this name."""

    def __init__(
        self, n_in: int, places: Sequence[int], input_dims: Sequence[int], output_dims: Sequence[int],
        names: Sequence[str], dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.places, self.names = tuple(places), tuple(names)
        self.numbers = [i for i in range(n_in) if i not in self.places]
        for i, (size, k) in enumerate(zip(input_dims, output_dims)):
            self.register_parameter(f"table_{i}", nn.Parameter(torch.zeros(size, k, dtype=dtype)))
            self.register_buffer(f"counts_{i}", torch.ones(size, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        found = [x[:, self.numbers].to(self.table_0.dtype)]
        for i, place in enumerate(self.places):
            table, counts = getattr(self, f"table_{i}"), getattr(self, f"counts_{i}")
            mean = (counts / counts.sum().clamp_min(1e-30)) @ table
            found.append(F.embedding(x[:, place].long(), torch.cat([table, mean[None]])))
        return torch.cat(found, 1)


class Slopes(nn.Module):
    """PReLU with slopes of any shape, 1 along axes that share them."""

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp_min(0) + self.weight * x.clamp_max(0)


class _Plain(nn.Module):
    """Base class of recurrent modules that return their sequence or their last state alone."""

    def __init__(
        self, *arguments: Any, return_sequences: bool, go_backwards: bool, merge_mode: str = "concat", **settings: Any,
    ) -> None:
        super().__init__(*arguments, batch_first=True, **settings)
        self.return_sequences, self.go_backwards, self.merge_mode = return_sequences, go_backwards, merge_mode

    def forward(self, x: Tensor) -> Tensor:
        y, state = super().forward(x.flip(1) if self.go_backwards else x)
        if not self.return_sequences:
            last = state[0] if isinstance(state, tuple) else state
            return self._merged(last[0], last[1]) if self.bidirectional else last[0]
        if not self.bidirectional:
            return y                    # in the order of processing
        y = y.flip(1) if self.go_backwards else y
        return self._merged(*y.chunk(2, -1))

    def _merged(self, forward: Tensor, backward: Tensor) -> Tensor:
        return forward + backward if self.merge_mode == "sum" else torch.cat([forward, backward], -1)


class PlainRNN(_Plain, nn.RNN):
    """nn.RNN of one layer that returns one tensor."""


class PlainLSTM(_Plain, nn.LSTM):
    """nn.LSTM of one layer that returns one tensor."""


class PlainGRU(_Plain, nn.GRU):
    """nn.GRU of one layer that returns one tensor."""


class _Branches(nn.Module):
    """Base class of branches: children "0", "1", … are the paths."""

    def __init__(self, *paths: nn.Module) -> None:
        super().__init__()
        for i, path in enumerate(paths):
            self.add_module(str(i), path)

    def outputs(self, x: Tensor) -> list[Tensor]:
        """Those of all paths."""
        return [path(x) for path in self.children()]


class Add(_Branches):
    """The sum of paths."""

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.outputs(x)
        for other in others:
            first = first + other
        return first


class Multiply(_Branches):
    """The product of paths."""

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.outputs(x)
        for other in others:
            first = first * other
        return first


class Concatenate(_Branches):
    """The outputs of paths beside each other."""

    def __init__(self, *paths: nn.Module, dim: int) -> None:
        super().__init__(*paths)
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.outputs(x), self.dim)


WITH_DTYPE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.PReLU, nn.Embedding,
              nn.RNNBase, Normalization, CategoryEmbedding, Slopes)


def _made(step: Step, dtype: torch.dtype) -> nn.Module:
    if step.paths:
        paths = [nn.Sequential(children(path, dtype)) for path in step.paths]
        return globals()[step.kind](*paths, **step.settings)
    kind = globals().get(step.kind) or getattr(nn, step.kind)
    options = {"dtype": dtype} if issubclass(kind, WITH_DTYPE) else {}
    return kind(**step.settings, **options)


def children(steps: Sequence[Step], dtype: torch.dtype) -> OrderedDict[str, nn.Module]:
    """The modules of these steps by their names, with initial weights of torch's."""
    empty = Network(OrderedDict(), (), "")
    for step in steps:
        if hasattr(empty, step.name):
            raise ValueError(f"{OWNER}: a layer's name must not be an attribute of nn.Sequential, "
                             f"got {shown(step.name)}.")
    return OrderedDict((step.name, _made(step, dtype)) for step in steps)
