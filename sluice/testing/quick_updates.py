"""Plain updates of DynamoDB's items in moto, quick: attributes are set, added to and removed, each by its `#name`.

Moto copies an expression's tree, sends ten processors through the copy and measures the whole item at each attribute
that it sets: a quarter of the unit tests' time with a worker. What a plain expression does is found out once, and an
item is measured once. Whatever else there is, and all that is refused, goes moto's own way, before anything changes.
`tests/unit/test_quick_moto.py` holds the answers against those of moto as it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.parsing import ast_nodes, executors

from sluice.testing.quick_items import MOST_BYTES, size_of_all

__all__ = ["PARTS", "Changes", "changes"]

_tree: Any = ast_nodes


class _Action(NamedTuple):
    """What one part of an expression does."""

    adds: bool
    name: str
    """The attribute's `#name`."""
    value: str
    """The value's `:name`; empty: the attribute is removed."""


class Changes(NamedTuple):
    """What an update makes of an item: it stands where moto has an expression's tree with all values in it."""

    attributes: dict[str, Any]
    """The item's own."""
    made: list[tuple[str, DynamoType | None]]

    def normalize(self) -> None:
        """Be in order, as moto asks of a tree."""

    def apply(self) -> None:
        """Change the item, which has room for it."""
        for name, value in self.made:
            if value is None:
                self.attributes.pop(name, None)
            else:
                dict.__setitem__(self.attributes, name, value)


def _only(node: Any, kind: Any) -> Any:
    """Return what a node of this kind holds, if that is one thing; None otherwise."""
    return node.children[0] if type(node) is kind and len(node.children) == 1 else None


def _action(node: Any) -> _Action | None:
    name = _only(_only(node.children[0], _tree.UpdateExpressionPath), _tree.ExpressionAttributeName)
    if name is None:
        return None
    if type(node) is _tree.UpdateExpressionRemoveAction:
        return _Action(False, name, "")
    adds = type(node) is _tree.UpdateExpressionAddAction
    if not adds and type(node) is not _tree.UpdateExpressionSetAction:
        return None
    given = node.children[1]
    value = _only(given if adds else _only(given, _tree.UpdateExpressionValue), _tree.ExpressionAttributeValue)
    return None if value is None else _Action(adds, name, value)


def _plan(tree: Any, actions: list[Any]) -> list[_Action]:
    """Return what an expression does, in moto's order; nothing if it is not plain."""
    plan: list[_Action] | None = vars(tree).get("plan")
    if plan is None:
        found = [_action(node) for node in actions]
        plan = tree.plan = [one for one in found if one] if all(found) else []
    return plan


def changes(tree: Any, actions: Any, names: dict[str, str], values: dict[str, Any], item: Any) -> Changes | None:
    """Return what an expression makes of an item; None if moto itself is to see.

    ``actions`` returns the tree's, in moto's order; it is asked once a tree.
    """
    plan = vars(tree).get("plan")
    plan = _plan(tree, actions()) if plan is None else plan
    attributes, made, size = item.attrs, [], 0
    try:
        for adds, name, value in plan:
            attribute = names[name]
            new = DynamoType(values[value]) if value else None
            if adds and new is not None:
                before = attributes.get(attribute) or DynamoType({"N": "0"})
                if not (before.type == new.type == "N"):
                    return None
                new = before + new
            made.append((attribute, new))
            size += size_of_all({attribute: new}) if new is not None else 0
    except (KeyError, TypeError, ValueError):  # something is missing, or no number that can be added
        return None
    return Changes(attributes, made) if made and size + size_of_all(attributes) <= MOST_BYTES else None


_execute: Any = executors.UpdateExpressionExecutor.execute


def _carry_out(self: Any, node: Any = None) -> None:
    if isinstance(self.update_ast, Changes):
        self.update_ast.apply()
    else:
        _execute(self, node)


PARTS: tuple[tuple[Any, str, Any], ...] = ((executors.UpdateExpressionExecutor, "execute", _carry_out),)
"""Whose, what of it, and what stands there instead."""
