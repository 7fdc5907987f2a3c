"""No operation reads more of the table than it is about: its cost would grow with everything that is stored."""

import ast
from pathlib import Path

from tests.unit.sources import nodes_where

ROOT = Path(__file__).parents[3]
READS_EVERYTHING = frozenset({"scan", "execute_statement", "keys", "flushall", "smembers", "hkeys"})
"""Calls by name: DynamoDB's scan and PartiQL, and Valkey's that walk a whole keyspace or an unbounded set."""
ALLOWED = {"shared/watchers.py: smembers"}  # of one connection: TASKS_PER_CONNECTION at most


def test_nothing_scans() -> None:
    found = set()
    for folder in ("functions", "shared"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in nodes_where(path, READS_EVERYTHING):
                called = node.func if isinstance(node, ast.Call) else None
                name = called.attr if isinstance(called, ast.Attribute) else ""
                if name in READS_EVERYTHING and isinstance(node, ast.Call) and (node.args or node.keywords):
                    found.add(f"{path.relative_to(ROOT)}: {name}")
    assert found == ALLOWED


def test_no_script_walks_the_keyspace() -> None:
    scripts = list((ROOT / "shared").rglob("*.lua"))
    assert scripts
    for path in scripts:
        text = path.read_text().upper()
        assert not [word for word in ("'KEYS'", "'SCAN'", "'SMEMBERS'") if word in text], path.name
