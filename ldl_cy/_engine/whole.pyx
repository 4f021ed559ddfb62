"""Epochs that are made completely or not at all.

Compiled as in ``process.pyx``: a signal's handler, which may raise, runs between bytecodes. So a second Ctrl-C finds
all of what the first one takes back, or nothing of it.
"""

from ldl_cy._engine.version cimport VersionCounter
from ldl_cy._engine.collectives cimport Collectives


cdef class WholeEpoch:
    """In a ``with`` statement: an exception takes back all that has changed since ``begin``, until ``complete``.

    Parameters
    ----------
    network : Network
    state : TrainingState
    """

    cdef object network, state
    cdef tuple before               # arrays and dicts with their copies, and the scalars with theirs

    def __init__(self, network, state):
        self.network, self.state = network, state

    def begin(self):
        """Copy all that an epoch changes."""
        network, state, optimizer = self.network, self.state, self.state.optimizer
        slots, scalars = optimizer.slots, optimizer.scalars
        theta, statistics = network.snapshot()
        counts = state.snapshot()
        copied = counts["optimizer"]
        arrays = (network.vectors[0], theta), (network.vectors[1], statistics), (slots, copied.slots)
        dicts = ((vars(state), {**counts, "optimizer": optimizer}),
                 (vars(optimizer), {**vars(copied), "slots": slots, "scalars": scalars}))
        self.before = arrays, dicts, scalars, copied.scalars

    def complete(self, Collectives collectives=None):
        """Keep the epoch, whatever follows; with ``collectives`` on all processes or, if one has failed, on none.

        Returns whether it is kept.
        """
        if collectives is not None and not collectives.agree():
            return False
        self.before = None
        return True

    def __enter__(self):
        if self.before is None:
            self.begin()
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None or self.before is None:
            return
        cdef VersionCounter version = self.network.version
        arrays, dicts, scalars, numbers = self.before
        version.begin()
        try:
            for array, copied in arrays:
                array[...] = copied
        finally:
            version.end()
        for attributes, copied in dicts:    # also of the optimizer's state, which may have been exchanged
            attributes.update(copied)
        scalars.clear()                     # a method that runs keeps this dict
        scalars.update(numbers)
