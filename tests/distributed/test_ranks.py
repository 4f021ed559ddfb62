"""Ranks as threads: sums in the tree's order, values, and errors that all ranks raise."""
from __future__ import annotations

import itertools

import numpy as np
import pytest
from thread_comm import run_ranks, without_errors

from ldl_cy.distributed import read_ranks
from ldl_cy.distributed.shards import Node, additions, complete_nodes, first_leaves, tree_sum

SIZES = [1, 2, 3, 5, 8]


def on_ranks(size, function, shards=8, rows="all"):
    """The results of ``function(ranks)`` on each rank; an exception is raised."""
    return without_errors(run_ranks(size, lambda comm: function(read_ranks("Sequential", comm, shards, rows))))


@pytest.mark.parametrize("shards", [1, 2, 8, 64])
def test_nodes_of_any_number_of_ranks_add_up_to_the_same_bits(shards):
    rng = np.random.default_rng(0)
    leaves = list(rng.standard_normal(shards) * 10.0 ** rng.integers(-8, 8, shards))
    for size in range(1, shards + 1):
        edges, nodes, values = first_leaves(shards, size), [], []
        for first, last in itertools.pairwise(edges):
            own = leaves[first:last]
            for i, j in additions([Node(leaf, 1) for leaf in range(first, last)]):
                own[i] += own[j]
            nodes += complete_nodes(first, last)
            values += [own[node.leaf - first] for node in complete_nodes(first, last)]
        for i, j in additions(nodes):
            values[i] += values[j]
        assert values[0] == tree_sum(leaves)


def test_complete_nodes_are_the_largest():
    assert complete_nodes(0, 8) == [Node(0, 8)]
    assert complete_nodes(2, 5) == [Node(2, 2), Node(4, 1)]
    assert complete_nodes(5, 8) == [Node(5, 1), Node(6, 2)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(), (1,), (5, 3)])
def test_sum(size, shape):
    rng = np.random.default_rng(0)
    leaves = rng.standard_normal((8, *shape)) * 10.0 ** rng.integers(-8, 8, (8, *[1] * len(shape)))
    for found in on_ranks(size, lambda ranks: ranks.sum(list(leaves[ranks.first:ranks.last]))):
        np.testing.assert_array_equal(found, tree_sum(list(leaves)))


@pytest.mark.parametrize("size", SIZES)
def test_values_and_rows(size):
    X = np.arange(33).reshape(11, 3).astype(np.float32)

    def values(ranks):
        return (ranks.all((ranks.rank, "a")), ranks.share(ranks.rank), ranks.any(ranks.rank == size - 1),
                ranks.any(False), ranks.concatenate(X[ranks.own_rows(11)]))

    for found in on_ranks(size, values):
        assert found[:4] == ([(rank, "a") for rank in range(size)], 0, True, False)
        np.testing.assert_array_equal(found[4], X)


def test_ranks_that_share_processors_divide_their_threads():
    given = [None, 6, None]
    assert on_ranks(3, lambda ranks: ranks.divide_threads(given[ranks.rank], 6)) == [2, 6, 2]
    assert on_ranks(8, lambda ranks: ranks.divide_threads(None, 6)) == [1] * 8


@pytest.mark.parametrize("size", [2, 3])
def test_an_error_on_one_rank_is_raised_on_all(size):
    def fail(ranks):
        with ranks.together():
            if ranks.rank == 1:
                raise KeyError("a name")
            ranks.sum([np.zeros(3)] * (ranks.last - ranks.first))

    for rank, error in enumerate(run_ranks(size, lambda comm: fail(read_ranks("Sequential", comm, 8, "all")))):
        assert isinstance(error, KeyError) and error.args == ("a name",)
        assert getattr(error, "__notes__", []) == ([] if rank == 1 else ["This was raised on rank 1."])


def test_an_error_that_cannot_be_pickled():
    class Local(Exception):
        pass

    def fail(ranks):
        with ranks.together():
            if ranks.is_first:
                raise Local("why")

    own, other = run_ranks(2, lambda comm: fail(read_ranks("Sequential", comm, 8, "all")))
    assert type(own) is Local
    assert type(other) is RuntimeError and str(other) == "Local: why"


def test_what_must_be_the_same():
    found = run_ranks(2, lambda comm: read_ranks("MLPClassifier", comm, 8, "all").check_same(
        "MLPClassifier", "alpha", comm.Get_rank()))
    assert [str(error) for error in found] == [
        "MLPClassifier: alpha must be the same on all ranks, got 0 on rank 0 and 1 on rank 1."] * 2


@pytest.mark.parametrize(("arguments", "message"), [
    ((object(), 8, "all"), "Sequential: comm must be None or a communicator with mpi4py's methods, got <object"),
    ((None, 0, "all"), r"Sequential: shards must be an int >= 1, got 0\."),
    ((None, 6, "all"), r"Sequential: shards must be a power of two, at most 1048576, got 6\."),
    ((None, 2.0, "all"), r"Sequential: shards must be an int >= 1, got 2\.0\."),
    ((None, 8, "own"), r"Sequential: rows must be one of 'all', 'local', got 'own'\."),
])
def test_refused(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        read_ranks("Sequential", *arguments)


def test_more_ranks_than_shards():
    for error in run_ranks(3, lambda comm: read_ranks("Sequential", comm, 2, "all")):
        assert str(error) == "Sequential: shards must be at least the number of ranks, 3, got 2."


def test_no_communicator():
    assert read_ranks("Sequential", None, 8, "all") is None
