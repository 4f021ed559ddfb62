"""How the cases of this folder ended: printed at the end of the run."""
from collections import Counter

import pytest
import strangers

KEY = pytest.StashKey[Counter]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.config.stash.setdefault(KEY, Counter())[report.outcome] += 1
    return report


def pytest_terminal_summary(terminalreporter, config):
    tests, ends = config.stash.get(KEY, None), strangers.ENDS
    if not tests:
        return
    terminalreporter.section("strangers")
    terminalreporter.line(f"{tests.total()} tests: " + ", ".join(f"{how} {n}" for how, n in tests.most_common()))
    terminalreporter.line(f"{ends.total()} cases in processes of their own: "
                          f"results {ends['result']}, sentences {ends['sentence']}")
