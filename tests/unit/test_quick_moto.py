"""Moto answers with our quicker parts what it answers without them, refusals and rollbacks included."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluice.testing import quick_moto
from sluice.testing.account import TABLE, account, client

KEY = {"pk": {"S": "TASK#1"}, "sk": {"S": "ROW"}}
NEIGHBOUR = {"pk": {"S": "TASK#1"}, "sk": {"S": "STEP#1"}}
ITEM = KEY | {
    "n": {"N": "1"},
    "text": {"S": "é" * 10},
    "deep": {"M": {"a": {"L": [{"S": "x"}, {"N": "2"}, {"M": {"b": {"BOOL": True}}}]}}},
    "set": {"SS": ["a", "b"]},
}


def update(expression: str, **more: Any) -> tuple[str, dict[str, Any]]:
    values = {f":{name}": value for name, value in more.pop("values", {}).items()}
    given = {"ExpressionAttributeValues": values} if values else {}
    return "update_item", {
        "TableName": TABLE, "Key": KEY, "UpdateExpression": expression, "ReturnValues": "ALL_NEW", **given, **more,
    }  # fmt: skip


ONE, TEXT = {"N": "1"}, {"S": "y"}
BOTH = {"one": ONE, "t": TEXT}
ABSENT = {"ConditionExpression": "attribute_not_exists(pk)"}
PUT = ("put_item", {"TableName": TABLE, "Item": ITEM})
TOUCH = {"TableName": TABLE, "Key": KEY, "UpdateExpression": "SET n = n + :one, deep.z = :one"}
TOUCH |= {"ExpressionAttributeValues": {":one": ONE}}
CALLS = (
    PUT,
    update("SET n = n + :one, #t = :t REMOVE gone", values=BOTH, ExpressionAttributeNames={"#t": "text"}),
    update("SET n = n + :one, #t = :t REMOVE gone", values=BOTH, ExpressionAttributeNames={"#t": "other"}),
    update("SET deep.a[1] = :one, deep.a[7] = :t", values=BOTH),
    update("SET deep.c = if_not_exists(deep.c, :t), made = list_append(deep.a, :l)",
           values={"t": TEXT, "l": {"L": [ONE]}}),
    update("REMOVE deep.a[0], deep.a[2] ADD n :one DELETE #s :s", values={"one": ONE, "s": {"SS": ["a"]}},
           ExpressionAttributeNames={"#s": "set"}),
    update("SET n = :one, n = :t", values=BOTH),  # the same twice
    update("SET deep.q = :one, deep.q.r = :t", values=BOTH),  # one within the other
    update("SET n = :one SET text = :t", values=BOTH),
    update("SET pk = :t", values={"t": TEXT}),
    update("SET #k = :t", values={"t": TEXT}, ExpressionAttributeNames={"#k": "sk"}),
    update("SET x = absent + :one", values={"one": ONE}),
    update("SET x = :nobody", values={"one": ONE}),
    update("SET x = :one", values={"one": ONE, "unused": ONE}),
    update("SET n = n + :t", values={"t": TEXT}),
    update("SET created = :one", values={"one": ONE}),  # an index's key of another type
    update("SET", values={"one": ONE}),
    update("SET size = :one", values={"one": ONE}),  # a reserved word
    update("SET n = n + :one", values={"one": ONE}, ConditionExpression="n > :one"),
    update("SET n = n + :one", values={"one": ONE}, ConditionExpression="n < :one"),
    update("SET large = :large", values={"large": {"S": "x" * 405_000}}),
    ("put_item", {"TableName": TABLE, "Item": ITEM | {"large": {"S": "x" * 404_700}}}),
    ("put_item", {"TableName": TABLE, "Item": ITEM | {"large": {"S": "x" * 405_000}}}),
    ("update_item", {"TableName": TABLE, "Key": NEIGHBOUR, "UpdateExpression": "SET n = if_not_exists(n, :z)",
                     "ExpressionAttributeValues": {":z": {"N": "0"}}}),
    PUT,
    ("transact_write_items", {"TransactItems": [{"Update": TOUCH}, {"Put": {"TableName": TABLE, "Item": NEIGHBOUR}}]}),
    ("transact_write_items", {"TransactItems": [
        {"Update": TOUCH},
        {"Put": {"TableName": TABLE, "Item": NEIGHBOUR | {"n": ONE}, **ABSENT}},
    ]}),
    ("transact_write_items", {"TransactItems": [{"Update": TOUCH}, {"Delete": {"TableName": TABLE, "Key": KEY}}]}),
    ("query", {"TableName": TABLE, "KeyConditionExpression": "pk = :p",
               "ExpressionAttributeValues": {":p": KEY["pk"]}}),
    ("scan", {"TableName": TABLE}),
)  # fmt: skip


def answers() -> list[Any]:
    """Return what each call answers, and the item's state after it."""
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch, account(patch):
        table = client("dynamodb")
        for name, arguments in CALLS:
            try:
                answer = getattr(table, name)(**arguments)
                answer.pop("ResponseMetadata")
            except ClientError as error:
                answer = {**error.response, "ResponseMetadata": None}
            found += [answer, table.get_item(TableName=TABLE, Key=KEY).get("Item")]
    return found


def test_it_answers_the_same() -> None:
    with quick_moto.plain():
        expected = answers()
    assert sum("Error" in (answer or {}) for answer in expected) >= 12
    for _ in range(2):  # the second time expressions are known
        for n, (found, plain) in enumerate(zip(answers(), expected, strict=True)):
            assert found == plain, CALLS[n // 2]
