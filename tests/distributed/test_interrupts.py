"""Ctrl-C at any place of a fit on one of two ranks, by a trace function that raises where a signal's handler would."""
from __future__ import annotations

import dis
import sys

import numpy as np
import pytest
from rank_fits import checksums
from thread_comm import run_ranks

from ldl_cy import Sequential, layers, optimizers
from ldl_cy.callbacks import EarlyStopping

EPOCHS, PLACES = 3, 60
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((40, 4)), rng.standard_normal((40, 2))


# instructions after which Python calls the handlers of signals
CALLING = {code for name, code in dis.opmap.items() if name in ("CALL", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD")}


class Interrupts:
    """A trace function that raises KeyboardInterrupt where Python would call a signal's handler.

    These places are counted from where the ranks have found each other: before that no rank knows of another's error.
    """

    def __init__(self, *counts):
        self.counts, self.places, self.begun, self.last = counts, 0, False, {}

    def __call__(self, frame, event, arg):
        if "ldl_cy" not in frame.f_globals.get("__name__", ""):
            return None
        self.begun |= frame.f_code.co_name == "_fit"
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            last, self.last[frame] = self.last.get(frame), frame.f_lasti
            if self.begun and last is not None and frame.f_code.co_code[last] in CALLING:
                self.places += 1
                if self.places in self.counts:
                    raise KeyboardInterrupt
        elif event == "return":
            self.last.pop(frame, None)
        return self


def made():
    return Sequential([layers.Dense(5, "tanh"), layers.BatchNorm(), layers.Dense(2)], random_state=3)


def fit(model, comm, epochs):
    model.fit(X, Y, loss="squared_error", optimizer=optimizers.Adam(0.01, ema=0.9), batch_size=16, epochs=epochs,
              validation_split=0.2, callbacks=[EarlyStopping(patience=9)], n_threads=1, comm=comm)


def interrupted(interrupts, bad):
    """The models after a fit that is interrupted on one rank, and what it has raised on each."""
    models = [made() for _ in range(2)]

    def run(comm):
        if comm.rank == bad:
            sys.settrace(interrupts)
        try:
            fit(models[comm.rank], comm, EPOCHS)
        finally:
            sys.settrace(None)

    return models, run_ranks(2, run)


@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize("second", [0, 4], ids=["one", "two in quick succession"])
def test_anywhere(bad, second):
    for _ in range(2):                  # the first fit of a process calls more functions
        whole = Interrupts()
        (model, _), raised = interrupted(whole, bad)
    assert raised == [None, None] and whole.places > 1000
    expected = checksums(model)
    for first in np.linspace(1, whole.places - 10, PLACES).astype(int).tolist():
        models, raised = interrupted(Interrupts(first, first + second), bad)
        # the last ones come when the fit has ended on the other rank
        assert isinstance(raised[bad], KeyboardInterrupt), first
        assert isinstance(raised[1 - bad], (KeyboardInterrupt, type(None))), (first, raised)
        epochs = [model.epoch for model in models]
        assert epochs[0] == epochs[1], first
        if epochs[0] < EPOCHS:
            assert run_ranks(2, lambda comm, models=models, left=EPOCHS - epochs[0]: fit(
                models[comm.rank], comm, left)) == [None, None], first
        assert [checksums(model) for model in models] == [expected] * 2


def test_one_rank_has_built_its_model():
    def build(comm):
        model = made()
        if comm.rank:
            model.build(4)
        fit(model, comm, EPOCHS)
        return checksums(model)

    first, second = run_ranks(2, build)
    assert first == second and first["epoch"] == EPOCHS
