"""pytest stops where the ldl_cy that it would import is not made of the sources here: nothing stale is tested.

--sample N runs one in N cases of each test that has more than 40: for builds in which each of them takes long.
"""
import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "ci"))
import installed  # noqa: E402
import rebuild  # noqa: E402

sys.path.remove(str(ROOT / "ci"))


def tested() -> tuple[str, str]:
    """Which ldl_cy the tests import, and what is wrong with it: nothing, or nothing that is known."""
    spec = importlib.util.find_spec("ldl_cy")
    if spec is None or spec.origin is None:
        return "ldl_cy is not installed", "It is not installed: ci/develop or ci/test does it."
    folder = Path(spec.origin).resolve().parent
    if folder == ROOT / "ldl_cy":
        stale, unknown = rebuild.stale_modules(ROOT)
        if stale:
            return str(folder), f"Out of date: {', '.join(stale)}. Run {sys.executable} setup.py build_ext --inplace"
        return str(folder), ""
    key = installed.recorded()
    if key is not None and key.split()[0] != installed.source_key():
        return str(folder), "This copy was made of other sources than those here: run ci/test, or ci/develop once."
    return str(folder), ""


def pytest_addoption(parser):
    parser.addoption("--sample", type=int, default=1, metavar="N", help="one in N cases of tests with more than 40")


def pytest_collection_modifyitems(config, items):
    """Every N-th case: with an odd N both dtypes come, whether they are the first of a test's arguments or the last."""
    every, number, found = config.getoption("sample"), Counter(), {True: [], False: []}
    of = [item.nodeid.partition("[")[0] for item in items]
    count = Counter(of)
    for item, name in zip(items, of):
        found[count[name] <= 40 or number[name] % every == 0].append(item)
        number[name] += 1
    if found[False]:
        config.hook.pytest_deselected(items=found[False])
        items[:] = found[True]


def pytest_report_header(config):
    return f"ldl_cy: {tested()[0]}"


def pytest_configure(config):
    fault = "" if hasattr(config, "workerinput") else tested()[1]
    if fault:
        pytest.exit(f"ldl_cy: {fault}", returncode=pytest.ExitCode.USAGE_ERROR)
