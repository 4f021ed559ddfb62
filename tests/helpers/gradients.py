"""The one check of derivatives: against central differences, in float64."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

STEP = 1e-6
TOLERANCE = 2e-8


def central_difference(f: Callable[[Any], Any], x: Any, direction: Any, step: float = STEP) -> np.ndarray:
    """The derivative of f at x along a direction: (f(x + h v) - f(x - h v)) / 2h."""
    return (np.asarray(f(x + step * direction), float) - np.asarray(f(x - step * direction), float)) / (2 * step)


def check_derivative(f: Callable[[Any], Any], x: Any, direction: Any, derivative: Any, tol: float = TOLERANCE,
                     step: float = STEP) -> None:
    """``derivative`` is that of f at x along a direction, within ``tol`` as in ``check_gradient``.

    Where each number of f(x) depends on its own number of x alone, a direction of ones shows them all at once.
    """
    check_close(derivative, central_difference(f, x, direction, step), f(x), tol)


def check_gradient(f: Callable[[np.ndarray], Any], x: np.ndarray, gradient: Any, tol: float = TOLERANCE, *,
                   entries: Iterable[int] | None = None, step: float = STEP) -> None:
    """``gradient`` is the derivative of f at x, within ``tol`` of the largest entry of it and of f(x).

    f takes a float64 array of the shape of x and gives a number or an array; ``gradient`` has the shape of f(x)
    followed by that of x, so that of an array it is the Jacobian. With ``entries``, flat indices, only the
    derivatives by those entries of x are computed and compared.

    The tolerance: the difference with h = 1e-6 is wrong by h^2 / 6 of the third derivative, 2e-13 where f is about
    as large as its derivatives, and by the rounding of f, a few times eps |f| / h = 2e-10 |f|; 3e-9 of the larger of
    the two is the most that all tests here show. 2e-8 leaves room for other machines, and a term that is left out,
    counted twice or has the wrong sign is an error of the order of an entry. A gradient computed in float32 has its
    own rounding, which ``tol`` has to name. Within h of a kink the difference means nothing: keep x away from it.
    """
    indices = list(range(x.size) if entries is None else entries)
    value = np.asarray(f(x), float)
    numeric = np.empty((*value.shape, len(indices)))
    for place, i in enumerate(indices):
        direction = np.zeros(x.shape)
        direction.flat[i] = 1
        numeric[..., place] = central_difference(f, x, direction, step)
    found = np.asarray(gradient, float).reshape(*value.shape, x.size)[..., indices]
    check_close(found, numeric, value, tol)


def check_close(found: Any, numeric: np.ndarray, value: Any, tol: float) -> None:
    """Derivatives and central differences of a function with these values."""
    found = np.asarray(found, float)
    assert found.shape == numeric.shape
    error, largest = np.abs(found - numeric), max(np.abs(numeric).max(initial=0), np.abs(value).max(initial=0))
    assert np.isfinite(error).all(), "the derivative or the function is not finite"
    if error.size:
        worst = np.unravel_index(error.argmax(), error.shape)
        assert error[worst] <= tol * largest, (
            f"entry {worst} is {found[worst]}, by central differences {numeric[worst]}: "
            f"an error of {error[worst]:.2g}, where the largest is {largest:.3g}")
