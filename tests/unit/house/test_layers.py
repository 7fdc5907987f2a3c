"""Imports go one way: the public types at the bottom, then `shared`, then the functions; whatever runs them on top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from localstack.environ import ROOT

BELOW: dict[str, set[str]] = {
    "sluice": {"sluice"},
    "shared": {"sluice", "shared"},
    "functions": {"sluice", "shared", "functions"},
    "deploy": {"sluice", "shared", "deploy"},
    "localstack": {"sluice", "shared", "functions", "deploy", "localstack"},
}
"""Top folder -> those of ours that its modules may import. Of `sluice`, the part that agents import is meant."""
TREES = ("sluice", "shared", "functions", "localstack", "deploy", "benchmarks")
FACE = {"__init__", "context", "errors", "types"}
OURS = (*TREES, "tests", "examples")


def imports(path: Path) -> set[str]:
    """Return the dotted names of ours that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.partition(".")[0] in OURS}


def files(top: str) -> list[Path]:
    found = sorted((ROOT / top).rglob("*.py"))
    return [path for path in found if top != "sluice" or (path.parent.name == "sluice" and path.stem in FACE)]


@pytest.mark.parametrize("top", list(BELOW))
def test_nothing_is_imported_from_above(top: str) -> None:
    upward = {
        f"{path.relative_to(ROOT)} -> {name}"
        for path in files(top)
        for name in imports(path)
        if name.partition(".")[0] not in BELOW[top]
    }
    assert upward == set()


def test_functions_import_no_other_function() -> None:
    across = {
        f"{path.relative_to(ROOT)} -> {name}"
        for path in files("functions")
        for name in imports(path)
        if name.startswith("functions.") and name.split(".")[1] != path.relative_to(ROOT).parts[1].removesuffix(".py")
    }
    assert across == set()


def at_import(body: list[ast.stmt]) -> Iterator[ast.ImportFrom]:
    """Yield what is imported when a module is: not what a function imports, or only a type checker."""
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node
        elif isinstance(node, ast.Try) or (isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test)):
            yield from at_import(node.body)


def test_no_module_imports_itself_by_way_of_others() -> None:
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for top in TREES
        for path in (ROOT / top).rglob("*.py")
    }
    imported = {
        name: {
            full if full in paths else str(node.module)
            for node in at_import(ast.parse(path.read_text()).body)
            for full in (f"{node.module}.{alias.name}" for alias in node.names)
        }
        & set(paths) - {name}
        for name, path in paths.items()
    }
    assert len(imported) > 200
    TopologicalSorter(imported).prepare()  # raises CycleError, naming the circle


def test_no_circle_hides_in_what_shared_imports_later() -> None:
    """An import within a function makes no circle at start, but what calls whom is one. Types alone do not count."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files("shared")
    }
    imported: dict[str, set[str]] = {}
    for name, path in paths.items():
        tree = ast.parse(path.read_text())
        tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))]
        imported[name] = {
            full if full in paths else str(node.module)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for full in (f"{node.module}.{alias.name}" for alias in node.names)
        } & set(paths) - {name}
    TopologicalSorter(imported).prepare()
