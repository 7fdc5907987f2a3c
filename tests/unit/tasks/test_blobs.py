"""Values in S3: what a worker without its lease writes there stands in nobody's way."""

from __future__ import annotations

import copy
import time

import pytest

from shared.clock import day
from shared.errors import LeaseLost
from shared.settings import settings
from shared.tasks import blobs, checkpoints, claims, events, settle, store
from shared.tasks.model import Status, Task
from tests.unit.tables import client


@pytest.fixture(autouse=True)
def _everything_goes_to_s3(fake_aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert fake_aws
    monkeypatch.setattr(blobs, "PLAIN_BYTES", 10)
    monkeypatch.setattr(blobs, "ITEM_BYTES", 5)
    monkeypatch.setattr(settle, "RESPONSE_INLINE_BYTES", 5)


def claimed() -> Task:
    task = claims.claim("t", 0)
    assert isinstance(task, Task)
    return task


def submitted() -> None:
    at = time.time()
    store.submit(
        Task(task_id="t", user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at)), "a message"
    )


def objects() -> list[str]:
    return [found["Key"] for found in client("s3").list_objects_v2(Bucket=settings().blob_bucket).get("Contents", [])]


def step(text: str) -> checkpoints.Step:
    return checkpoints.Step("s", 1, "f", text * 700)


def test_a_late_worker_overwrites_no_step_no_events_and_no_response(monkeypatch: pytest.MonkeyPatch) -> None:
    submitted()
    late = claimed()
    monkeypatch.setattr(claims, "now", lambda: time.time() + settings().lease_seconds + 1)
    new = claimed()
    checkpoints.record(new, step("B"), [events.Event("step", 1, {"who": "the new one"})])
    with pytest.raises(LeaseLost):
        checkpoints.record(late, step("A"), [events.Event("step", 1, {"who": "the late one"})])
    assert checkpoints.load("t")["s", 1].value == "B" * 700
    assert events.read("t", 1).events[0].data == {"who": "the new one"}
    settle.settle(new, settle.Outcome(status=Status.COMPLETE, response="the answer of the new one"), message="hi")
    late.last_seq = new.last_seq - 1
    with pytest.raises(LeaseLost):
        settle.settle(late, settle.Outcome(status=Status.COMPLETE, response="the answer of the late one"), message="hi")
    result = settle.result_of(store.get("t"))
    assert result is not None
    assert result["response"] == "the answer of the new one"
    assert events.read("t", 2).events[0].data["response"] == "the answer of the new one"
    assert all(key.startswith("tasks/t/") for key in objects()), "the bucket's lifecycle expires this prefix"


def test_a_repeat_of_a_write_finds_its_own_object() -> None:
    submitted()
    task = claimed()
    checkpoints.record(copy.copy(task), step("A"), [events.Event("step", 1, {"long": "x" * 50})])
    stored = objects()
    checkpoints.record(task, step("A"), [events.Event("step", 1, {"long": "x" * 50})])  # the first answer was lost
    assert objects() == stored
    assert len(stored) == 1


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied"])
def test_an_object_that_is_gone_is_said_to_be(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 says 404 to who may list the bucket and 403 to who may not, as the functions."""
    from botocore.exceptions import ClientError

    from shared import aws
    from shared.errors import Gone

    kept = blobs.pack("x" * 50, "tasks/t/message")

    class S3:
        def get_object(self, **_: str) -> None:
            raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "GetObject")

    monkeypatch.setattr(aws, "s3", S3)
    with pytest.raises(Gone):
        blobs.unpack(kept)


def test_a_bucket_must_be_the_accounts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from shared import aws

    asked: list[dict[str, object]] = []

    class S3:
        def put_object(self, **given: object) -> None:
            asked.append(given)

    monkeypatch.setenv("BLOB_BUCKET_OWNER", "123456789012")
    settings.cache_clear()
    monkeypatch.setattr(aws, "s3", S3)
    blobs.pack("x" * 50, "tasks/t/message")
    assert asked[0]["ExpectedBucketOwner"] == "123456789012"
