"""Callbacks, which observe, record or end a fit between epochs."""
from __future__ import annotations

from ldl_cy.callbacks.base import Callback, Callbacks, Function
from ldl_cy.callbacks.checkpoint import Checkpoint
from ldl_cy.callbacks.dispatch import CallbackList
from ldl_cy.callbacks.history import CSVLogger, History, ProgressBar
from ldl_cy.callbacks.stopping import EarlyStopping, ReduceOnPlateau, TerminateOnNaN

__all__ = [
    "CSVLogger", "Callback", "CallbackList", "Callbacks", "Checkpoint", "EarlyStopping", "Function", "History",
    "ProgressBar", "ReduceOnPlateau", "TerminateOnNaN"]
