"""What a restored table holds and the stack's lacks is copied; what stands there stays."""

from __future__ import annotations

import boto3
import pytest

from deploy import restore
from tests.unit.tables import TABLE


def put(table: str, pk: str, text: str) -> None:
    boto3.client("dynamodb").put_item(TableName=table, Item={"pk": {"S": pk}, "sk": {"S": "TASK"}, "text": {"S": text}})


def rows(table: str) -> dict[str, str]:
    found = boto3.client("dynamodb").scan(TableName=table)["Items"]
    return {item["pk"]["S"]: item["text"]["S"] for item in found}


@pytest.fixture
def restored(fake_aws: dict[str, str]) -> str:
    boto3.client("dynamodb").create_table(
        TableName="restored",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    for pk in ("TASK#1", "TASK#2", "KEY#a"):
        put("restored", pk, "old")
    put(TABLE, "TASK#1", "newer")
    return "restored"


def test_only_what_is_missing_is_copied(restored: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore.main(["--from", restored, "--to", TABLE]) == 0
    assert rows(TABLE) == {"TASK#1": "newer", "TASK#2": "old", "KEY#a": "old"}
    assert capsys.readouterr().out == "2 items copied, 1 were there already\n"


def test_a_prefix_bounds_it(restored: str) -> None:
    assert restore.copy(restored, TABLE, "KEY#") == (1, 0)
    assert set(rows(TABLE)) == {"TASK#1", "KEY#a"}


def test_a_missing_table_is_told(restored: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert restore.main(["--from", "nowhere", "--to", TABLE]) == 1
    assert capsys.readouterr().err.startswith("error: ")
