"""Fixtures: lanes with real mappings in moto, and a Valkey, as the scaler sees them."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions.scaler import handler, state
from shared import aws, valkey
from shared.settings import settings
from tests.unit.aws_fixture import lend_clients
from tests.unit.tables import client

TIME = "2026-03-01T12:{:02d}:00Z"


class Stack:
    """The scaler's surroundings, and one tick of it at a minute."""

    def __init__(self, queues: dict[str, str], uuids: dict[str, str]) -> None:
        self.queues, self.uuids = queues, uuids
        self.sqs: Any = client("sqs")
        self.functions: Any = client("lambda")

    def tick(self, minute: int) -> dict[str, Any]:
        return handler.handler({"time": TIME.format(minute)}, None)

    def fill(self, lane: str, count: int) -> None:
        for n in range(count):
            self.sqs.send_message(QueueUrl=self.queues[lane], MessageBody=json.dumps({"n": n}))

    def limits(self) -> dict[str, int]:
        return {
            lane: self.functions.get_event_source_mapping(UUID=uuid)["ScalingConfig"]["MaximumConcurrency"]
            for lane, uuid in self.uuids.items()
        }


@pytest.fixture
def no_valkey(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REDIS_URL", "")
    valkey.reset()
    yield
    valkey.reset()


@pytest.fixture
def with_valkey(redis_settings: str) -> Iterator[Callable[[], None]]:
    """Use an empty server; the value drops the connection, as a new environment would."""
    assert redis_settings
    valkey.reset()
    yield valkey.reset
    valkey.client().close()
    valkey.reset()


@pytest.fixture
def stack(fake_aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Stack:
    role = client("iam").create_role(RoleName="worker", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as bundle:
        bundle.writestr("worker.py", "def handler(event, context): return {}")
    functions: Any = client("lambda")
    functions.create_function(
        FunctionName="worker",
        Runtime="python3.13",
        Role=role,
        Handler="worker.handler",
        Code={"ZipFile": code.getvalue()},
    )
    sqs: Any = client("sqs")
    uuids = {}
    for lane in ("high", "normal"):
        answer = sqs.get_queue_attributes(QueueUrl=fake_aws[lane], AttributeNames=["QueueArn"])
        mapping = functions.create_event_source_mapping(
            EventSourceArn=answer["Attributes"]["QueueArn"],
            FunctionName="worker",
            Enabled=False,
            ScalingConfig={"MaximumConcurrency": 2},
        )
        uuids[lane] = mapping["UUID"]
        monkeypatch.setenv(f"ESM_UUID_{lane.upper()}", mapping["UUID"])
    monkeypatch.setenv("SCALING_PROFILE", "hpa")  # what its rates do is easier to follow; `test_swift` sets the other
    monkeypatch.setenv("RUNS_PER_ENVIRONMENT", "10")
    settings.cache_clear()
    aws.reset()
    lend_clients()
    monkeypatch.setattr(handler, "_memory", state.Memory())
    return Stack(fake_aws, uuids)
