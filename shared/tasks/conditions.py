"""When a write of the table is done, and how that is said to DynamoDB."""

from typing import Any, TypedDict

from shared.tasks.items import Attributes, attribute


class If(TypedDict, total=False):
    """When an operation is done: attributes are the ``same`` as that was read, and the ``condition`` holds.

    It writes attribute names, which may be reserved, as ``#name``, and values of its own as ``:name``.
    """

    same: dict[str, Any]
    condition: str
    values: dict[str, Any] | None


def expressed(names: dict[str, str], values: Attributes, when: If) -> dict[str, Any]:
    """Return the words of an operation that say its condition, and what marks in its expressions stand for."""
    op: dict[str, Any] = {}
    same = when.get("same", {})
    parts = [f"#{name} = :is_{name}" for name in same]
    if condition := when.get("condition"):
        parts.append(f"({condition})" if parts else condition)
        named = (word.strip("#(),") for word in condition.replace("(", " ").split() if word[0] == "#")
        names |= {name: name for name in named}
        values |= {f":{name}": attribute(value) for name, value in (when.get("values") or {}).items()}
    if parts:
        op |= {"ConditionExpression": " AND ".join(parts), "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        names |= {name: name for name in same}
        values |= {f":is_{name}": attribute(value) for name, value in same.items()}
    if names:
        op["ExpressionAttributeNames"] = {f"#{mark}": name for mark, name in names.items()}
    if values:
        op["ExpressionAttributeValues"] = values
    return op
