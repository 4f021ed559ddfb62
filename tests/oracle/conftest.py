"""Counts the networks compared with other libraries and the worst errors, and prints both after the tests."""
from __future__ import annotations

import sys
from collections import Counter, defaultdict

import pytest


class Tally:
    """What was compared: networks by kind, the worst error of each quantity."""

    def __init__(self):
        self.networks = Counter()
        self.layers = Counter()
        self.worst = defaultdict(float)

    def error(self, what, value):
        self.worst[what] = max(self.worst[what], value)


KEY = pytest.StashKey[Tally]()


@pytest.fixture(scope="session")
def tally(request):
    return request.config.stash.setdefault(KEY, Tally())


def pytest_terminal_summary(terminalreporter, config):
    tally = config.stash.get(KEY, None)
    if tally is None or not tally.networks:
        return
    theirs = [f"{name} {sys.modules[name].__version__}" for name in ("torch", "keras", "onnxruntime")
              if name in sys.modules]
    terminalreporter.section(f"compared with {', '.join(theirs)}")
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(tally.networks.items()))
    terminalreporter.line(f"{tally.networks.total()} networks: {kinds}")
    terminalreporter.line("layers: " + ", ".join(f"{name} {n}" for name, n in sorted(tally.layers.items())))
    for what, value in sorted(tally.worst.items()):
        terminalreporter.line(f"largest error, {what}: {value:.1e} of the largest entry")
