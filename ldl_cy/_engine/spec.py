"""What a layer hands to the graph: the shape of its output, its kernel, its parameters."""
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
    """One array of weights.

    Attributes
    ----------
    name : str
    shape : tuple of ints
    initializer : str or initializer
        See ``initializers.get``.
    decays : bool, default=False
        Whether alpha and weight_decay act on it, as on kernels and tables, not on biases, norms and slopes.
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
    """What ``build`` returns.

    Attributes
    ----------
    output_shape : tuple of ints, without the batch axis
    kernel : dtype -> Kernel, or None where only the shape changes
    parameters : in the order in which the kernel lays them out in theta
    state : running statistics, likewise
    check_input : function of X (n, size), or None
        Raises a ValueError for finite numbers that the layer cannot take. A layer that has one reads the model's
        input: nothing checks what another layer makes.
    """

    output_shape: Shape
    kernel: Callable[[str], Kernel] | None = None
    parameters: tuple[Parameter, ...] = ()
    state: tuple[Parameter, ...] = ()
    check_input: Callable[[np.ndarray], None] | None = None
