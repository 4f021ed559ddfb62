"""How many examples are drawn: LDL_CY_FUZZ of each test, or few and always the same; their number is printed."""
from __future__ import annotations

import os
from collections import Counter, defaultdict

import pytest

KEY = pytest.StashKey[dict[str, Counter]]()


@pytest.fixture(scope="session")
def tally(request):
    """Called for each example with its kind and how it ended."""
    ends = request.config.stash.setdefault(KEY, defaultdict(Counter))

    def count(kind, outcome="done"):
        refused = str(outcome).split(":")[1].strip() if type(outcome).__name__ == "Refused" else ""
        ends[kind][f"refused by {refused}" if refused else outcome if isinstance(outcome, str) else "done"] += 1

    return count


def pytest_configure(config):
    try:
        from hypothesis import HealthCheck, settings
    except ImportError:
        return
    wanted = int(os.environ.get("LDL_CY_FUZZ") or 0)
    settings.register_profile(
        "fuzz", max_examples=wanted or 100, derandomize=not wanted, deadline=None, database=None, print_blob=True,
        suppress_health_check=list(HealthCheck))
    settings.load_profile("fuzz")


def pytest_terminal_summary(terminalreporter, config):
    ends = config.stash.get(KEY, None)
    if not ends:
        return
    terminalreporter.section("fuzz")
    terminalreporter.line(f"{sum(found.total() for found in ends.values())} examples")
    for kind, found in sorted(ends.items()):
        terminalreporter.line(f"{kind}: " + ", ".join(f"{how} {n}" for how, n in found.most_common(12)))
