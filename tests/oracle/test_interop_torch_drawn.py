"""Networks of torch.nn drawn at random, here and back: maps in any order of axes, flattened, divided, put together."""
from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'oracle' brings PyTorch, with which these tests compare")

import torch
from oracle.layouts import random_state
from oracle.problems import compare
from torch import nn

from ldl_cy.interop import from_torch, to_torch

TOL = {"float64": 1e-9, "float32": 2e-5}
torch.set_num_threads(1)


def divisor(rng, n):
    return rng.choice([k for k in range(1, n + 1) if n % k == 0])


def module(rng, shape):
    """A module for values of this shape there, which need not fit."""
    rank, channels = len(shape), shape[0]
    found = [lambda: nn.Linear(shape[-1], rng.randint(1, 5)), lambda: nn.LayerNorm(shape[-rng.randint(1, rank):]),
             nn.PReLU, nn.Tanh, lambda: nn.Softmax(rng.randint(1, rank))]
    if rank == 1:
        k = divisor(rng, channels)
        m = divisor(rng, channels // k)
        found += [lambda: nn.BatchNorm1d(channels), lambda: nn.PReLU(channels),
                  lambda: nn.Unflatten(1, (k, channels // k)), lambda: nn.Unflatten(1, (k, m, -1))]
        return rng.choice(found)()
    axes = rank - 1
    size, stride, padding, ceil = rng.randint(2, 3), rng.randint(1, 2), rng.randint(0, 1), rng.random() < 0.5

    def make(name, *arguments, **options):
        return lambda: getattr(nn, f"{name}{axes}d")(*arguments, **options)

    found += [make("Conv", channels, rng.randint(1, 4), size, stride, padding), make("BatchNorm", channels),
              make("MaxPool", size, stride, padding, ceil_mode=ceil), make("AdaptiveAvgPool", 1),
              make("AvgPool", size, stride, padding, ceil_mode=ceil, count_include_pad=rng.random() < 0.5),
              make("ZeroPad", tuple(rng.randint(0, 2) for _ in range(2 * axes))), lambda: nn.PReLU(channels),
              lambda: nn.Flatten(rng.randint(1, rank)), nn.Flatten]
    if rank == 2:
        at = rng.randint(1, 2)
        found.append(lambda: nn.Unflatten(at, (divisor(rng, shape[at - 1]), -1)))
    return rng.choice(found)()


def drawn(seed):
    """(network, shape here, whether it is channels-first there, X there)."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    kind = rng.choice(["images", "signals", "steps", "vectors"])
    ranks = {"images": 3, "signals": 2, "steps": 2, "vectors": 1}
    shape = tuple(rng.randint(1, 6) for _ in range(ranks[kind]))
    first = kind in ("images", "signals")
    theirs = (shape[-1], *shape[:-1]) if first else shape
    # the first module says in which order the axes are
    begin = {"images": nn.BatchNorm2d, "signals": nn.BatchNorm1d}.get(kind, lambda n: nn.Linear(n, n))
    modules = [begin(shape[-1])]
    x = torch.randn(3, *theirs, dtype=torch.float64)
    y = random_state(nn.Sequential(*modules).double())(x)
    for _ in range(rng.randint(1, 6)):
        try:
            one = random_state(module(rng, tuple(y.shape[1:])).double(), seed)
            out = one(y)
        except (RuntimeError, ValueError):      # windows that do not fit
            continue
        if out.numel() and out.ndim <= 4:
            modules.append(one)
            y = out
    return nn.Sequential(*modules), shape, first, x


@pytest.mark.filterwarnings("ignore:Using padding")
@pytest.mark.parametrize("part", range(10))
def test_drawn_networks(tally, part):
    for seed in range(25 * part, 25 * part + 25):
        net, shape, first, x = drawn(seed)
        tally.networks["drawn from torch"] += 1
        for dtype in ("float64", "float32"):
            net, x = net.to(getattr(torch, dtype)), x.to(getattr(torch, dtype))
            X = (x.movedim(1, -1) if first else x).numpy()
            expected = net(x).detach().numpy()
            model = from_torch(net, shape)
            out = model.predict(X)
            moved = np.moveaxis(expected, 1, -1) if expected.ndim > 2 else expected
            # where both orders of axes have one shape, either may be meant
            either = [y for y in (expected, moved) if y.shape == out.shape]
            assert either, (seed, expected.shape, out.shape)
            best = min(either, key=lambda y: np.abs(y - out).max())
            compare(tally, f"{dtype} from_torch", out, best, TOL[dtype], 0.1)
            back = from_torch(to_torch(model), shape)
            assert back.theta.tobytes() == model.theta.tobytes(), seed
            compare(tally, f"{dtype} from_torch", back.predict(X), out, TOL[dtype], 0.1)
