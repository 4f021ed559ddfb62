"""Parts that several architectures share: convolutions followed by normalization."""
from __future__ import annotations

from typing import Any

from ldl_cy.checks import check_int
from ldl_cy.layers import Activation, BatchNorm, Conv1D, Conv2D, Layer
from ldl_cy.messages import shown


def keras_norm() -> BatchNorm:
    """BatchNorm with Keras's epsilon, as in the published networks for series.

    Keras's momentum, 0.99, is made for the thousands of steps of those fits: after 250 steps a running variance still
    has a twelfth of the 1 at which it began, more than all of a small variance.
    """
    return BatchNorm(epsilon=1e-3)


def series_block(filters: int, kernel_size: int, *, activation: str | None = "relu") -> list[Layer]:
    """Conv1D, BatchNorm and an activation, as in Wang, Yan and Oates 2017."""
    block: list[Layer] = [Conv1D(filters, kernel_size, padding="same"), keras_norm()]
    return block if activation is None else [*block, Activation(activation)]


def image_block(
    filters: int, kernel_size: int, strides: int = 1, *, activation: str | None = "relu", **settings: Any,
) -> list[Layer]:
    """Conv2D without bias, padded by half its window, BatchNorm and an activation."""
    block: list[Layer] = [
        Conv2D(filters, kernel_size, strides, padding=kernel_size // 2, use_bias=False, kernel_initializer="he_normal",
               **settings),
        BatchNorm()]
    return block if activation is None else [*block, Activation(activation)]


def sizes(owner: str, name: str, value: Any) -> tuple[int, ...]:
    """A sequence of ints >= 1, at least one."""
    if not isinstance(value, (tuple, list)) or not value:
        raise (ValueError if isinstance(value, (tuple, list)) else TypeError)(
            f"{owner}: {name} must be a list of ints >= 1, got {shown(value)}.")
    return tuple(check_int(owner, name, size) for size in value)
