"""An AWS account in moto, with Sluice's table, lanes and bucket, and the settings that name them."""

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.sqs.models import sqs_backends

from shared import aws
from shared.settings import settings

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


def _one_at_a_time(patch: pytest.MonkeyPatch) -> None:
    """Serialize moto's requests: its in-memory tables are not made for threads, DynamoDB's are."""
    lock, answer = threading.Lock(), BotocoreStubber.__call__

    def locked(self: BotocoreStubber, *args: Any, **kwargs: Any) -> Any:
        with lock:
            return answer(self, *args, **kwargs)

    patch.setattr(BotocoreStubber, "__call__", locked)


_whole_structure = BaseJSONSerializer._serialize_type_structure


def _structure(self: BaseJSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
    """Write a structure; of an attribute's value only the member that it has.

    Moto looks for each of the ten under six names: three quarters of its time, and much of the unit tests'.
    """
    if shape.name != "AttributeValue" or type(value) is not dict or not key:
        _whole_structure(self, serialized, value, shape, key)
        return
    wrapper: Any = self.MAP_TYPE()
    for name in value.keys() & shape.members.keys():
        if value[name] is not None:
            self._serialize(wrapper, value[name], shape.members[name], name)
    self._default_serialize(serialized, wrapper, shape, key)


BaseJSONSerializer._serialize_type_structure = _structure  # type: ignore[method-assign]

# Before a transaction moto copies the whole table, and does so again for each of its operations, to put it back if one
# fails: half of the unit tests' time where a table is full. Here once, and only the items that it names.
_named: ContextVar[list[tuple[str, dict[str, Any]]] | None] = ContextVar("named", default=None)
_copies: ContextVar[dict[int, Table] | None] = ContextVar("copies", default=None)
_transact = DynamoDBBackend.transact_write_items


def _transact_on_one_copy(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    operations = [next(iter(item.values())) for item in transact_items]
    named = _named.set([(str(op.get("TableName")), op.get("Key") or op.get("Item") or {}) for op in operations])
    copies = _copies.set({})
    try:
        _transact(self, transact_items)
    finally:
        _copies.reset(copies)
        _named.reset(named)


def _copy_once(self: Table, memo: dict[int, Any]) -> Table:
    made, named = _copies.get(), _named.get()
    if made is not None and id(self) in made:
        return made[id(self)]
    copied: Table = object.__new__(type(self))
    memo[id(self)] = copied
    if made is None or named is None or not self.range_key_attr:
        for name, value in vars(self).items():
            setattr(copied, name, copy.deepcopy(value, memo))
        return copied
    made[id(self)] = copied
    # Operations on items change nothing of a table but its items, and what it tells of their changes.
    vars(copied).update(vars(self))
    copied.stream_shard = copy.deepcopy(self.stream_shard, memo)
    copied.items = self.items.copy()
    for table, key in named:
        if table == self.name and self.hash_key_attr in key and self.range_key_attr in key:
            _keep_one(copied, DynamoType(key[self.hash_key_attr]), DynamoType(key[self.range_key_attr]), self)
    return copied


def _keep_one(copied: Table, partition: DynamoType, place: DynamoType, original: Table) -> None:
    """Give a copied table a partition, and an item in it, of its own."""
    if partition not in original.items:
        return
    if copied.items[partition] is original.items[partition]:
        copied.items[partition] = dict(original.items[partition])
    if place in original.items[partition]:
        copied.items[partition][place] = copy.deepcopy(original.items[partition][place])


DynamoDBBackend.transact_write_items = _transact_on_one_copy  # type: ignore[method-assign]
Table.__deepcopy__ = _copy_once  # type: ignore[attr-defined]

_kept: dict[str, Any] = {}
"""Clients of earlier tests: they know nothing of an account, and making them takes longer than most tests."""


def lend_clients() -> None:
    """Give ``shared.aws`` the clients of earlier tests."""
    aws._clients.update(_kept)


def keep_clients() -> None:
    """Take its clients back, for later tests."""
    _kept.update({name: made for name, made in aws._clients.items() if _of_moto(made)})


def _of_moto(made: Any) -> bool:
    """Whether a client has the address of AWS itself; some tests turn theirs to a port where nobody answers."""
    return bool(made.meta.endpoint_url.endswith(".amazonaws.com"))


@contextmanager
def account(patch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Yield the lanes' URLs of a fresh account; everything is reset afterwards."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "TABLE_NAME": TABLE,
        "BLOB_BUCKET": "sluice-blobs",
        "STAGE": "local",
    }.items():
        patch.setenv(name, value)
    patch.delenv("AWS_ENDPOINT_URL", raising=False)
    _one_at_a_time(patch)
    with mock_aws():
        make_table()
        lanes = make_lanes()
        client("s3").create_bucket(Bucket="sluice-blobs")
        for lane, url in lanes.items():
            patch.setenv(f"QUEUE_URL_{lane.upper()}", url)
        settings.cache_clear()
        aws.reset()
        lend_clients()
        yield lanes
        keep_clients()
    settings.cache_clear()
    aws.reset()


def pass_time(seconds: float) -> None:
    """Let every message's delay and invisibility be over so much sooner."""
    for backends in sqs_backends.values():
        for backend in backends.values():
            for queue in backend.queues.values():
                for message in queue._messages:
                    message.delayed_until -= seconds * 1000
                    message.visible_at -= seconds * 1000
