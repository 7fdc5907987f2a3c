"""The tests' account puts a table back as it was when a transaction fails, though it copies only what that names."""

from __future__ import annotations

from typing import Any

import pytest

from shared import aws
from tests.unit.tables import TABLE


def key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def put(pk: str, sk: str, value: int) -> None:
    aws.dynamodb().put_item(TableName=TABLE, Item=key(pk, sk) | {"v": {"N": str(value)}})


def state() -> dict[tuple[str, str], str]:
    items = aws.dynamodb().scan(TableName=TABLE)["Items"]
    return {(item["pk"]["S"], item["sk"]["S"]): item["v"]["N"] for item in items}


def transact(*, fail: bool) -> None:
    nine = {":v": {"N": "9"}}
    operations: list[Any] = [
        {"Update": {"Key": key("a", "1"), "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": nine}},
        {"Put": {"Item": key("c", "1") | {"v": {"N": "9"}}}},
        {"Delete": {"Key": key("b", "1")}},
        {"Update": {"Key": key("a", "3"), "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": nine}},
        {
            "ConditionCheck": {
                "Key": key("a", "2"),
                "ConditionExpression": "v = :v",
                "ExpressionAttributeValues": {":v": {"N": "7" if fail else "2"}},
            }
        },
    ]
    for operation in operations:
        next(iter(operation.values()))["TableName"] = TABLE
    aws.dynamodb().transact_write_items(TransactItems=operations)


def test_a_transaction_is_made_whole_or_not_at_all(fake_aws: dict[str, str]) -> None:
    assert fake_aws
    put("a", "1", 1)
    put("a", "2", 2)
    put("b", "1", 3)
    for value in ("1", "5"):  # a second time on the table that was put back
        put("a", "1", int(value))
        with pytest.raises(aws.dynamodb().exceptions.TransactionCanceledException):
            transact(fail=True)
        assert state() == {("a", "1"): value, ("a", "2"): "2", ("b", "1"): "3"}
    transact(fail=False)
    assert state() == {("a", "1"): "9", ("a", "2"): "2", ("c", "1"): "9", ("a", "3"): "9"}
