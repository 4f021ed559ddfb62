"""Custom, a layer written in NumPy."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ldl_cy.checks import as_result, check_ints
from ldl_cy.initializers import get as get_initializer
from ldl_cy.layers.base import Built, Layer, Parameter, Shape
from ldl_cy.messages import shown


class Custom(Layer):
    """A layer whose two passes are Python functions on NumPy arrays.

    Parameters
    ----------
    forward : function (parameters, x) -> y
        ``parameters`` maps names to arrays, x is (n, *input_shape), y must be (n, *output_shape). The output of a
        row must not depend on other rows, since a batch is passed in blocks.
    backward : function (parameters, x, y, dy) -> (dx, gradients)
        dy is the gradient of y; dx must be (n, *input_shape), ``gradients`` maps each parameter's name to an array
        of its shape, summed over the rows. Both functions get read-only arrays in the model's dtype, which they may
        keep. NumPy's warnings about numbers that are not finite are off in them: such a number ends the fit with a
        FloatingPointError.
    output_shape : tuple of ints, or function input_shape -> tuple
    parameters : dict of name to shape, default=None
        A shape is an int or a tuple of ints.
    initializer : str or initializer, default="glorot_uniform"
        For parameters of two or more axes; the others are initialized to zero.
    name, trainable : see ``Layer``

    Shape
    -----
    Input (...), output ``output_shape``.

    Raises
    ------
    TypeError, ValueError
        Bad arguments. In use, a result of the wrong shape or of other than real numbers. Exceptions of the functions
        are raised by the call that ran them, the epoch is discarded, and the model stays usable.

    Notes
    -----
    A network with such a layer runs on the calling thread. Files store only the names of the functions:
    ``Sequential.load(path, custom={"my_forward": my_forward, ...})``.
    """

    def __init__(
        self, forward: Callable[..., Any], backward: Callable[..., Any], output_shape: Any,
        parameters: Mapping[str, Any] | None = None, *, initializer: Any = "glorot_uniform",
        name: str | None = None, trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        for argument, value in (("forward", forward), ("backward", backward)):
            if not callable(value):
                raise TypeError(f"Custom: {argument} must be a function, got {shown(value)}.")
        self.forward, self.backward = forward, backward
        if not callable(output_shape):
            output_shape = self._shape("output_shape", output_shape)
        self.output_shape = output_shape
        if parameters is not None and not isinstance(parameters, Mapping):
            raise TypeError(f"Custom: parameters must be a dict of name to shape, got {shown(parameters)}.")
        shapes = {}
        for key, shape in (parameters or {}).items():
            if not isinstance(key, str) or not key.isidentifier():
                raise ValueError(f"Custom: parameters must have names that are words, got {shown(key)}.")
            shapes[key] = self._shape(f"parameters[{key!r}]", shape)
        self.parameters = shapes
        self.initializer = initializer
        get_initializer("Custom", "initializer", initializer)

    @staticmethod
    def _shape(argument: str, shape: Any) -> Shape:
        given = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        return check_ints("Custom", argument, given, len(given))

    def build(self, input_shape: Shape) -> Built:
        from ldl_cy._kernels.custom import custom

        shape = self.output_shape
        if callable(shape):
            shape = self._shape("output_shape", shape(tuple(input_shape)))
        kernel = partial(custom, layer=self, input_shape=tuple(input_shape), output_shape=shape,
                         parameters=tuple(self.parameters.items()))
        return Built(shape, kernel, tuple(
            Parameter(key, s, self.initializer if len(s) >= 2 else "zeros", decays=len(s) >= 2)
            for key, s in self.parameters.items()))

    def _views(self, parameters: tuple[tuple[str, Shape], ...], vector: np.ndarray) -> dict[str, np.ndarray]:
        views, start = {}, 0
        for key, shape in parameters:
            size = math.prod(shape)
            views[key] = vector[start:start + size].reshape(shape)
            start += size
        return views

    def run_forward(self, parameters: Any, theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        """Called by the kernel; writes y."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            given = self.forward(self._views(parameters, theta), x)
        y[...] = as_result("Custom", "the result of forward", given, y.shape, y.dtype)

    def run_backward(
        self, parameters: Any, theta: np.ndarray, x: np.ndarray, y: np.ndarray, dy: np.ndarray,
        dx: np.ndarray | None, grad: np.ndarray | None,
    ) -> None:
        """Called by the kernel; writes dx and adds to grad."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result = self.backward(self._views(parameters, theta), x, y, dy)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"Custom: backward must return (dx, gradients), got {type(result).__name__}.")
        if dx is not None:
            dx[...] = as_result("Custom", "dx", result[0], dx.shape, dx.dtype)
        if grad is None:
            return
        gradients = {} if result[1] is None else result[1]
        if not isinstance(gradients, Mapping):
            raise TypeError("Custom: backward must return gradients as a dict of parameters' names to arrays, got "
                            f"{type(gradients).__name__}.")
        found = {}
        for key, view in self._views(parameters, grad).items():
            if key not in gradients:
                raise ValueError(f"Custom: backward must return a gradient for {key!r}, got {shown(list(gradients))}.")
            found[key] = as_result("Custom", f"the gradient of {key!r}", gradients[key], view.shape, view.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            for key, view in self._views(parameters, grad).items():
                view += found[key]
