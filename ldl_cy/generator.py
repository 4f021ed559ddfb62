"""Generator, random numbers for functions that draw initial weights: NumPy's methods, on a stream of the library's own.

NumPy does not promise the same numbers from one version to the next; these are functions of the seed alone.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import xlog1py

from ldl_cy._engine.rng import Stream
from ldl_cy.messages import shown

OWNER = "Generator"
MOST_INTEGERS = 1 << 53         # a draw has 53 random bits
Size = int | tuple[int, ...] | list[int] | None


class Generator:
    """Random numbers by the methods of ``numpy.random.Generator``, with the same arguments.

    Sizes are ints or tuples; None gives one number, or as many as the parameters, which broadcast. A tuple or a list
    as the only argument of ``uniform`` or ``normal`` is the size: ``rng.normal(shape)``.

    Parameters
    ----------
    stream : Stream
        The numbers continue where the last call ended.

    Raises
    ------
    ValueError, TypeError
        A parameter for which the distribution is not defined, or parameters and a size that do not broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> from ldl_cy import Sequential, layers
    >>> def signs(shape, rng):
    ...     return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 0.2, shape)
    >>> model = Sequential([layers.Dense(50, kernel_initializer=signs)], random_state=0).build(10)
    >>> kernel = model.parameters["dense_0.kernel"]
    >>> bool(np.abs(kernel).min() >= 0.1 and (kernel < 0).any())
    True
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def random(self, size: Size = None) -> Any:
        """U(0, 1): numbers >= 0 and < 1, of 53 random bits."""
        return self._draw(self._stream.uniform, size)

    def standard_normal(self, size: Size = None) -> Any:
        """N(0, 1)."""
        return self._draw(self._stream.normal, size)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Size = None) -> Any:
        """U(low, high)."""
        if isinstance(low, (tuple, list)) and size is None and np.ndim(high) == 0 and high == 1.0:
            low, size = 0.0, tuple(low)
        low, high = _numbers("low", low), _numbers("high", high)
        return low + (high - low) * self.random(_size(size, low, high))

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Size = None) -> Any:
        """N(loc, scale²)."""
        if isinstance(loc, (tuple, list)) and size is None and np.ndim(scale) == 0 and scale == 1.0:
            loc, size = 0.0, tuple(loc)
        loc, scale = _numbers("loc", loc), _numbers("scale", scale, 0)
        return loc + scale * self.standard_normal(_size(size, loc, scale))

    def lognormal(self, mean: Any = 0.0, sigma: Any = 1.0, size: Size = None) -> Any:
        """exp of N(mean, sigma²)."""
        mean, sigma = _numbers("mean", mean), _numbers("sigma", sigma, 0)
        return np.exp(mean + sigma * self.standard_normal(_size(size, mean, sigma)))

    def exponential(self, scale: Any = 1.0, size: Size = None) -> Any:
        """The density exp(−x/scale)/scale for x >= 0, by its inverse distribution function −scale log(1 − u)."""
        scale = _numbers("scale", scale, 0)
        return -xlog1py(scale, -self.random(_size(size, scale)))

    def laplace(self, loc: Any = 0.0, scale: Any = 1.0, size: Size = None) -> Any:
        """The density exp(−|x − loc|/scale)/(2 scale): an exponential number with a random sign."""
        loc, scale = _numbers("loc", loc), _numbers("scale", scale, 0)
        u = 2 * self.random(_size(size, loc, scale)) - 1
        return loc - scale * np.sign(u) * np.log1p(-np.minimum(np.abs(u), 1 - 2.0**-53))

    def integers(
        self, low: int, high: int | None = None, size: Size = None, dtype: Any = np.int64, endpoint: bool = False,
    ) -> Any:
        """Whole numbers from low to high − 1, or to high with ``endpoint``; from 0 to low − 1 without ``high``."""
        first, last = (0, low) if high is None else (low, high)
        count = int(last) - int(first) + bool(endpoint)
        if not 0 < count <= MOST_INTEGERS:
            raise ValueError(f"{OWNER}: integers must have 1 to 2^53 numbers to choose from, got {count}.")
        # u <= 1 − 2⁻⁵³, so that u · count is rounded to less than count
        return (np.floor(self.random(size) * count).astype(np.int64) + int(first)).astype(dtype)[()]

    def choice(self, a: Any, size: Size = None, replace: bool = True, p: Any = None) -> Any:
        """Elements of the sequence a, or of 0 .. a − 1 for an int, with probabilities p or equal ones.

        Without ``replace`` each element at most once, as if they were drawn one after the other (Efraimidis and
        Spirakis, Information Processing Letters 97, 2006: the smallest of −log(u)/p).
        """
        values = np.arange(a) if np.ndim(a) == 0 else np.asarray(a)
        n = len(values)
        if n == 0:
            raise ValueError(f"{OWNER}: a must hold an element, got {shown(a)}.")
        weights = np.ones(n) if p is None else _numbers("p", p, 0)
        if weights.shape != (n,) or not weights.sum() > 0:
            raise ValueError(f"{OWNER}: p must be {n} numbers >= 0, not all 0, got {shown(p)}.")
        if replace:
            ends = np.cumsum(weights)
            # in units of the last end; an element without weight has no interval
            found = np.searchsorted(ends / ends[-1], self.random(size), side="right")
            return values[np.minimum(found, np.flatnonzero(weights)[-1])]
        count = 1 if size is None else int(np.prod(size))
        if count > np.count_nonzero(weights):
            raise ValueError(f"{OWNER}: size must be at most {np.count_nonzero(weights)} without replace, got "
                             f"{shown(size)}.")
        with np.errstate(divide="ignore"):
            keys = self.exponential(size=n) / weights
        chosen = values[np.argsort(keys, kind="stable")[:count]]
        return chosen[0] if size is None else chosen.reshape(size)

    def permutation(self, x: Any) -> np.ndarray:
        """The numbers 0 .. x − 1, or the elements of x along its first axis, in random order; a copy."""
        values = np.arange(x) if np.ndim(x) == 0 else np.asarray(x)
        return values[np.argsort(self.random(len(values)), kind="stable")]

    def shuffle(self, x: np.ndarray) -> None:
        """Permute an array along its first axis, in place."""
        x[...] = self.permutation(x)

    def _draw(self, method: Any, size: Size) -> Any:
        return float(method(1)[0]) if size is None else method(size if isinstance(size, int) else tuple(size))


def _numbers(name: str, value: Any, least: float | None = None) -> Any:
    """A parameter as finite float64, a number or an array."""
    try:
        values = np.asarray(value, float)
    except (TypeError, ValueError):
        raise TypeError(f"{OWNER}: {name} must be a number or an array of them, got {shown(value)}.") from None
    if not np.isfinite(values).all() or (least is not None and (values < least).any()):
        raise ValueError(f"{OWNER}: {name} must be finite{'' if least is None else f' and >= {least:g}'}, got "
                         f"{shown(value)}.")
    return values[()]


def _size(size: Size, *parameters: Any) -> Size:
    """The size of a result, which without a given one is that of the parameters."""
    shapes = [np.shape(parameter) for parameter in parameters]
    if size is None:
        return np.broadcast_shapes(*shapes) or None
    wanted = (size,) if isinstance(size, int) else tuple(size)
    if np.broadcast_shapes(wanted, *shapes) != wanted:
        raise ValueError(f"{OWNER}: size must be a shape to which the parameters broadcast, got {shown(size)} for "
                         f"{shown(shapes)}.")
    return wanted
