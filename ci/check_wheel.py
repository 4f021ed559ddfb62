"""Does the wheel in a folder hold what it should, and nothing else? Run by ci/wheels.sh.

    python ci/check_wheel.py dist
"""
from __future__ import annotations

import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

MAX_BYTES = 2_000_000
SOURCES = {".pyx", ".pxd", ".pxi", ".c", ".h", ".inc"}
ROOT = Path(__file__).resolve().parent.parent
# Where this machine builds: a library that names them, as the place of others (RUNPATH) or in a message, was built so
# that no other machine can build the same, and would look there for what it loads.
FOLDERS = sorted({f"{folder}/" for folder in (ROOT, Path.home(), tempfile.gettempdir())})


def one(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder} should hold one {pattern}, found {[p.name for p in found]}")
    return found[0]


def wheel_faults(wheel: Path) -> list[str]:
    """What is wrong with the wheel, one sentence each."""
    with zipfile.ZipFile(wheel) as archive:
        names = [PurePosixPath(name) for name in archive.namelist()]
        faults = [
            f"{name} names {folder}, which is this machine's" for name in names if name.suffix in {".so", ".pyd"}
            for folder in FOLDERS if folder.encode() in archive.read(str(name))]
    faults += [f"{name} is in the wheel" for name in names if name.suffix in SOURCES]
    # dense.abi3.so, dense.cpython-312-x86_64-linux-gnu.so, dense.cp312-win_amd64.pyd -> dense
    compiled = {
        str(name.parent / name.name.split(".")[0]) for name in names if name.suffix in {".so", ".pyd"}}
    sources = [path.relative_to(ROOT) for path in (ROOT / "ldl_cy").rglob("*")]
    faults += [
        f"{path} was not compiled" for path in sources
        if path.suffix == ".pyx" and path.with_suffix("").as_posix() not in compiled]
    faults += [
        f"{path} is missing" for path in sources
        if (path.suffix in {".py", ".pyi"} or path.name == "py.typed") and PurePosixPath(path.as_posix()) not in names]
    faults += [
        f"{name} is in the wheel, but not in the source" for name in names
        if name.suffix == ".py" and not (ROOT / name).exists()]
    if wheel.stat().st_size >= MAX_BYTES:
        faults.append(f"{wheel.stat().st_size:,} bytes, the bound is {MAX_BYTES:,}")
    abi3 = sys.version_info[:2] == (3, 11) and sys.implementation.name == "cpython"
    if abi3 and "-cp311-abi3-" not in wheel.name:
        faults.append("built on Python 3.11, so the tag should be cp311-abi3")
    return faults


def sdist_faults(sdist: Path) -> list[str]:
    """What the sdist lacks that a build and a test run need."""
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = {"README.md", "LICENSE", "pyproject.toml", "setup.py", "ci/test", "tests/helpers/contract.py",
              "docs/many_machines.md"}
    wanted |= {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "ldl_cy").rglob("*")
        if path.suffix in {".py", ".pyi", ".pyx", ".pxd", ".h", ".inc"} or path.name == "py.typed"}
    return [f"{name} is not in the sdist" for name in sorted(wanted - names)]


def main(folder: Path) -> int:
    wheel, sdist = one(folder, "*.whl"), one(folder, "*.tar.gz")
    faults = [f"{wheel.name}: {fault}" for fault in wheel_faults(wheel)]
    faults += [f"{sdist.name}: {fault}" for fault in sdist_faults(sdist)]
    print(*faults, f"{wheel.name}: {wheel.stat().st_size:,} bytes", sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
