"""Expressions of DynamoDB in moto, quick: of updates, and of conditions.

`tests/unit/test_quick_moto.py` holds the answers against those of moto as it is.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, NamedTuple

from moto.dynamodb.comparisons import ConditionExpressionParser
from moto.dynamodb.parsing import ast_nodes, expressions, validators

from sluice.testing import quick_updates

__all__ = ["PARTS"]


# ---- update expressions

# Moto parses each twice, copies its tree with `deepcopy`, and sends ten processors through the copy, each asking of
# each node what it is: two thirds of an update's time. A tree that was parsed is only read, so one may be kept.
_tree: Any = ast_nodes
_Parser: Any = vars(expressions)["UpdateExpressionParser"]
_parse = _Parser.make
_prepare: Any = validators.Validator.__init__
_Kind = Any  # a class of nodes
_looks_at_parents: Callable[[_Kind], bool] = cache(
    lambda kind: kind.pre_processing_of_child is not _tree.DepthFirstTraverser.pre_processing_of_child
)
_is_node: Callable[[_Kind], bool] = cache(lambda kind: issubclass(kind, _tree.Node))
_holds_clauses: Callable[[_Kind], bool] = cache(
    lambda kind: issubclass(kind, _tree.Expression | _tree.UpdateExpressionFunction)
)
_is_one_of: Callable[[_Kind, tuple[_Kind, ...]], bool] = cache(issubclass)


def _copy_tree(node: Any) -> Any:
    """Copy an expression's tree. Its leaves are text, numbers and attribute values that nothing writes to."""
    made = object.__new__(type(node))
    vars(made).update(vars(node))
    if node.children is not None:
        made.children = [
            _copy_tree(child) if _is_node(type(child)) else copy.deepcopy(child) for child in node.children
        ]
        for child in made.children:
            if _is_node(type(child)):
                child.parent = made
    return made


_STATIC = (
    validators.ActionCountValidator,
    validators.OverlappingPathsValidator,
    validators.UpdateHashRangeKeyValidator,
)
"""Checks of an expression with its names against a table's keys, whatever the item and the values are."""


def _begin(
    self: Any,
    expression: Any,
    expression_attribute_names: dict[str, str],
    expression_attribute_values: dict[str, Any],
    item: Any,
    table: Any,
) -> None:
    names, values = expression_attribute_names, expression_attribute_values
    self.case = (tuple(sorted((names or {}).items())), tuple(table.table_key_attrs))
    self.passed = vars(expression).setdefault("passed", set())
    self.changes = None
    if self.case in self.passed:
        self.changes = quick_updates.changes(expression, lambda: _actions(expression), names, values, item)
        if self.changes is not None:
            return
    _prepare(self, None, names, values, item, table)
    self.node_to_validate = _copy_tree(expression)
    if "kinds" not in vars(expression):
        expression.kinds = _kinds(expression)
    self.kinds = set(expression.kinds)
    if self.case in self.passed:
        self.processors = [one for one in self.processors if not isinstance(one, _STATIC)]


def _actions(expression: Any) -> list[Any]:
    """Return what an expression's tree does, in the order in which moto does it."""
    tree = _copy_tree(expression)
    tree.normalize()
    found: list[Any] = tree.children
    return found


def _kinds(node: Any) -> set[_Kind]:
    """Return the kinds of all nodes of a tree."""
    found = {type(node)} if _is_node(type(node)) else set()
    return found.union(*(_kinds(child) for child in (node.children or () if found else ())))


def _validate(self: Any) -> Any:
    if self.changes is not None:
        return self.changes
    node = self.node_to_validate
    for processor in self.processors:
        processor.kinds = self.kinds
        node = processor.traverse(node)
    self.passed.add(self.case)
    return node


def _traverse(self: Any, node: Any, child_id: int = -1) -> Any:
    processors, looks = self._processing_map(), _looks_at_parents(type(self))
    takes = tuple(processors)
    kinds = vars(self).get("kinds")
    if kinds is None:
        kinds = _kinds(node)
    if not looks and not any(_is_one_of(kind, takes) for kind in kinds):
        return node
    return _visit(_Visit(self, processors, takes, looks, kinds), node, child_id)


class _Visit(NamedTuple):
    """One way through a tree."""

    traverser: Any
    processors: dict[type, Any]
    takes: tuple[type, ...]
    looks: bool
    kinds: set[_Kind]
    """Of the tree's nodes; those that the processors put there are added."""


def _visit(by: _Visit, node: Any, child_id: int) -> Any:
    """Have the processors of a kind of node take each such node, children first."""
    if not _is_node(type(node)):
        return node
    parent = node.parent
    for n, child in enumerate(node.children or ()):
        if by.looks:
            by.traverser.pre_processing_of_child(node, n)
        if _is_node(type(child)):
            _visit(by, child, n)
    if _is_one_of(type(node), by.takes):
        processor = next(found for kind, found in by.processors.items() if isinstance(node, kind))
        made = processor(node)
        if made is not node:
            by.kinds.update(_kinds(made))
        node = made
        node.parent = parent
        if parent:
            parent.children[child_id] = node
    return node


def _find_clauses(self: Any, clause_types: list[type]) -> list[Any]:
    found: list[Any] = []
    for child in self.children or ():
        if type(child) in clause_types:
            found.append(child)
        elif _holds_clauses(type(child)):
            found.extend(_find_clauses(child, clause_types))
    return found


# ---- conditions


# What a condition says is found out once; which values it compares with, each time.
class _Condition(NamedTuple):
    root: Any
    names: tuple[str, ...]
    values: tuple[str, ...]
    """Those that it mentions."""


_conditions: dict[tuple[str, tuple[tuple[str, str], ...]], _Condition] = {}
_read: Any = ConditionExpressionParser.parse
_make_condition: Any = ConditionExpressionParser._make_op_condition
_make_operand: Any = ConditionExpressionParser._make_operand


def _read_once(self: Any) -> Any:
    text = self.condition_expression
    if not text:
        return _read(self)
    case = text, tuple(sorted((self.expression_attribute_names or {}).items()))
    known = _conditions.get(case)
    if known is None:
        made = _read(self)
        _conditions[case] = _Condition(self.root, (*self.expr_attr_names_found,), (*self.expr_attr_values_found,))
        return made
    made = _make_condition(self, known.root)
    self.expr_attr_names_found.extend(known.names)
    self.expr_attr_values_found.extend(known.values)
    return made


def _note_root(self: Any, node: Any) -> Any:
    vars(self).setdefault("root", node)
    return _make_condition(self, node)


def _operand(self: Any, node: Any) -> Any:
    if node.kind == self.Kind.EXPRESSION_ATTRIBUTE_VALUE:
        node = node._replace(value=self._lookup_expression_attribute_value(node.text))
    return _make_operand(self, node)


# Moto makes six patterns anew for each word of a condition.
_lex: Any = ConditionExpressionParser._lex_condition_expression


class _Words:
    """A condition's text, as who reads its words asks for it."""

    _lex_one_node = ConditionExpressionParser._lex_one_node
    Nonterminal, Kind, Node = (
        ConditionExpressionParser.Nonterminal,
        ConditionExpressionParser.Kind,
        ConditionExpressionParser.Node,
    )

    def __init__(self, text: str) -> None:
        self.condition_expression = text


@lru_cache(1000)
def _words_of(text: str) -> tuple[Any, ...]:
    return tuple(_lex(_Words(text)))


def _lex_once(self: Any) -> deque[Any]:
    """Return a condition's words; nobody changes one."""
    return deque(_words_of(self.condition_expression))


PARTS: tuple[tuple[Any, str, Any], ...] = (
    (_Parser, "make", lru_cache(1000)(_parse)),
    (validators.Validator, "__init__", _begin),
    (validators.Validator, "validate", _validate),
    (_tree.DepthFirstTraverser, "traverse_node_recursively", _traverse),
    (_tree.Node, "find_clauses", _find_clauses),
    (ConditionExpressionParser, "_lex_condition_expression", _lex_once),
    (ConditionExpressionParser, "parse", _read_once),
    (ConditionExpressionParser, "_make_op_condition", _note_root),
    (ConditionExpressionParser, "_make_operand", _operand),
    *quick_updates.PARTS,
)
"""Whose, what of it, and what stands there instead."""
