"""The API in front of moto and a real Valkey, with one key of each kind."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.client import BaseClient
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from functions.api.app import app
from functions.api.door.gate import gate
from functions.api.read import hold, queue_hint
from functions.api.submit import allowed
from functions.api.submit.refusals import refusals
from functions.api.system import probes, stats
from shared import aws, valkey
from shared.limits import keys
from shared.settings import settings
from sluice.testing.account import REGION, arrange
from tests.unit.api.caller import Caller
from tests.unit.aws_fixture import keep_clients, lend_clients
from tests.unit.tables import TABLE


@dataclass
class Api:
    """A client of the API and the keys that it may use."""

    client: Caller
    keys: dict[str, str]
    lanes: dict[str, str]

    def head(self, who: str | None = "demo", **more: str) -> dict[str, str]:
        """Return the headers of a caller."""
        return ({} if who is None else {"Authorization": f"Bearer {self.keys[who]}"}) | more

    def submit(self, who: str | None = "demo", *, headers: dict[str, str] | None = None, **body: Any) -> Any:
        """POST /agent."""
        return self.client.post("/agent", json={"message": "hi"} | body, headers=self.head(who) | (headers or {}))

    def get(self, path: str, who: str | None = "demo", **params: Any) -> Any:
        """GET a path."""
        return self.client.get(path, params=params or None, headers=self.head(who))

    def post(self, path: str, who: str | None = "demo", **body: Any) -> Any:
        """POST JSON to a path."""
        return self.client.post(path, json=body, headers=self.head(who))

    def delete(self, path: str, who: str | None = "demo", **params: Any) -> Any:
        """DELETE a path."""
        return self.client.delete(path, params=params or None, headers=self.head(who))


def forget_everything() -> None:
    """Start as a fresh environment would."""
    settings.cache_clear()
    aws.reset()
    valkey.reset()
    gate.cache_clear()
    allowed.agents.cache_clear()
    probes._breaker.cache_clear()
    stats._provider.cache_clear()
    keys.forget()
    probes.dependencies.forget()
    probes.breaker_states.forget()
    queue_hint.forget()
    hold._known.cache_clear()
    hold._holds.cache_clear()
    stats.snapshot.forget()
    refusals.forget()


def make_keys() -> dict[str, str]:
    """Create a key of each kind."""
    made = {
        name: keys.create_key(user, tier)
        for name, user, tier in (
            ("demo", "demo", "standard"),
            ("other", "other", "standard"),
            ("vip", "vip", "vip"),
            ("free", "free", "free"),
            ("service", "service", "service"),
            ("load", "load", "load"),
            ("operator", "operator", "operator"),
        )
    }
    made["poor"] = keys.create_key("poor", "standard", limits={"tokens_per_day": 3000})
    made["narrow"] = keys.create_key("narrow", "standard", limits={"running": 1})
    return made


_made: dict[str, Any] = {}
"""The keys, and the table's items with them."""


def give_keys() -> dict[str, str]:
    """Make the keys, the first time through ``create_key``, then as that left them: it took longer than most tests."""
    items = dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables[TABLE].items
    if _made:
        items.update(copy.deepcopy(_made["items"]))
    else:
        _made.update(keys=make_keys(), items=copy.deepcopy(items))
    return dict(_made["keys"])


def one_at_a_time(patch: pytest.MonkeyPatch) -> None:
    """Let one AWS call in at a time: moto rolls a failed transaction back by restoring all tables as they were."""
    lock, call = threading.RLock(), BaseClient._make_api_call

    def locked(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        with lock:
            return call(client, operation, arguments)

    patch.setattr(BaseClient, "_make_api_call", locked)


@contextmanager
def running(redis_url: str) -> Iterator[Api]:
    """Run the API on fresh parts; ingress is unlimited, so that a test meets only the limit it is about."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "TABLE_NAME": TABLE,
            "BLOB_BUCKET": "sluice-blobs",
            "STAGE": "local",
            "REDIS_URL": redis_url,
            "INGRESS_RATE": "0",
            "WEBHOOK_SECRET": "of the tests",
        }.items():
            patch.setenv(name, value)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        one_at_a_time(patch)
        queues = arrange("webhook", "firings", "bulk")
        for name, url in queues.items():
            patch.setenv(f"QUEUE_URL_{name.upper()}", url)
        lanes = {lane: queues[lane] for lane in ("high", "normal", "quarantine")}
        forget_everything()
        lend_clients()
        valkey.client().flushall()
        try:
            with Caller(app) as caller:
                yield Api(caller, give_keys(), lanes)
        finally:
            keep_clients()
            forget_everything()


@pytest.fixture
def api(valkey_url: str) -> Iterator[Api]:
    """Yield an API of the test's own."""
    with running(valkey_url) as made:
        yield made


@pytest.fixture(scope="module")
def steady(valkey_url: str) -> Iterator[Api]:
    """Yield an API that a module's tests share; such a module uses no other."""
    with running(valkey_url) as made:
        yield made
