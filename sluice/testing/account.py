"""An AWS account in moto, with Sluice's table, lanes and bucket, and the settings that name them."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.hooks import EventAliaser
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends

from shared import aws
from shared.settings import settings
from sluice.testing import quick_front, quick_moto

TABLE = "sluice-test"
BUCKET = "sluice-blobs"
REGION = "us-east-1"


def client(service: str) -> Any:
    """Return a client for arranging things, made once an address: making one takes longer than most tests."""
    return _client(service, os.environ.get("AWS_ENDPOINT_URL"))


@cache
def _client(service: str, _address: str | None) -> Any:
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
    """Serialize the requests, too, that moto is asked in its own way."""
    answer = BotocoreStubber.__call__

    def locked(self: BotocoreStubber, *args: Any, **kwargs: Any) -> Any:
        with quick_front.ONE_AT_A_TIME:
            return answer(self, *args, **kwargs)

    patch.setattr(BotocoreStubber, "__call__", locked)


quick_moto.install()

_first: dict[str, Any] = {}
"""The table, as the first account of this process was given it, and the queues' addresses."""


def arrange(*more: str) -> dict[str, str]:
    """Make the table, the lanes, the bucket and more queues in moto; returns the queues' URLs by lane, and by name.

    The first time through its API, then as that left them: the calls took longer than most tests.
    """
    tables = dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables
    queues = sqs_backends[DEFAULT_ACCOUNT_ID][REGION]
    if not _first:
        make_table()
        urls = make_lanes()
        client("s3").create_bucket(Bucket=BUCKET)
        _first.update(table=copy.deepcopy(tables[TABLE]), prefix=urls["high"].removesuffix("high"), urls=urls)
    else:
        tables[TABLE] = copy.deepcopy(_first["table"])
        for name in _first["urls"]:
            queues.create_queue(f"sluice-{name}")
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(BUCKET, REGION)
    for name in more:
        queues.create_queue(f"sluice-{name}")
    made: dict[str, str] = _first["urls"]
    return made | {name: f"{_first['prefix']}{name}" for name in more}


_kept: dict[str, Any] = {}
"""Clients of earlier tests: they know nothing of an account, and making them takes longer than most tests."""


_heard: list[tuple[EventAliaser, str, Any]] = []
"""Whom the present test has clients tell of their calls."""
_Events: Any = EventAliaser
_register = _Events.register


def _until_kept(self: EventAliaser, event_name: str, handler: Any, *more: Any, **named: Any) -> None:
    """Have a client tell somebody, until it is kept for later tests: it would tell, and be slower, to the run's end."""
    if any(made.meta.events is self for made in list(aws._clients.values())):
        _heard.append((self, event_name, handler))
    _register(self, event_name, handler, *more, **named)


_Events.register = _until_kept


def lend_clients() -> None:
    """Give ``shared.aws`` the clients of earlier tests."""
    aws._clients.update(_kept)


def keep_clients() -> None:
    """Take its clients back, for later tests, who are not those that this one had told."""
    while _heard:
        events, name, handler = _heard.pop()
        events.unregister(name, handler)
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
        "AWS_DEFAULT_REGION": REGION,
        "TABLE_NAME": TABLE,
        "BLOB_BUCKET": BUCKET,
        "STAGE": "local",
    }.items():
        patch.setenv(name, value)
    patch.delenv("AWS_ENDPOINT_URL", raising=False)
    _one_at_a_time(patch)
    with mock_aws():
        lanes = arrange()
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
