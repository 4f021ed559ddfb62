"""RankSteps: an epoch reads every row once, in the same shard of the same step for any number of ranks."""
import itertools

import numpy as np
import pytest
from thread_comm import run_ranks, without_errors

from ldl_cy._engine.rng import PERMUTATION, Stream
from ldl_cy.distributed import read_ranks
from ldl_cy.distributed.steps import RankSteps

SIZES = [1, 2, 3, 5, 8]


def on_ranks(size, function, rows="all", shards=8):
    return without_errors(run_ranks(size, lambda comm: function(read_ranks("Sequential", comm, shards, rows))))


def shards_read(steps, shuffle, first_row=0):
    """{(step, shard): rows} of a rank, and the places of its rows in the batches."""
    order = steps.order(7, 3, shuffle)
    own, found, start = steps.own(order), {}, 0
    for t, (cuts, offset) in enumerate(zip(steps.cuts, steps.offsets)):
        for i, (a, b) in enumerate(itertools.pairwise(cuts)):
            shard = steps.ranks.first + i
            found[t, shard] = (int(offset + a), (own[start + a:start + b] + first_row).tolist())
        start += cuts[-1]
    assert start == len(own)
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n, batch_size", [(1, 1), (5, 2), (64, 64), (203, 50), (100, 7), (17, 100)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_all_rows(size, n, batch_size, shuffle):
    expected = on_ranks(1, lambda ranks: shards_read(RankSteps(ranks, n, batch_size), shuffle))[0]
    found = {}
    for part in on_ranks(size, lambda ranks: shards_read(RankSteps(ranks, n, batch_size), shuffle)):
        found |= part
    assert found == expected
    assert sorted(row for _, rows in found.values() for row in rows) == list(range(n))
    steps = -(-n // batch_size)
    for t in range(steps):
        rows = [row for s in range(8) for row in found[t, s][1]]
        assert len(rows) == min(batch_size, n - t * batch_size)
        assert [found[t, s][0] for s in range(8)] == np.cumsum([0, *[len(found[t, s][1]) for s in range(7)]]).tolist()
        if not shuffle:
            assert rows == list(range(t * batch_size, t * batch_size + len(rows)))


@pytest.mark.parametrize("sizes", [[8], [4, 4], [2, 2, 2, 2], [1] * 8])
@pytest.mark.parametrize("rows_of_shard, batch_size", [(1, 8), (25, 50), (25, 7), (3, 100), (2, 1)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_rows_of_whole_shards_on_each_rank(sizes, rows_of_shard, batch_size, shuffle):
    def read(ranks):
        n = (ranks.last - ranks.first) * rows_of_shard
        return shards_read(RankSteps(ranks, n, batch_size), shuffle, ranks.first * rows_of_shard)

    expected, found = on_ranks(1, read, "local")[0], {}
    for part in on_ranks(len(sizes), read, "local"):
        found |= part
    assert found == expected
    for s in range(8):
        rows = sorted(row for (_, shard), (_, rows) in found.items() if shard == s for row in rows)
        assert rows == list(range(s * rows_of_shard, (s + 1) * rows_of_shard))


@pytest.mark.parametrize("counts", [[3, 40], [100, 1, 17], [8, 8, 8]])
@pytest.mark.parametrize("batch_size", [5, 16, 1000])
def test_any_number_of_rows_on_each_rank(counts, batch_size):
    def read(ranks):
        steps = RankSteps(ranks, counts[ranks.rank], batch_size)
        own = steps.own(steps.order(0, 0, True))
        return own.tolist(), steps.counts.tolist(), steps.offsets.tolist(), steps.cuts[:, -1].tolist(), steps.total

    found = on_ranks(len(counts), read, "local")
    assert all(f[1] == found[0][1] for f in found)
    before = np.zeros(len(found[0][1]), int)
    for (own, _, offsets, rows, total), count in zip(found, counts):
        assert sorted(own) == list(range(count)) and total == sum(counts)
        assert offsets == before.tolist()
        before += rows
    assert before.tolist() == np.sum(found[0][1], axis=1).tolist()


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("rows", ["all", "local"])
def test_the_weights_of_the_batches(size, rows):
    weights = np.random.default_rng(0).random(200).astype(np.float32)

    def read(ranks):
        part = slice(ranks.first * 25, ranks.last * 25) if rows == "local" else slice(0, 200)
        steps = RankSteps(ranks, len(weights[part]), 33)
        order = steps.order(1, 2, True)
        own = weights[part][steps.own(order)]
        edges = np.cumsum([0, *steps.cuts[:, -1]])
        sums = [own[a:b].sum(dtype=float) for a, b in itertools.pairwise(edges)]
        return steps.weights(weights[part], order), steps.weights(None, order), sums, steps.counts.sum(axis=1)

    found = on_ranks(size, read, rows)
    for weighted, counted, _, expected in found:
        np.testing.assert_array_equal(weighted, found[0][0])
        np.testing.assert_array_equal(counted, expected)
    np.testing.assert_allclose(found[0][0], np.sum([f[2] for f in found], axis=0), rtol=1e-12)


def test_the_orders_are_those_of_a_fit_without_ranks():
    order = on_ranks(2, lambda ranks: RankSteps(ranks, 30, 8).order(5, 2, True))[1]
    np.testing.assert_array_equal(order, Stream(5, PERMUTATION, 2).permutation(30))
