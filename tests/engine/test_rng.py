"""Random streams: SplitMix64 as published, and pure functions of their names."""
import numpy as np
from scipy import stats

from ldl_cy._engine.rng import Stream

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def key(*name):
    k = 0
    for number in name:
        k = mix(k) ^ mix((number + GAMMA) & MASK)
        k = mix(k)
    return k


def test_mix_is_the_published_generator():
    # the first outputs of SplitMix64 with state 1234567
    state = [mix((1234567 + i * GAMMA) & MASK) for i in (1, 2, 3)]
    assert state == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_uniform_is_the_stream_and_continues():
    stream = Stream(5, 7)
    drawn = np.r_[stream.uniform(3), stream.uniform(4)]
    k = key(5, 7)
    expected = [(mix((k + (i + 1) * GAMMA) & MASK) >> 11) / 2**53 for i in range(7)]
    np.testing.assert_array_equal(drawn, expected)


def test_distributions():
    assert stats.kstest(Stream(1).uniform(20000), "uniform").pvalue > 1e-3
    assert stats.kstest(Stream(2).normal(20000), "norm").pvalue > 1e-3
    assert Stream(3).normal((4, 5)).shape == (4, 5)
    # neighbouring names give unrelated streams
    a, b = Stream(0, 1).uniform(20000), Stream(0, 2).uniform(20000)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03


def test_permutations_are_uniform():
    for n in (0, 1, 2, 100):
        assert sorted(Stream(0, n).permutation(n)) == list(range(n))
    counts = np.zeros((4, 4))
    for seed in range(4000):
        counts[np.arange(4), Stream(seed).permutation(4)] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_large_and_negative_names():
    assert (Stream(2**64 - 1).uniform(3) == Stream(-1).uniform(3)).all()
