"""Which calls of AWS a function's code can reach: a call graph by names, from the handler down.

Names are resolved through imports and definitions. A class that is referred to counts with all of its methods; a
function that is referred to, even only handed on, counts as called. So the answer errs on the side of too much, and a
call that it lacks cannot be made.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from localstack.environ import ROOT
from tests.unit.sources import nodes_of

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass
class Module:
    """A source file: what it defines and imports, and what runs, or is registered, when it is imported."""

    name: str
    defines: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    """Name here -> dotted name of a module, or of something in it."""
    body: list[ast.stmt] = field(default_factory=list)


@cache
def path_of(name: str) -> Path | None:
    """Return a module's file, if it is one of ours."""
    base = ROOT / name.replace(".", "/")
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


@cache
def module(name: str) -> Module:
    """Read a module."""
    path = path_of(name)
    assert path is not None
    nodes = nodes_of(path)
    tree = nodes[0]
    assert isinstance(tree, ast.Module)
    made = Module(name)
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                made.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                made.imports[alias.asname or alias.name] = alias.name
    for statement in tree.body:
        if isinstance(statement, Definition):
            made.defines[statement.name] = statement
            if any(
                isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) for each in statement.decorator_list
            ):
                made.body.append(statement)  # registered on import: a route
        elif not isinstance(statement, ast.Import | ast.ImportFrom):
            made.body.append(statement)
    return made


Place = tuple[str, str]
"""A module and a definition in it; "" is what runs on import."""


@cache
def resolve(dotted: str) -> Place | None:
    """Find the place that a dotted name stands for, if it is ours."""
    if path_of(dotted):
        return dotted, ""
    head, _, last = dotted.rpartition(".")
    if head and path_of(head):
        found = module(head)
        if last in found.defines:
            return head, last
        if last in found.imports:  # handed on
            return resolve(found.imports[last])
        return head, ""
    return None


def code_of(place: Place) -> list[ast.AST]:
    """Return a place's code."""
    where = module(place[0])
    return [where.defines[place[1]]] if place[1] else list(where.body)


@cache
def references(place: Place) -> frozenset[Place]:
    """Return the places that one refers to."""
    where = module(place[0])
    found: set[Place] = set()
    for top in code_of(place):
        for node in ast.walk(top):
            if isinstance(node, ast.Name):
                if node.id in where.defines:
                    found.add((where.name, node.id))
                elif node.id in where.imports and (to := resolve(where.imports[node.id])):
                    found.add(to)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                imported = where.imports.get(node.value.id)
                if imported and (to := resolve(f"{imported}.{node.attr}")):
                    found.add(to)
    return frozenset(found)


def reachable(roots: list[str]) -> set[Place]:
    """Return every place that can be reached from whole modules."""
    open_: list[Place] = []
    for root in roots:
        open_ += [(root, ""), *((root, name) for name in module(root).defines)]
    found: set[Place] = set()
    while open_:
        place = open_.pop()
        if place in found:
            continue
        found.add(place)
        open_ += references(place)
    return found


def aws_calls(places: set[Place]) -> set[tuple[str, str, str]]:
    """Return (service, method, module) of every ``aws.<service>().<method>`` in reach."""
    return {call for place in places for call in _calls_of(place)}


@cache
def _calls_of(place: Place) -> frozenset[tuple[str, str, str]]:
    calls: set[tuple[str, str, str]] = set()
    for top in code_of(place):
        for node in ast.walk(top):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Call):
                continue
            made = node.value.func
            if isinstance(made, ast.Attribute) and isinstance(made.value, ast.Name) and made.value.id == "aws":
                calls.add((made.attr, node.attr, place[0]))
    return frozenset(calls)
