"""No regular expression of ours can be made to search for ever: checked by its form, not by the clock.

Python's engine tries every way to split a text among nested repeats. That is exponential when an unbounded repeat holds
another repeat that can end with what the next round begins with, as in ``(a+)+``, or two alternatives that begin alike,
as in ``(a|aa)*``. Possessive and atomic parts do not backtrack.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from localstack.environ import ROOT

FOLDERS = ("functions", "shared", "localstack", "deploy")
MANY = 12
"""Repeats up to so often count as bounded."""
ALPHABET = [chr(n) for n in range(128)]
REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT)


def matches(node: Any, flags: int) -> set[str]:
    """Return the characters that a part which takes one character can take."""
    made = parser.SubPattern(parser.State(), [node])
    kind, value = node
    if kind is op.LITERAL:
        return {
            char for char in ALPHABET if char == chr(value) or (flags & re.I and char.lower() == chr(value).lower())
        }
    if kind is op.NOT_LITERAL:
        return {char for char in ALPHABET if char != chr(value)}
    if kind is op.ANY:
        return set(ALPHABET)
    assert kind is op.IN, made
    found: set[str] = set()
    negated = False
    for what, each in value:
        if what is op.NEGATE:
            negated = True
        elif what is op.LITERAL:
            found.add(chr(each))
        elif what is op.RANGE:
            found |= {char for char in ALPHABET if each[0] <= ord(char) <= each[1]}
        elif what is op.CATEGORY:
            found |= set(ALPHABET) if "NOT" in str(each) else set(re.findall(CATEGORIES[str(each)], "".join(ALPHABET)))
    return set(ALPHABET) - found if negated else found


CATEGORIES = {"CATEGORY_DIGIT": r"\d", "CATEGORY_SPACE": r"\s", "CATEGORY_WORD": r"\w"}


def begins(nodes: Any, flags: int) -> set[str]:
    """Return the characters with which a sequence can begin."""
    found: set[str] = set()
    for kind, value in nodes:
        if kind in (*REPEATS, op.POSSESSIVE_REPEAT):
            found |= begins(value[2], flags)
            if value[0]:
                return found
        elif kind is op.SUBPATTERN:
            return found | begins(value[-1], flags)
        elif kind is op.ATOMIC_GROUP:
            return found | begins(value, flags)
        elif kind is op.BRANCH:
            return found.union(*(begins(each, flags) for each in value[1]))
        elif kind not in (op.AT, op.ASSERT, op.ASSERT_NOT):
            return found | matches((kind, value), flags)
    return found


def tails(nodes: Any, flags: int) -> set[str]:
    """Return the characters of repeats that could go on over the end of a sequence, taking what follows them in it."""
    found: set[str] = set()
    follows: list[set[str]] = []
    for kind, value in reversed(list(nodes)):
        if kind in REPEATS:
            taken = begins(value[2], flags) | tails(value[2], flags)
            if value[0] != value[1] and all(each & taken for each in follows):
                found |= taken
            if value[0]:
                follows.append(taken)
        elif kind is op.SUBPATTERN and not follows:
            found |= tails(value[-1], flags)
            follows.append(begins(value[-1], flags))
        elif kind is op.BRANCH and not follows:
            found = found.union(*(tails(each, flags) for each in value[1]))
            follows.append(set().union(*(begins(each, flags) for each in value[1])))
        elif kind in (op.SUBPATTERN, op.BRANCH, op.ATOMIC_GROUP, op.POSSESSIVE_REPEAT):
            return found  # what would have to be taken after it is no single character: not looked into
        elif kind not in (op.AT, op.ASSERT, op.ASSERT_NOT):
            follows.append(matches((kind, value), flags))
    return found


def dangers(nodes: Any, flags: int) -> Iterator[str]:
    """Name the repeats that can be split in several ways."""
    for kind, value in nodes:
        if kind in (*REPEATS, op.POSSESSIVE_REPEAT):
            low, high, inner = value
            if kind in REPEATS and high > MANY and high != low:
                if tails(inner, flags) & begins(inner, flags):
                    yield f"a repeat within a repeat: {inner}"
                for each_kind, each in inner:
                    if each_kind is op.BRANCH:
                        yield from _alike(each[1], flags)
                    elif each_kind is op.SUBPATTERN and each[-1][0][0] is op.BRANCH:
                        yield from _alike(each[-1][0][1][1], flags)
            yield from dangers(inner, flags)
        elif kind is op.SUBPATTERN:
            yield from dangers(value[-1], flags)
        elif kind is op.ATOMIC_GROUP:
            yield from dangers(value, flags)
        elif kind is op.BRANCH:
            for each in value[1]:
                yield from dangers(each, flags)
        elif kind in (op.ASSERT, op.ASSERT_NOT):
            yield from dangers(value[1], flags)


def _alike(branches: Any, flags: int) -> Iterator[str]:
    seen: set[str] = set()
    for branch in branches:
        first = begins(branch, flags)
        if first & seen:
            yield f"alternatives that begin alike: {sorted(first & seen)}"
        seen |= first


def check(pattern: str | bytes, flags: int = 0) -> list[str]:
    parsed = parser.parse(pattern, flags)
    return list(dangers(parsed, parsed.state.flags))


def constants(tree: ast.Module) -> dict[str, Any]:
    """Return the module's names that hold text, f-strings of such names resolved."""
    known: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = text_of(node.value, known)
            if text is not None:
                known[node.targets[0].id] = text
    return known


def text_of(node: ast.expr, known: dict[str, Any]) -> str | bytes | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return node.value
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.JoinedStr):
        parts = [
            str(part.value) if isinstance(part, ast.Constant) else str(text_of(part.value, known) or "name")  # type: ignore[attr-defined]
            for part in node.values
        ]
        return "".join(parts)
    return None


SIGNS = re.compile(r"\bre\.|\b_phrases\b|\bpattern\b")
"""What a file holds some of in which `given` finds something."""


def patterns() -> list[tuple[str, str | bytes]]:
    """Return every pattern given to `re`, and to pydantic, in the code."""
    found: list[tuple[str, str | bytes]] = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text()
            if not SIGNS.search(source):
                continue  # reading them all takes seconds, in every process of the tests
            tree = ast.parse(source)
            known = constants(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    found += [(where(path, node), text) for text in given(node, known)]
    template = (ROOT / "template.yaml").read_text()
    return found + [("template.yaml", text) for text in re.findall(r"AllowedPattern: \"(.*?)\"", template)]


def where(path: Path, node: ast.Call) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


UNFOLDED = ast.unparse(ast.parse(r"""re.sub(r"\n\s*", "", text)""", mode="eval"))
"""What ``_phrases`` compiles: its callers' patterns, which are read where they stand."""


def given(node: ast.Call, known: dict[str, Any]) -> Iterator[str | bytes]:
    function = node.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re":
        if function.attr == "escape":
            return
        text = text_of(node.args[0], known)
        if text is None and ast.unparse(node.args[0]) == UNFOLDED:
            return
        assert text is not None, f"line {node.lineno}: the pattern cannot be read by this test"
        yield text
    if isinstance(function, ast.Name) and function.id == "_phrases":
        text = text_of(node.args[0], known)
        assert isinstance(text, str), f"line {node.lineno}: the pattern cannot be read by this test"
        yield re.sub(r"\n\s*", "", text)
    for keyword in node.keywords:
        if keyword.arg == "pattern" and (text := text_of(keyword.value, known)) is not None:
            yield text


FOUND = patterns()


def test_the_patterns_were_found() -> None:
    assert len(FOUND) > 20


@pytest.mark.parametrize(("place", "pattern"), FOUND, ids=[place for place, _ in FOUND])
def test_a_pattern_cannot_be_made_to_search_for_ever(place: str, pattern: str | bytes) -> None:
    assert check(pattern) == []


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        (r"(a+)+$", False), (r"(a*)*b", False), (r"([a-z]+\s*)+!", False), (r"(?:\w|a\w)*c", False),
        (r"(.*,)*x", False),
        (r"(?:\w+\d*)*-", False), (r"(a|b)*c", True), (r"(?:/[a-z]+)+", True), (r"(?>a+)+b", True),
        (r"(?:a++b?+)*+", True), (r"(?:\d+,)*\d+", True), (r"a{1,3}(?:b{2}){4}", True),
    ],
)  # fmt: skip
def test_what_counts_as_dangerous(pattern: str, good: bool) -> None:
    assert (check(pattern) == []) is good
