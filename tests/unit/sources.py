"""Our own modules, parsed: once a process, for all tests that look through the whole code."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

together = pytest.mark.together("sources")
"""For files whose tests parse most of the code: one copy of the tests does so, not each."""


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """Return all of a module's syntax, the module itself first; nobody may change it."""
    return list(ast.walk(ast.parse(path.read_text())))


def nodes_where(path: Path, words: frozenset[str]) -> list[ast.AST]:
    """Return them if a module has one of some names in it, else nothing: most have not, and need no parsing."""
    text = path.read_text()
    return nodes_of(path) if any(word in text for word in words) else []
