"""coverage.py's plugin for the compiled rooms; ci/coverage runs it in the root of a build with line tracing.

Cython's own plugin, of which this takes the reading of C files, looks for a source's lines in one C file, the one
beside it. But the lines of a .pxd stand in the C files of those who cimport it, in each those that it uses.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coverage.plugin import CoveragePlugin, FileReporter, FileTracer
from Cython.Coverage import Plugin as Reader

# The first line of a function in C, which is no line that runs: "cdef void f(", not "cdef double a = f(".
HEADER = re.compile(r"\s*cp?def\s[^=(]*\(")


class Tracer(FileTracer):
    """One source file, whose lines are traced under their own numbers."""

    def __init__(self, path: str) -> None:
        self.path = path

    def source_filename(self) -> str:
        """Where it is."""
        return self.path


class Reporter(FileReporter):
    """The lines of a source file that some C file has."""

    def __init__(self, path: str, found: Iterable[int]) -> None:
        super().__init__(path)
        self.found = set(found)

    def lines(self) -> set[int]:
        """Those that can be reached."""
        return self.found


class CompiledRooms(CoveragePlugin):
    """The .pyx and .pxd files of the package in the working directory."""

    def configure(self, config: Any) -> None:
        """Read all C files: coverage.py calls this before it traces or reports."""
        reader = Reader()
        reader.configure(config)
        self.package = Path("ldl_cy").resolve()
        self.lines: dict[str, set[int]] = {}
        for c_file in self.package.glob("_*/*.c"):
            for name, code in reader._parse_cfile_lines(str(c_file)).items():
                path = self.find(name)
                found = {number for number, line in code.items() if not HEADER.match(line)}
                if path is not None and found:
                    self.lines.setdefault(path, set()).update(found)

    def find(self, name: str) -> str | None:
        """The source file behind the name in a C file: from the root, or alone where one room cimports from its own."""
        room, file = Path(name).parent.name, Path(name).name
        for folder in (room, "_engine", "_kernels"):
            path = self.package / folder / file
            if path.suffix in {".pyx", ".pxd"} and path.exists():
                return str(path)
        return None

    def file_tracer(self, filename: str) -> Tracer | None:
        """Called for every file in which something runs."""
        path = self.find(filename)
        return Tracer(path) if path in self.lines else None

    def file_reporter(self, filename: str) -> Reporter:
        """Called for every file that was traced."""
        return Reporter(filename, self.lines[filename])

    def find_executable_files(self, src_dir: str) -> Iterable[str]:
        """Those that may not have been traced at all."""
        return self.lines


def coverage_init(reg: Any, options: Any) -> None:
    """Called by coverage.py."""
    plugin = CompiledRooms()
    reg.add_configurer(plugin)
    reg.add_file_tracer(plugin)
