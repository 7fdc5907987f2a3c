"""Imports go one way: the public types at the bottom, then `shared`, then the functions; whatever runs them on top."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from localstack.environ import ROOT
from tests.unit import sources
from tests.unit.sources import nodes_of

pytestmark = sources.together

BELOW: dict[str, set[str]] = {
    "sluice": {"sluice"},
    "shared": {"sluice", "shared"},
    "functions": {"sluice", "shared", "functions"},
    "deploy": {"sluice", "shared", "deploy"},
    "localstack": {"sluice", "shared", "functions", "deploy", "localstack"},
    "benchmarks": {"sluice", "shared", "functions", "deploy", "localstack", "examples", "benchmarks", "tests"},
}
"""Top folder -> those of ours that its modules may import. Of `sluice`, the part that agents import is meant."""
TREES = ("sluice", "shared", "functions", "localstack", "deploy", "benchmarks", "examples")
FACE = {"__init__", "context", "errors", "types"}
OURS = (*TREES, "tests")


@cache
def imports(path: Path) -> set[str]:
    """Return the dotted names of ours that a file imports, wherever in it."""
    found: set[str] = set()
    for node in nodes_of(path):
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


PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for top in TREES
    for path in (ROOT / top).rglob("*.py")
}
"""Every module of ours by its name."""


@cache
def imported(path: Path) -> set[str]:
    """Return the modules of ours that one imports: at start, later within a function, or only as types."""
    return {
        full if full in PATHS else str(node.module)
        for node in nodes_of(path)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for full in (f"{node.module}.{alias.name}" for alias in node.names)
    } & set(PATHS)


def names_of(nodes: list[ast.AST]) -> set[str]:
    """Return the names that a module has, wherever in it they are bound."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def test_what_one_module_imports_of_another_is_there() -> None:
    """Benchmarks among them, which no other test imports; what is imported in a `try` may be missing."""
    names = {name: names_of(nodes_of(path)) for name, path in PATHS.items()}
    missing = set()
    for name, path in PATHS.items():
        blocks = [node for node in nodes_of(path) if isinstance(node, ast.Try)]
        tried = {id(node) for block in blocks for node in ast.walk(block)}
        for node in nodes_of(path):
            if isinstance(node, ast.ImportFrom) and node.module in names and id(node) not in tried:
                there = names[node.module]
                missing |= {
                    f"{name}: {node.module}.{alias.name}"
                    for alias in node.names
                    if not {alias.name, "__getattr__"} & there and f"{node.module}.{alias.name}" not in PATHS
                }
    assert missing == set()


def test_no_module_imports_itself_by_way_of_others() -> None:
    """What is imported within a function makes no circle at start, but what calls whom is one; so it is with types."""
    assert len(PATHS) > 400
    TopologicalSorter(
        {name: imported(path) - {name} for name, path in PATHS.items()}
    ).prepare()  # or it names the circle


def test_the_rooms_of_the_api_are_entered_one_way() -> None:
    """From the door through the routes to what does the work: no room calls back into one that leads to it."""
    top = "functions.api"
    rooms: dict[str, set[str]] = {}
    for name, path in PATHS.items():
        if name.startswith(f"{top}."):
            led_to = {other.split(".")[2] for other in imported(path) if other.startswith(f"{top}.")}
            rooms.setdefault(name.split(".")[2], set()).update(led_to)
    assert {"door", "routes", "submit", "read", "live", "control", "dialect", "bulk"} <= set(rooms)
    TopologicalSorter({room: others - {room} for room, others in rooms.items()}).prepare()


LINES = 320
"""Longest module; about 250 is what one aims at (docs/contributing.md)."""


def test_no_module_is_longer_than_one_idea_takes() -> None:
    long = {name: lines for name, path in PATHS.items() if (lines := len(path.read_text().splitlines())) > LINES}
    assert long == {}
