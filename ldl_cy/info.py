"""Versions, BLAS, instruction set and threads of this installation."""
from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ldl_cy._version import __version__


def installed(distribution: str) -> str:
    """The version of an installed distribution."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def blas() -> str:
    """Name, version and kernels of SciPy's BLAS, which computes the matrix products."""
    import scipy.linalg.cython_blas  # noqa: F401  threadpoolctl sees loaded libraries only
    from threadpoolctl import threadpool_info

    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    # NumPy's wheels have their own BLAS in numpy.libs; SciPy's is in scipy.libs or scipy/.dylibs.
    scipys = [
        library for library in found
        if any(part.startswith("scipy") for part in Path(library["filepath"]).parts[-3:-1])]
    if not (scipys or found):
        return "unknown to threadpoolctl"
    library = (scipys or found)[0]
    text = f"{library['internal_api']} {library['version'] or ''}".strip()
    kernels = library.get("architecture")
    return f"{text}, {kernels} kernels" if kernels else text


def information() -> dict[str, str]:
    """The rows of ``ldl-cy info``, by name."""
    from ldl_cy._engine.vec import instruction_set, instruction_sets
    from ldl_cy.threads import available_threads

    return {
        "ldl_cy": __version__,
        "Python": f"{platform.python_version()} ({sys.implementation.name}), {platform.system()} "
                  f"{platform.machine()}",
        "NumPy": installed("numpy"),
        "SciPy": installed("scipy"),
        "scikit-learn": installed("scikit-learn"),
        "BLAS": blas(),
        "instruction set": f"{instruction_set()} (of {', '.join(instruction_sets())})",
        "threads": str(available_threads()),
    }


def show() -> int:
    """Print the table; the exit code is 0."""
    rows = information()
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")
    return 0
