"""CloudWatch bills each distinct value of a dimension: nothing that a tenant or a provider words may be one."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from functions.worker.model.codes import KNOWN, OTHER, bounded
from localstack.environ import ROOT
from shared.retry import ModelError, classify
from tests.unit.sources import nodes_where

if TYPE_CHECKING:
    from collections.abc import Iterator

ALLOWED = {"lane", "status", "code", "limit", "outcome", "reason", "kind"}
"""Dimensions whose values are words of Sluice's own."""


def dimensions() -> Iterator[tuple[str, str]]:
    """Return (file, dimension) of every metric in the code."""
    for folder in ("functions", "shared"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in nodes_where(path, frozenset({"metrics"})):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                if not isinstance(node.func.value, ast.Name) or node.func.value.id != "metrics":
                    continue
                where = str(path.relative_to(ROOT))
                if node.func.attr in ("count", "emit"):
                    yield from ((where, word.arg or "**") for word in node.keywords)
                elif node.func.attr == "emit_beside":
                    for each in node.args[1:]:
                        if isinstance(each, ast.Tuple) and isinstance(each.elts[1], ast.Dict):
                            yield from ((where, ast.literal_eval(key)) for key in each.elts[1].keys if key is not None)
                        else:
                            yield where, "**"


def test_metrics_have_known_dimensions_only() -> None:
    found = list(dimensions())
    assert len(found) > 5
    assert [one for one in found if one[1] not in ALLOWED] == []


@pytest.mark.parametrize("status", [None, 200, 400, 404, 418, 429, 500])
def test_a_providers_word_is_no_value_of_a_dimension(status: int | None) -> None:
    code = classify(ModelError("x", status=status, code="a-word-of-theirs")).code
    assert bounded(code) in {*KNOWN, OTHER}
    assert bounded("a-word-of-theirs") == OTHER
