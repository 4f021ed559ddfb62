"""A fit: ``Fit`` checks all arguments, then runs the epochs.

    loop.py        Fit: arguments -> Data -> epochs         steps.py   Stepper: compiled steps by an optimizer's rule
    full_batch.py  iterations of a full-batch method        batches.py steps on the batches of an iterable
    trunk.py       the frozen layers at the beginning       trunk_outputs.py  their outputs, kept or computed per epoch
    ranked.py      epochs over the ranks of a communicator
    whole.py       an epoch is made completely or not at all
    dispatcher.py  what a fit expects of its callback list
"""
from __future__ import annotations

from ldl_cy.training.loop import Fit

__all__ = ["Fit"]
