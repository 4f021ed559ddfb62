"""A build that makes only what is out of date: for setup.py, and for conftest.py, which refuses to test the rest.

A file is made again where the contents of its sources, the tools or the flags differ from those that it was made with,
whatever the times of the files say. build/records keeps, for each file, the key of what it was made with.
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDS = "records"
# Where "vec/vec.h" is looked for, beside the folder of the file that names it.
INCLUDE_DIR = "ldl_cy/_engine"
# Cython's own helpers, once instead of in every module: a module that cythonize writes by itself.
SHARED = "ldl_cy._engine._cyutility"
VEC = "ldl_cy._engine.vec"
VEC_SOURCE = "ldl_cy/_engine/vec/vec.c"
# What compilers and linkers read of the environment by themselves; CC, CFLAGS and the like are in their commands.
ENVIRONMENT = (
    "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "SDKROOT",
    "MACOSX_DEPLOYMENT_TARGET", "_PYTHON_HOST_PLATFORM", "INCLUDE", "LIB", "CL", "_CL_", "LINK", "_LINK_")

CYTHON = (".pyx", ".pxd", ".pxi")
CIMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+cimport[ \t]+(\([^)]*\)|[^\n]*)|cimport[ \t]+([^\n]+))", re.MULTILINE)
INCLUDE = re.compile(
    r"""^[ \t]*(?:\#[ \t]*include|include|cdef[ \t]+extern[ \t]+from)[ \t]*["']([^"'<>\n]+)["']""", re.MULTILINE)


def modules(root: Path = ROOT) -> dict[str, list[str]]:
    """The compiled modules, each with the files that are compiled for it, relative to the root."""
    found = {
        ".".join(path.relative_to(root).with_suffix("").parts): [path.relative_to(root).as_posix()]
        for path in sorted((root / "ldl_cy").glob("_*/*.pyx"))}
    if VEC in found:
        found[VEC].append(VEC_SOURCE)
    return found | {SHARED: []}


def digest(*parts: object) -> str:
    """A hash of the parts, whose order and types count."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def names_of(listed: str) -> list[str]:
    """The names in what follows `cimport`: "(a, b as c)  # why" -> a, b."""
    listed = re.sub(r"#[^\n]*", "", listed)
    return [name.split()[0] for name in listed.strip("() \t\r\n\\").split(",") if name.strip()]


class Sources:
    """The sources as they are now: which of them a file includes or cimports, directly and by way of others."""

    def __init__(self, root: Path = ROOT):
        self.root = root
        self._read: dict[str, tuple[str, tuple[str, ...]]] = {}

    def read(self, path: str) -> tuple[str, tuple[str, ...]]:
        """Hash of a file's contents, and the files of this tree that it names."""
        if path not in self._read:
            content = (self.root / path).read_bytes()
            text = content.decode("utf-8")
            named = self._included(path, text)
            if path.endswith(CYTHON):
                named += self._cimported(path, text)
            found = dict.fromkeys(name for name in named if (self.root / name).is_file())
            self._read[path] = hashlib.sha256(content).hexdigest(), tuple(found)
        return self._read[path]

    def _included(self, path: str, text: str) -> list[str]:
        folders = (os.path.dirname(path), INCLUDE_DIR)
        return [os.path.normpath(os.path.join(folder, name)).replace(os.sep, "/")
                for name in INCLUDE.findall(text) for folder in folders]

    def _cimported(self, path: str, text: str) -> list[str]:
        """Definitions, by the rules of Cython: the file's own, a module's, or a package's and what is taken of it."""
        found = [os.path.splitext(path)[0] + ".pxd"] if path.endswith(".pyx") else []
        for source, taken, whole in CIMPORT.findall(text):
            for module in [source] if source else names_of(whole):
                dots = len(module) - len(module.lstrip("."))
                parts = [*path.split("/")[:-dots], *module.lstrip(".").split(".")] if dots else module.split(".")
                base = "/".join(filter(None, parts))
                found += [f"{base}.pxd", f"{base}/__init__.pxd", *(f"{base}/{name}.pxd" for name in names_of(taken))]
        return found

    def closure(self, path: str) -> list[str]:
        """The file and all that it reaches, sorted."""
        reached, waiting = {path}, [path]
        while waiting:
            new = set(self.read(waiting.pop())[1]) - reached
            reached |= new
            waiting += new
        return sorted(reached)

    def key(self, *paths: str, of: tuple[str, ...] = ("",)) -> str:
        """A hash over the contents of files and of all that they reach, or of those whose names end so."""
        reached = sorted({name for path in paths for name in self.closure(path) if name.endswith(of)})
        return digest([(name, self.read(name)[0]) for name in reached])


class Records:
    """What each file was made of, in a folder of small files."""

    def __init__(self, folder: Path):
        self.folder = folder

    def _place(self, made: str) -> Path:
        path = os.path.realpath(made)
        return self.folder / f"{os.path.basename(path)}-{digest(path)[:16]}"

    def read(self, made: str) -> dict[str, object] | None:
        """The record of a file; None where there is none, or another file has taken its place since."""
        try:
            record = json.loads(self._place(made).read_text(encoding="utf-8"))
            now = os.stat(made)
        except (OSError, ValueError):
            return None
        return record if record["file"] == [now.st_size, now.st_mtime_ns] else None

    def is_fresh(self, made: str, key: str) -> bool:
        record = self.read(made)
        return record is not None and record["key"] == key

    def write(self, made: str, key: str, sources: str = "") -> None:
        """Keeps the key, and that of the sources alone, which can be compared without knowing tools and flags."""
        if not os.path.exists(made):
            return      # the linker was no linker: ci/wheels.d/targets.sh
        now = os.stat(made)
        place = self._place(made)
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"key": key, "sources": sources, "file": [now.st_size, now.st_mtime_ns]})
        unfinished = place.with_name(f"{place.name}.{os.getpid()}")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(place)

    def forget(self, made: str) -> None:
        """Before a file is made: a build that breaks off leaves nothing that looks finished."""
        self._place(made).unlink(missing_ok=True)


@cache
def program(name: str) -> list[object]:
    """Which program a name stands for, so that another version of a compiler is another key."""
    found = shutil.which(name)
    if not found:
        return [name]
    found = os.path.realpath(found)
    return [found, os.stat(found).st_size, os.stat(found).st_mtime_ns]


def tools(*commands: list[str]) -> list[object]:
    """All that decides what a compiler's and a linker's command make of a source, but for their further arguments."""
    programs = [program(word) for command in commands for word in command if not word.startswith("-")]
    environment = {name: os.environ.get(name) for name in ENVIRONMENT}
    python = [sys.version, sysconfig.get_config_var("EXT_SUFFIX"), sysconfig.get_path("include")]
    return [commands, programs, environment, python]


@dataclass
class Object:
    """An object file, and the C file that it is compiled from."""
    made: str
    source: str
    folder: str = ""        # where the compiler puts it
    arguments: dict[str, object] = field(default_factory=dict)


@dataclass
class Module:
    """A compiled module; the source of its first object is written by Cython from `pyx`."""
    name: str
    made: str
    pyx: str | None         # None: by Cython from nothing, SHARED
    objects: list[Object]
    arguments: dict[str, object] = field(default_factory=dict)      # of the linker

    @property
    def c(self) -> str:
        return self.objects[0].source


class Build:
    """Three steps, each for what is out of date: Cython writes C, the compiler makes objects, the linker modules.

    `tools` and `cython` are all that decides, beside sources and arguments, what comes of them.
    """

    def __init__(
            self, sources: Sources, records: Records, *, write_c: Callable[[list[Module]], None],
            compile_object: Callable[[Object], None], link: Callable[[Module], None],
            tools: object = (), cython: object = (), jobs: int = 1, force: bool = False):
        self.sources, self.records = sources, records
        self.write_c, self.compile_object, self.link = write_c, compile_object, link
        self.tools, self.cython, self.jobs, self.force = tools, cython, jobs, force

    def c_key(self, module: Module) -> str:
        return digest("c", self.cython, module.pyx and self.sources.key(module.pyx, of=CYTHON))

    def object_keys(self, module: Module) -> list[str]:
        contents = [self.c_key(module), *("" for _ in module.objects[1:])]
        sources = [module.pyx, *(one.source for one in module.objects[1:])]
        return [digest("object", self.tools, one.arguments, content, source and self.sources.key(source))
                for one, content, source in zip(module.objects, contents, sources)]

    def module_key(self, module: Module) -> str:
        return digest("module", self.tools, module.arguments, self.object_keys(module))

    def is_stale(self, made: str, key: str) -> bool:
        return self.force or not self.records.is_fresh(made, key)

    def run(self, modules: list[Module]) -> int:
        """Makes what is out of date; how many modules were."""
        stale = [one for one in modules if self.is_stale(one.made, self.module_key(one))]
        unwritten = [one for one in stale if self.is_stale(one.c, self.c_key(one))]
        if unwritten:
            self._make([one.c for one in unwritten], lambda: self.write_c(unwritten))
            for one in unwritten:
                self.records.write(one.c, self.c_key(one))
        objects = [
            (one, key) for module in stale for one, key in zip(module.objects, self.object_keys(module))
            if self.is_stale(one.made, key)]
        # the longest first: vec.c, which is hardly ever alone, then the longest C of Cython's
        written = {module.c for module in modules}
        objects.sort(key=lambda pair: (pair[0].source in written, -os.path.getsize(pair[0].source)))
        with ThreadPoolExecutor(max(self.jobs, 1)) as pool:
            list(pool.map(lambda pair: self._object(*pair), objects))
            list(pool.map(self._module, stale))
        return len(stale)

    def _make(self, made: list[str], action: Callable[[], None]) -> None:
        for one in made:
            self.records.forget(one)
            os.makedirs(os.path.dirname(one) or ".", exist_ok=True)
        action()

    def _object(self, one: Object, key: str) -> None:
        self._make([one.made], lambda: self.compile_object(one))
        self.records.write(one.made, key)

    def _module(self, module: Module) -> None:
        self._make([module.made], lambda: self.link(module))
        files = [one.source for one in module.objects[1:]] + ([module.pyx] if module.pyx else [])
        self.records.write(module.made, self.module_key(module), self.sources.key(*files))


def stale_modules(root: Path = ROOT) -> tuple[list[str], list[str]]:
    """Of the modules that are built in place: those made of other sources than there are now, or not made at all; and
    those of which nothing is known."""
    sources, records = Sources(root), Records(root / "build" / RECORDS)
    stale, unknown = [], []
    for name, files in modules(root).items():
        built = importable(root, name)
        record = records.read(str(built[0])) if built else None
        if not built or (record is not None and record["sources"] != sources.key(*files)):
            stale.append(name)
        elif record is None:
            unknown.append(name)
    return stale, unknown


def importable(folder: Path, module: str) -> list[Path]:
    """The compiled files of a module that this Python would import, the one that it takes first."""
    base = folder.joinpath(*module.split("."))
    return [path for suffix in EXTENSION_SUFFIXES if (path := base.with_name(base.name + suffix)).exists()]


def leftovers(folder: Path, made: dict[str, Path]) -> list[Path]:
    """Compiled modules below a folder that would be imported, or shipped, though no source is theirs any more, or in
    place of those that were made: {name: file}."""
    found = [
        path for path in sorted(folder.glob("ldl_cy/_*/*")) if path.suffix in {".so", ".pyd", ".c"}
        and ".".join([*path.parent.relative_to(folder).parts, path.name.split(".")[0]]) not in made]
    for name, path in made.items():
        files = importable(folder, name)
        found += files[:files.index(path)] if path in files else []
    return found
