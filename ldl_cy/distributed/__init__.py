"""Fits on several machines, to the same bits: every batch is cut into shards, the leaves of a fixed binary tree.

    shards.py     the tree: which shards a rank has, and the order in which their sums are added
    ranks.py      Ranks: the processes of a communicator, which fit together, fail together and add together
    steps.py      the rows of each step: which of them are this rank's, and their places in the whole batch
    agreement.py  the model of rank 0 on all ranks; weights and requests to stop after an epoch

The messages are sent by ``_engine/collectives.pyx``.
"""
from __future__ import annotations

from ldl_cy.distributed.ranks import Ranks, read_ranks

__all__ = ["Ranks", "read_ranks"]
