"""How many examples are drawn, and by which seed: both are printed, and the seed draws the same examples again.

LDL_CY_FUZZ is the number of examples of all tests together; there are 100 of each otherwise. LDL_CY_FUZZ_SEED is the
seed; otherwise it is made from the commit, so that each commit is tried with other examples.
"""
from __future__ import annotations

import functools
import os
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

import pytest

KEY = pytest.StashKey[dict[str, Counter]]()
N_TESTS = 19                    # among which LDL_CY_FUZZ is shared
WITHOUT_GIT = 2026


@functools.cache
def find_seed():
    """The seed, and what it was made from."""
    given = os.environ.get("LDL_CY_FUZZ_SEED")
    if given:
        return int(given), "given"
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True,
                                check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return WITHOUT_GIT, "fixed, since there is no commit to make it from"
    return int(commit[:8], 16), f"made from the commit {commit[:8]}"


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
    wanted = -(-int(os.environ.get("LDL_CY_FUZZ") or 0) // N_TESTS)
    settings.register_profile(
        "fuzz", max_examples=wanted or 100, deadline=None, database=None, print_blob=True,
        suppress_health_check=list(HealthCheck))
    settings.load_profile("fuzz")


def pytest_report_header():
    return f"fuzz: {how_to_repeat()}"


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent                # other tests draw the same examples for ever
    for item in items:
        if here in item.path.parents and hasattr(item.function, "hypothesis"):
            from hypothesis import seed

            seed(find_seed()[0])(item.function)


def how_to_repeat():
    """The command that draws the same examples."""
    seed, origin = find_seed()
    wanted = os.environ.get("LDL_CY_FUZZ", "")
    return f"the seed is {origin}; again: LDL_CY_FUZZ_SEED={seed} ci/fuzz {wanted}".rstrip()


def pytest_terminal_summary(terminalreporter, config):
    ends = config.stash.get(KEY, None)
    if not ends:
        return
    terminalreporter.section("fuzz")
    terminalreporter.line(f"{sum(found.total() for found in ends.values())} examples; {how_to_repeat()}")
    for kind, found in sorted(ends.items()):
        terminalreporter.line(f"{kind}: " + ", ".join(f"{how} {n}" for how, n in found.most_common(12)))
