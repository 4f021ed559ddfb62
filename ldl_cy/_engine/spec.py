"""Parameter and Built: what a layer passes to the graph."""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ldl_cy._engine.op import Kernel

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Parameter:
    """One array of weights, or of running statistics.

    Attributes
    ----------
    name : str
    shape : tuple of ints
    initializer : str or initializer
        See ``initializers.get``.
    decays : bool, default=False
        Whether alpha and weight_decay act on it: True for kernels and tables, not for biases, slopes and the
        parameters of normalization.
    """

    name: str
    shape: Shape
    initializer: Any
    decays: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Built:
    """The result of a layer's ``build``.

    Attributes
    ----------
    output_shape : tuple of ints, without the batch axis
    kernel : function dtype -> Kernel, or None if only the shape changes
    parameters : tuple of Parameter, in the order in which the kernel reads them from theta
    state : tuple of Parameter, running statistics in the kernel's order
    check_input : function of X (n, size), or None
        Raises a ValueError for finite numbers that the layer does not accept. Such a layer must read the model's
        input, since outputs of other layers are not checked.
    keeps_steps : bool, default=None
        Whether the first axis of the output is that of the input, so that lengths of sequences still apply to it.
        None: with a kernel if it is as long as before, without one if the shape is the same.
    """

    output_shape: Shape
    kernel: Callable[[str], Kernel] | None = None
    parameters: tuple[Parameter, ...] = ()
    state: tuple[Parameter, ...] = ()
    check_input: Callable[[np.ndarray], None] | None = None
    keeps_steps: bool | None = None
