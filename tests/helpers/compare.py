"""Numbers that are close, relative to the largest of them."""
from __future__ import annotations

from typing import Any

import numpy as np

DTYPES = ["float64", "float32"]


def close(a: Any, b: Any, tol: float) -> None:
    """|a - b| within tol of the largest entry of b (at least 1); shapes may differ, as of rows and images."""
    scale = max(1.0, float(np.max(np.abs(b), initial=0.0)))
    np.testing.assert_allclose(np.asarray(a, float).ravel(), np.asarray(b, float).ravel(), rtol=0, atol=tol * scale)
