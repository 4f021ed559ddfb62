"""pytest stops where the ldl_cy that it would import is not made of the sources here: nothing stale is tested."""
import importlib.util
import sys
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


def pytest_report_header(config):
    return f"ldl_cy: {tested()[0]}"


def pytest_configure(config):
    fault = "" if hasattr(config, "workerinput") else tested()[1]
    if fault:
        pytest.exit(f"ldl_cy: {fault}", returncode=pytest.ExitCode.USAGE_ERROR)
