"""Callbacks: what watches, records or ends a fit between its epochs."""
from __future__ import annotations

from ldl_cy.callbacks.base import Callback, Function, check_callbacks, is_true
from ldl_cy.callbacks.checkpoint import Checkpoint
from ldl_cy.callbacks.history import CSVLogger, History, ProgressBar
from ldl_cy.callbacks.stopping import EarlyStopping, ReduceOnPlateau, TerminateOnNaN

__all__ = [
    "CSVLogger", "Callback", "Checkpoint", "EarlyStopping", "Function", "History", "ProgressBar", "ReduceOnPlateau",
    "TerminateOnNaN", "check_callbacks", "is_true"]
