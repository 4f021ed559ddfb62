"""The fit: its arguments are checked first, then its epochs run."""
from __future__ import annotations

from ldl_cy.training.loop import Fit

__all__ = ["Fit"]
