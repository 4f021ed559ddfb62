"""The package's own source, read as text: who imports whom, and how long files and lists of parameters are."""
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ldl_cy"

Arrows = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Python modules by their dotted names."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def statements(tree: ast.AST, typing: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, wherever it is, and whether only type checkers see it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for part, hidden in ((node.body, True), (node.orelse, typing)):
                for statement in part:
                    yield statement, hidden
                    yield from statements(statement, hidden)
        else:
            yield node, typing
            yield from statements(node, typing)


def imports(*, typing: bool) -> Arrows:
    """Who imports whom, inside functions too; with ``typing`` also what only type checkers see."""
    known = modules()
    arrows: Arrows = {}
    for name, path in known.items():
        arrows[name] = set()
        for node, hidden in statements(ast.parse(path.read_text(encoding="utf-8"))):
            if hidden and not typing:
                continue
            if isinstance(node, ast.ImportFrom) and node.module:
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                arrows[name] |= {a if a in known else node.module for a in full}
            elif isinstance(node, ast.Import):
                arrows[name] |= {alias.name for alias in node.names}
    return {name: (targets & known.keys()) - {name} for name, targets in arrows.items()}


def cimports() -> Arrows:
    """Which compiled module, .pyx and .pxd together, cimports which."""
    files = [*PACKAGE.rglob("*.pyx"), *PACKAGE.rglob("*.pxd")]
    known = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    arrows: Arrows = {name: set() for name in known}
    for path in files:
        name, text = ".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text(encoding="utf-8")
        for module, names in re.findall(r"^from ([\w.]+) cimport (\([^)]*\)|.*)", text, re.M):
            full = {f"{module}.{one}" for one in re.findall(r"\w+", names)} & known
            arrows[name] |= full or ({module} & known)
    return {name: targets - {name} for name, targets in arrows.items()}


def from_libm() -> dict[str, set[str]]:
    """What each compiled module cimports from the C library's mathematics."""
    files = [*PACKAGE.rglob("*.pyx"), *PACKAGE.rglob("*.pxd")]
    return {path.name: set(re.findall(r"\w+", names)) for path in files
            for names in re.findall(r"^from libc.math cimport (\([^)]*\)|.*)", path.read_text(encoding="utf-8"), re.M)}


def circles(arrows: Arrows) -> list[set[str]]:
    """The groups of modules that reach each other (Tarjan, SIAM J. Comput. 1, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        path.append(name)
        for target in sorted(arrows[name]):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in path:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            group = set(path[path.index(name):])
            del path[path.index(name):]
            if len(group) > 1:
                found.append(group)

    for name in sorted(arrows):
        if name not in index:
            visit(name)
    return found


def signatures() -> Iterator[tuple[str, int]]:
    """Every function of the package, by module and name, and how many parameters it has besides self and cls."""
    for name, path in modules().items():
        for node, _ in statements(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = node.args
                every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                yield f"{name}.{node.name}", sum(a.arg not in ("self", "cls") for a in every)
