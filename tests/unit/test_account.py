"""The tests' account is what AWS's calls make of it, and a failed transaction leaves its table as it was."""

from __future__ import annotations

from typing import Any

import pytest

from shared import aws
from sluice.testing import account
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


def described(lanes: dict[str, str]) -> list[Any]:
    """Return what AWS tells of an account's parts, but for when they were made."""
    table: Any = account.client("dynamodb").describe_table(TableName=TABLE)["Table"]
    queues = [
        account.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for url in lanes.values()
    ]
    for one in (table, *queues):
        for name in ("CreationDateTime", "CreatedTimestamp", "LastModifiedTimestamp", "TableId"):
            one.pop(name, None)
    buckets = [bucket["Name"] for bucket in account.client("s3").list_buckets()["Buckets"]]
    acl = account.client("s3").get_bucket_acl(Bucket=account.BUCKET)["Grants"]
    listed = sorted(account.client("sqs").list_queues()["QueueUrls"])
    return [lanes, table, queues, buckets, acl, listed, account.client("dynamodb").list_tables()["TableNames"]]


def test_a_later_account_is_like_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the first was made by AWS's calls."""
    monkeypatch.setattr(account, "_first", {})
    seen = []
    for value in (1, 2, 3):
        with account.account(monkeypatch) as lanes:
            seen.append(described(lanes))
            assert state() == {}
            put("a", "1", value)
            account.client("s3").put_object(Bucket=account.BUCKET, Key="k", Body=b"x")
            account.client("sqs").send_message(QueueUrl=lanes["high"], MessageBody="x")
    assert seen[0] == seen[1] == seen[2]


def test_whom_one_test_has_a_client_tell_is_told_nothing_of_the_next() -> None:
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch, account.account(patch):
        first = aws.dynamodb()
        first.meta.events.register("before-call.dynamodb", lambda model, **_: told.append(model.name))
        put("a", "1", 1)
        aws._clients.clear()
    assert told == ["PutItem"]
    with pytest.MonkeyPatch.context() as patch, account.account(patch):
        assert aws.dynamodb() is first
        put("a", "1", 1)
    assert told == ["PutItem"]
