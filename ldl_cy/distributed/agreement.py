"""What the ranks of a fit have in common: the model that it begins with, and its weights after each epoch."""
from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ldl_cy.state import TrainingState

if TYPE_CHECKING:
    from ldl_cy.distributed.ranks import Ranks
    from ldl_cy.network import Network

OWNER = "Sequential"


def checksum(network: Network, state: TrainingState) -> int:
    """A number that changes with the weights, the running statistics, and what training continues from."""
    optimizer, found = state.optimizer, 0
    for array in (*network.vectors, optimizer.slots):
        found = zlib.crc32(np.ascontiguousarray(array).data, found)
    counts = (state.epoch, state.step, optimizer.name, optimizer.steps, optimizer.epochs, sorted(
        optimizer.scalars.items()), optimizer.rate_factor, network.seed)
    return zlib.crc32(repr(counts).encode(), found)


def take_first(ranks: Ranks, network: Network, state: TrainingState) -> tuple[Network, TrainingState]:
    """The network and the training state of rank 0, on all ranks: new objects where any rank's numbers are others.

    Raises
    ------
    ValueError
        The networks have other layers, shapes or dtypes.
    """
    ranks.check_settings(OWNER, {"layers": network.layers, "dtype": network.dtype, "input_shape": network.input_shape})
    if len(set(ranks.all(checksum(network, state)))) == 1:
        return network, state
    theta, statistics, seed, (described, slots) = ranks.share(
        (*network.vectors, network.seed, state.parts()))
    return network.with_numbers(theta, statistics, seed), TrainingState.from_dict(described, slots)


def agree_on_epoch(ranks: Ranks, network: Network, state: TrainingState, stop: bool = False) -> bool:
    """After the callbacks at the beginning or the end of an epoch or a fit: whether one on any rank requests a stop.

    Raises
    ------
    RuntimeError
        The callbacks of a rank have changed the weights or the learning rate, and those of another have not.
    """
    theta, statistics = network.vectors
    own: list[Any] = [bool(stop), zlib.crc32(statistics.data, zlib.crc32(theta.data)), state.rate_factor]
    found = ranks.concatenate(np.array([own], float))
    for what, column in (("weights", 1), ("learning rate", 2)):
        if (found[:, column] != found[0, column]).any():
            rank = int((found[:, column] != found[0, column]).argmax())
            raise RuntimeError(f"{OWNER}: callbacks must leave the same {what} on all ranks, got a difference between "
                               f"rank 0 and rank {rank}.")
    return bool(found[:, 0].any())
