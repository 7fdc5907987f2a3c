"""DynamoDB: the few documented limits that MiniStack lacks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from localstack.strict.report import Refused
from localstack.strict.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALLEST = 1024
"""A request of fewer bytes can break none of these."""
Indexes = dict[str, int]
"""A table's index keys: attribute -> most bytes."""
_EXPRESSIONS = ("UpdateExpression", "ConditionExpression", "FilterExpression", "KeyConditionExpression")
_OPERATOR = re.compile(r"<>|<=|>=|[=<>+-]|\b(?:AND|OR|NOT|IN|BETWEEN)\b|\b[a-z_]+(?=\()")
_IN = re.compile(r"\bIN\s*\(([^)]*)\)", re.IGNORECASE)


def indexes_of(description: dict[str, Any]) -> Indexes:
    """Read a table's index keys from its description; an attribute that is a sort key anywhere has the lower limit."""
    found: Indexes = {}
    for index in description.get("GlobalSecondaryIndexes") or []:
        for key in index["KeySchema"]:
            most = 2048 if key["KeyType"] == "HASH" else 1024
            found[key["AttributeName"]] = min(most, found.get(key["AttributeName"], most))
    return found


def tables_in(body: dict[str, Any]) -> set[str]:
    """Return the tables that a request names."""
    return {name for name, _ in _writes(body)}


def check(body: dict[str, Any], indexes: dict[str, Indexes]) -> None:
    """Hold a request against the rules; ``indexes`` by table.

    Raises:
        Refused: it breaks one.
    """
    for statement in body.get("Statements") or [body]:
        if len(str(statement.get("Statement") or "")) > RULES["dynamodb-statement"].most:
            raise _invalid("dynamodb-statement", "statement must have length less than or equal to 8192")
    for table, one in _writes(body):
        item = one.get("Item") or {}
        for name, most in indexes.get(table, {}).items():
            size = len(str(next(iter(item.get(name, {"": ""}).values()))).encode())
            if size > most:
                raise _invalid(
                    "dynamodb-index-key",
                    f"One or more parameter values were invalid: Size of {name} has exceeded the maximum size limit "
                    f"of {most} bytes",
                )
        values = one.get("ExpressionAttributeValues") or {}
        if sum(_size(value) for value in values.values()) > RULES["dynamodb-values"].most:
            raise _invalid("dynamodb-values", "ExpressionAttributeValues exceeds max size")
        for name in _EXPRESSIONS:
            operators = len(_OPERATOR.findall(one.get(name) or ""))
            if operators > RULES["dynamodb-operators"].most:
                raise _invalid(
                    "dynamodb-operators",
                    f"Invalid {name}: The expression contains more than 300 operators; it has {operators}",
                )
        for text in (one.get("ConditionExpression"), one.get("FilterExpression")):
            for listed in _IN.findall(text or ""):
                if listed.count(",") + 1 > RULES["dynamodb-in"].most:
                    raise _invalid("dynamodb-in", "The IN operator is provided with too many operands")


def _writes(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(body.get("TableName"), str):
        yield body["TableName"], body
    for op in body.get("TransactItems") or []:
        for one in op.values():
            if isinstance(one, dict) and isinstance(one.get("TableName"), str):
                yield one["TableName"], one
    requests = body.get("RequestItems")
    if isinstance(requests, dict):
        for table, listed in requests.items():
            for one in listed if isinstance(listed, list) else []:
                yield table, one.get("PutRequest") or {}


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return sum(len(str(name)) + _size(one) for name, one in value.items())
    if isinstance(value, list):
        return sum(_size(one) for one in value)
    return len(value.encode()) if isinstance(value, str) else 1


def _invalid(rule: str, message: str) -> Refused:
    return Refused(rule, "ValidationException", message)
