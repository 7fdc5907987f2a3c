"""Python in README.md and docs/ that no test runs: it compiles, and what it calls of the project is there."""

from __future__ import annotations

import ast
import importlib
import inspect
from typing import Any

import pytest

from functions.worker import agents
from functions.worker.model.options import merged
from functions.worker.run.context import Context
from shared.tasks import model, settle, store
from sluice import types
from sluice.testing import World
from tests.docs import BLOCKS, Block

EXAMPLES = [block for block in BLOCKS if block.language == "python" and not block.run_by]
AS_IN_THE_TEXT: dict[str, Any] = {
    "agents": agents,
    "ctx": Context,
    "Context": Context,
    "monkeypatch": pytest.MonkeyPatch,
    "pytest": pytest,
    "settle": settle,
    "store": store,
    "world": World,
    "World": World,
} | {name: kind for module in (types, model) for name, kind in vars(module).items() if inspect.isclass(kind)}
"""Names that the text around the examples explains. A class stands for something of that kind, too."""
ANYTHING = object()
"""Something that cannot be told from the text."""


def compiled(code: str) -> ast.Module:
    compile(code, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return ast.parse(code)


def attribute(of: Any, name: str) -> Any:
    """Return a member; what ``__init__`` or an annotation gives to every instance of a class counts.

    Raises:
        AttributeError: there is none.
    """
    if of is ANYTHING:
        return ANYTHING
    if inspect.isclass(of) and not hasattr(of, name):
        kinds = [base for base in of.__mro__ if base.__module__ not in ("builtins", "typing")]
        if any(name in inspect.get_annotations(base) for base in kinds):
            return ANYTHING
        given = ast.walk(ast.parse("\n".join(inspect.cleandoc("\n" + inspect.getsource(base)) for base in kinds)))
        if any(isinstance(node, ast.Attribute) and node.attr == name and is_self(node.value) for node in given):
            return ANYTHING
    found = getattr(of, name)
    # What a method of a thing is called with; a class' own methods would want the thing itself.
    if inspect.isclass(of) and inspect.isfunction(found):
        return found.__get__(object())
    return ANYTHING if isinstance(found, property) else found


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


class Reader(ast.NodeVisitor):
    """Follows an example as far as names tell what they are."""

    def __init__(self) -> None:
        self.known = dict(AS_IN_THE_TEXT)
        self.calls = 0

    def visit_Import(self, node: ast.Import) -> None:
        for each in node.names:
            importlib.import_module(each.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.module
        module = importlib.import_module(node.module)
        for each in node.names:
            self.known[each.asname or each.name] = getattr(module, each.name)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.known[target.id] = self.what(node.value)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        self.what(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        called = self.what(node.func)
        if called is ANYTHING or any(isinstance(one, ast.Starred) for one in node.args):
            return
        self.calls += 1
        named = {one.arg: ANYTHING for one in node.keywords if one.arg}
        signature = inspect.signature(called)
        signature.bind(*[ANYTHING for _ in node.args], **named)
        rest = [str(one.annotation) for one in signature.parameters.values() if one.kind is one.VAR_KEYWORD]
        if any("ModelOptions" in kind for kind in rest):  # the rest is options, which have names of their own
            merged({}, {name: None for name in named if name not in signature.parameters})

    def what(self, node: ast.expr) -> Any:
        """Return what an expression is: an object, or the class of one."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id, ANYTHING)
        if isinstance(node, ast.Attribute):
            return attribute(self.what(node.value), node.attr)
        if isinstance(node, ast.Await):
            return self.what(node.value)
        if isinstance(node, ast.Call):
            called = self.what(node.func)
            returned = called if inspect.isclass(called) else getattr(called, "__annotations__", {}).get("return")
            return returned if inspect.isclass(returned) else AS_IN_THE_TEXT.get(str(returned), ANYTHING)
        return ANYTHING


def read(code: str) -> int:
    """Check an example; returns how many calls of the project it held against their parameters."""
    reader = Reader()
    reader.visit(compiled(code))
    return reader.calls


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: f"{block.page}:{block.line}")
def test_an_example_calls_what_there_is(block: Block) -> None:
    read(block.code)


def test_what_the_examples_call_was_found() -> None:
    assert {block.page: read(block.code) for block in EXAMPLES} == {
        "README.md": 2,
        "docs/agents.md": 12,
        "docs/openai.md": 0,
        "docs/waits.md": 3,
        "docs/batches.md": 0,
        "docs/children.md": 3,
        "docs/schedules.md": 1,
    }


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("def f(:", SyntaxError),
        ("from sluice import Answer", AttributeError),
        ("from functions.nowhere import Answer", ModuleNotFoundError),
        ("from sluice import AgentResult\nAgentResult()", TypeError),
        ("from sluice import AgentResult\nAgentResult('', more=1)", TypeError),
        ("await ctx.think([])", AttributeError),
        ("await ctx.model([], tool='x')", TypeError),
        ("await ctx.step('x')", TypeError),
        ("f'{ctx.text}'", AttributeError),
        ("reply = await ctx.model([])\nreply.text", AttributeError),
        ("world.submit()", TypeError),
        ("store.get(1, 2)", TypeError),
    ],
)
def test_an_example_that_is_wrong_is_found(code: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read(code)
