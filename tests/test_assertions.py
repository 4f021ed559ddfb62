"""The tests themselves: each of them can fail."""
from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
HELPERS = {".".join(path.relative_to(FOLDER / "helpers").with_suffix("").parts): path
           for path in (FOLDER / "helpers").rglob("*.py")}
FILES = sorted(FOLDER.rglob("test_*.py"))


@cache
def read(path: Path) -> tuple[dict[str, ast.FunctionDef], dict[str, tuple[Path, str]]]:
    """(functions by name, what is imported from the helpers: the file and the name there)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    imported = {alias.asname or alias.name: (HELPERS[node.module], alias.name)
                for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module in HELPERS
                for alias in node.names}
    return functions, imported


def called(node: ast.AST) -> list[str]:
    """The names, without what is in front of a dot, of what is called in a function."""
    functions = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    return [f.id if isinstance(f, ast.Name) else f.attr for f in functions if isinstance(f, (ast.Name, ast.Attribute))]


def raises_assertion_error(node: ast.AST) -> bool:
    return isinstance(node, ast.Raise) and "AssertionError" in ast.unparse(node)


def can_fail(path: Path, name: str, seen: frozenset[tuple[Path, str]] = frozenset()) -> bool:
    """Whether a function asserts, by itself or through functions of its file or of the helpers."""
    functions, imported = read(path)
    if name in imported:
        return can_fail(*imported[name], seen)
    if name not in functions or (path, name) in seen:
        return False
    node, seen = functions[name], seen | {(path, name)}
    # checks that the test is parametrized with: those of the contract, scikit-learn's
    own = {argument.arg for argument in node.args.args if argument.arg.startswith("check")}
    if any(isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id in own
           for inner in ast.walk(node)):
        return True
    return any(isinstance(inner, ast.Assert) or raises_assertion_error(inner) for inner in ast.walk(node)) or any(
        call in ("raises", "warns", "fail") or call.startswith("assert_") or can_fail(path, call, seen)
        for call in called(node))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_every_test_asserts(path):
    tests = [name for name in read(path)[0] if name.startswith("test_")]
    assert [name for name in tests if not can_fail(path, name)] == []
