"""BatchNorm, over the batch for each channel, LayerNorm, along axes of a sample, and Normalization by given numbers."""
from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ldl_cy._engine.axes import merged
from ldl_cy.checks import check_axes, check_real
from ldl_cy.layers.base import Built, Layer, Parameter, Shape
from ldl_cy.messages import shown

# axes that the kernels of LayerNorm and Normalization have room for; adjacent axes of one kind count as one
MOST_AXES, MOST_SHARED_AXES = 12, 16
SMALLEST = 1e-7                 # standard deviation by which Normalization divides, as in Keras


def channels(owner: str, input_shape: Shape) -> int:
    """The length of the last axis; a ValueError if there is none."""
    if not input_shape:
        raise ValueError(f"{owner}: the input must have the shape (..., channels), got ().")
    return input_shape[-1]


def own_axes(owner: str, axis: int | tuple[int, ...], input_shape: Shape) -> tuple[int, ...]:
    """The axes of a sample, counted from 0 and in order, of axes counted with the batch or from the end."""
    given, rank = axis if isinstance(axis, tuple) else (axis,), len(input_shape)
    axes = {a - 1 if a > 0 else rank + a for a in given}
    if not all(0 <= a < rank for a in axes) or len(axes) < len(given):
        raise ValueError(f"{owner}: axis must be different axes 1 .. {rank} or -{rank} .. -1 of the input "
                         f"{tuple(input_shape)}, got {axis}.")
    return tuple(sorted(axes))


class BatchNorm(Layer):
    """Normalize each channel over the batch: y = gamma (x - mean) / sqrt(variance + epsilon) + beta.

    In training, mean and variance are those of the whole batch, over all axes but the last; in inference they are
    running averages, updated after each step: running = momentum running + (1 - momentum) batch. A layer that is
    not trainable uses its running averages in training too, and does not update them.

    Parameters
    ----------
    momentum : float in [0, 1], default=0.9
        The weight of the old running average.
    epsilon : float > 0, default=1e-5
        Added to the variance.
    name, trainable : see ``Layer``

    Shape
    -----
    Output as input, (..., channels). With lengths and an input (time, ..., channels) only valid steps are used,
    and the output past the end of a sequence is zero.

    Attributes
    ----------
    gamma : (channels,), initially ones
    beta : (channels,), initially zeros
    mean : (channels,), state, initially zeros
    variance : (channels,), state, initially ones; biased: the sum of squares is divided by the count

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input without axes.

    References
    ----------
    Ioffe, Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate
    shift", ICML 2015. Statistics of blocks are merged as in Chan, Golub, LeVeque, "Algorithms for computing
    the sample variance", The American Statistician 37 (1983).
    """

    def __init__(
        self, momentum: float = 0.9, epsilon: float = 1e-5, *, name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.momentum = check_real("BatchNorm", "momentum", momentum, 0, 1)
        self.epsilon = check_real("BatchNorm", "epsilon", epsilon, 0, low_open=True)

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.batch_norm import batch_norm

        k = channels("BatchNorm", input_shape)
        n_steps = input_shape[0] if len(input_shape) > 1 else 1
        kernel = partial(
            batch_norm, n_steps=n_steps, inner=math.prod(input_shape) // (n_steps * k), k=k,
            momentum=self.momentum, epsilon=self.epsilon)
        return Built(
            tuple(input_shape), kernel, (Parameter("gamma", (k,), "ones"), Parameter("beta", (k,), "zeros")),
            (Parameter("mean", (k,), "zeros"), Parameter("variance", (k,), "ones")))


class LayerNorm(Layer):
    """Normalize each sample along some axes: y = gamma (x - mean) / sqrt(variance + epsilon) + beta.

    By default each vector along the last axis is normalized. Mean and variance are those of the numbers along ``axis``,
    for each place along the other axes, in training and in inference: samples are independent of each other.

    Parameters
    ----------
    epsilon : float > 0, default=1e-5
        Added to the variance.
    axis : int or tuple of different ints, default=-1
        The axes that are normalized, as in Keras: counted from 1, since 0 is the batch, or negative, from the end. For
        images (height, width, channels), (1, 2) normalizes each channel and (1, 2, 3) all numbers of an image.
    name, trainable : see ``Layer``

    Shape
    -----
    Output as input, (..., channels). With lengths and ``axis`` 1, the steps, only valid steps are used, and the output
    past the end of a sequence is zero.

    Attributes
    ----------
    gamma : the input's lengths along ``axis``, in their order in the input; initially ones
    beta : likewise, initially zeros

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input without one of the axes.

    References
    ----------
    Ba, Kiros, Hinton, "Layer normalization", arXiv:1607.06450 (2016).
    """

    axis: int | tuple[int, ...] = -1        # of objects that were pickled before there was an ``axis``

    def __init__(
        self, epsilon: float = 1e-5, axis: int | tuple[int, ...] = -1, *, name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.epsilon = check_real("LayerNorm", "epsilon", epsilon, 0, low_open=True)
        self.axis = check_axes("LayerNorm", "axis", axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, by name; ``axis`` where it is not -1, so that older files and new are equal."""
        config = super().get_config()
        if self.axis == -1:
            del config["axis"]
        return config

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.layer_norm import layer_norm
        from ldl_cy._kernels.layer_norm_axes import layer_norm_axes

        channels("LayerNorm", input_shape)
        axes = own_axes("LayerNorm", self.axis, input_shape)
        shape = tuple(input_shape[axis] for axis in axes)
        k, size = math.prod(shape), math.prod(input_shape)
        n_steps = input_shape[0] if 0 in axes and len(input_shape) > 1 else 0
        inside = tuple(n if axis in axes else 1 for axis, n in enumerate(input_shape))
        outside = tuple(1 if axis in axes else n for axis, n in enumerate(input_shape))
        sizes, (params, groups) = merged(tuple(input_shape), [inside, outside])
        if k == 1 or not any(params[:-1]):
            # vectors of neighbours
            kernel = partial(
                layer_norm, vectors=size // k, k=k, epsilon=self.epsilon, n_steps=n_steps if n_steps > 1 else 0)
        elif len(sizes) > MOST_AXES:
            raise ValueError(f"LayerNorm: axis must change between normalized and not at most {MOST_AXES - 1} times "
                             f"along the input {input_shape}, got {self.axis}.")
        else:
            kernel = partial(
                layer_norm_axes, sizes=sizes, groups=groups, params=params, epsilon=self.epsilon,
                n_steps=n_steps if n_steps > 1 else 0)
        return Built(tuple(input_shape), kernel, (Parameter("gamma", shape, "ones"), Parameter("beta", shape, "zeros")))


@dataclass(frozen=True)
class Given:
    """The initializer that returns given numbers: one, or (nested) tuples of the array's shape."""

    values: Any

    def __call__(self, shape: Shape, rng: Any) -> np.ndarray:
        return np.full(shape, self.values, float)


def given_numbers(name: str, value: Any, low: float = -math.inf) -> Any:
    """A finite number >= low as a float, or several as (nested) tuples of floats."""
    try:
        array = np.asarray(value)
    except ValueError:              # sequences of several lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "fiu" or np.ma.is_masked(value):
        raise TypeError(f"Normalization: {name} must be a number or a tuple of them, got {shown(value)}.")
    with np.errstate(over="ignore"):
        numbers = array.astype(float)
    if not np.isfinite(numbers).all() or (numbers < low).any():
        least = "" if low == -math.inf else f" >= {low:g}"
        raise ValueError(f"Normalization: {name} must be finite numbers{least}, got {shown(value)}.")

    def nested(part: Any) -> Any:
        return tuple(map(nested, part)) if isinstance(part, list) else part

    return nested(numbers.tolist())


class Normalization(Layer):
    """Normalize by given numbers: y = (x - mean) / max(sqrt(variance), 1e-7). Nothing is trained.

    With the statistics of the training data the model takes raw samples: preprocessing is part of it.

    Parameters
    ----------
    mean : number or array-like, default=0.0
        One for all, or one for each place along ``axis``.
    variance : number >= 0 or array-like, default=1.0
        Likewise.
    axis : int, tuple of different ints or None, default=-1
        The axes along which each place has its own mean and variance, as in Keras: counted from 1, since 0 is the
        batch, or negative, from the end. None: one mean and one variance for all numbers.
    name, trainable : see ``Layer``

    Shape
    -----
    Output as input, (..., channels). With lengths the output past the end of a sequence is zero.

    Attributes
    ----------
    mean : the input's lengths along ``axis``, in their order in the input; state
    variance : likewise

    Raises
    ------
    TypeError, ValueError
        An argument of the wrong type or range; in ``build`` an input without one of the axes, or of other lengths than
        ``mean`` and ``variance`` have numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from ldl_cy import Sequential, layers
    >>> X = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> Sequential([layers.Normalization(X.mean(0), X.var(0))]).build(2).predict(X)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    """

    def __init__(
        self, mean: Any = 0.0, variance: Any = 1.0, axis: int | tuple[int, ...] | None = -1, *,
        name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.mean = given_numbers("mean", mean)
        self.variance = given_numbers("variance", variance, 0)
        self.axis = None if axis is None else check_axes("Normalization", "axis", axis)

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.normalization import normalization

        axes = () if self.axis is None else own_axes("Normalization", self.axis, input_shape)
        shape = tuple(input_shape[axis] for axis in axes)
        for name in ("mean", "variance"):
            value = getattr(self, name)
            if isinstance(value, tuple) and np.shape(value) != shape:
                raise ValueError(f"Normalization: {name} must be a number or have the shape {shape} of the input "
                                 f"{tuple(input_shape)} along axis {self.axis}, got the shape {np.shape(value)}.")
        own = tuple(n if axis in axes else 1 for axis, n in enumerate(input_shape))
        sizes, (strides,) = merged(tuple(input_shape), [own])
        if len(sizes) > MOST_SHARED_AXES:
            raise ValueError(f"Normalization: axis must change between own numbers and shared ones at most "
                             f"{MOST_SHARED_AXES - 1} times along the input {tuple(input_shape)}, got {self.axis}.")
        kernel = partial(normalization, sizes=sizes, strides=strides, smallest=SMALLEST)
        return Built(tuple(input_shape), kernel, (), (
            Parameter("mean", shape, Given(self.mean)), Parameter("variance", shape, Given(self.variance))))
