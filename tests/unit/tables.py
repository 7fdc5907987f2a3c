"""The table and lanes that unit tests run against, in moto: the same keys and indexes as template.yaml."""

from functools import cache
from typing import Any

import boto3

TABLE = "sluice-test"


@cache
def client(service: str) -> Any:
    """Return a client for arranging things, made once: making one takes longer than most tests."""
    return boto3.client(service)  # type: ignore[call-overload]


def make_table() -> None:
    """Create the table with its indexes."""
    indexes = {
        "of_user": ("by_user", "created"),
        "feed": ("feed", "created"),
        "due": ("due", "due_at"),
        "parked": ("parked", "created"),
    }
    attributes = dict.fromkeys(("pk", "sk", *(key for keys in indexes.values() for key in keys)), "S")
    attributes["due_at"] = "N"
    client("dynamodb").create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in attributes.items()],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": name,
                "KeySchema": [{"AttributeName": h, "KeyType": "HASH"}, {"AttributeName": r, "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for name, (h, r) in indexes.items()
        ],
    )


def make_lanes() -> dict[str, str]:
    """Create the lanes' queues; returns their URLs by lane."""
    return {
        lane: client("sqs").create_queue(QueueName=f"sluice-{lane}")["QueueUrl"]
        for lane in ("high", "normal", "quarantine")
    }
