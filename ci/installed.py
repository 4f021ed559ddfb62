"""Which ldl_cy an environment has, and whether it is what the sources here are: asked by ci/common.sh and conftest.py.

Run by the Python of that environment:

    python ci/installed.py state       none, editable, elsewhere (editable, from another folder), current or stale
    python ci/installed.py where       the folder of its sources, of an editable installation
    python ci/installed.py key         a hash over the sources, the compiler's flags and the environment
    python ci/installed.py record KEY  what has just been installed has this key
    python ci/installed.py asked       a hash over what pip reads of an editable installation
"""
from __future__ import annotations

import hashlib
import json
import os
import sys
import sysconfig
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rebuild import ENVIRONMENT, ROOT, digest

STAMP = Path(sys.prefix, "ldl_cy.installed")
# what decides beside the package's own files, and what the build reads of the environment
FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "ci/rebuild.py")
METADATA = ("pyproject.toml", "ldl_cy/_version.py")
FLAGS = ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED", "ARCHFLAGS", "LDL_CY_LINE_TRACE", *ENVIRONMENT)


def source_key(root: Path = ROOT) -> str:
    """A hash over the files that an installation is made of; what a build writes among them is left out."""
    files = [root / name for name in FILES]
    for folder, folders, names in os.walk(root / "ldl_cy"):
        folders[:] = [name for name in folders if name != "__pycache__"]
        generated = {".so", ".pyd", ".pyc"} | ({".c"} if Path(folder).name != "vec" else set())
        files += [Path(folder, name) for name in names if Path(name).suffix not in generated]
    return digest(sorted(
        (path.relative_to(root).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in files if path.is_file()))


def key() -> str:
    return source_key() + " " + digest({name: os.environ.get(name) for name in FLAGS}, sys.version)


def installed() -> Distribution | None:
    """What pip has installed here; the folder of an editable installation may hold an egg-info, which is not asked."""
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return next(iter(distributions(name="ldl_cy", path=folders)), None)


def editable_folder(found: Distribution) -> Path | None:
    """Where the sources of an editable installation are; None of a copy."""
    direct = json.loads(found.read_text("direct_url.json") or "{}")
    if not direct.get("dir_info", {}).get("editable"):
        return None
    return Path(url2pathname(urlsplit(direct["url"]).path)).resolve()


def identity(found: Distribution) -> str:
    """Another installation, of whatever, has another."""
    return digest(str(found.locate_file("")), found.read_text("RECORD"), found.read_text("direct_url.json"))


def recorded() -> str | None:
    """The key of the copy that is installed, if ci/common.sh has installed it."""
    found = installed()
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp["key"] if found and stamp["identity"] == identity(found) else None


def state() -> str:
    found = installed()
    if found is None:
        return "none"
    folder = editable_folder(found)
    if folder is not None:
        return "editable" if folder == ROOT else "elsewhere"
    return "current" if recorded() == key() else "stale"


def record(made_of: str) -> None:
    found = installed()
    if found is None:
        raise SystemExit("ldl_cy is not installed")
    STAMP.write_text(json.dumps({"key": made_of, "identity": identity(found)}), encoding="utf-8")


def main(arguments: list[str]) -> str:
    """What is asked for, as the shell reads it: without the end of line, which differs on Windows."""
    match arguments:
        case ["state"]:
            return state()
        case ["where"]:
            return str((found := installed()) and editable_folder(found))
        case ["key"]:
            return key()
        case ["record", made_of]:
            record(made_of)
            return ""
        case ["asked"]:
            return digest([(ROOT / name).read_text(encoding="utf-8") for name in METADATA], sys.version)
    raise SystemExit(__doc__)


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]))
