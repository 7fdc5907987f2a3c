"""Schedules on the deployed system: fired once, whoever else tries; a lost message is repaired."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from tests.stack_fixture import Stack

RUN = {"message": "[[sim latency=0.1 words=3]] hello", "metadata": {"of": "a schedule"}}
SWEEPERS = 2


@pytest.fixture
def user(stack: Stack) -> str:
    """Make a user with a key of its own, who may have two schedules; `stack.client(user)` is theirs."""
    name = f"clock{time.time_ns()}"
    with stack.used():
        stack.keys[name] = stack.new_key(name, "standard", schedules=2)
    return name


def make(stack: Stack, user: str, seconds: float) -> str:
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    body = {"at": at.isoformat(timespec="milliseconds"), "run": RUN}
    answer = stack.client(user).post("/schedules", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["schedule_id"])


def sweep(stack: Stack, sweepers: int = SWEEPERS) -> None:
    """Let sweepers run, at the same time: each asks the table eighty times."""
    with stack.used(), ThreadPoolExecutor(sweepers) as pool:
        client: Any = boto3.client("lambda")
        name = stack.outputs["functions"]["sweeper"]
        for answer in pool.map(lambda _: client.invoke(FunctionName=name), range(sweepers)):
            assert "FunctionError" not in answer


def fired(stack: Stack, user: str, schedule_id: str, seconds: float = 60) -> dict[str, Any]:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        found: dict[str, Any] = stack.client(user).get(f"/schedules/{schedule_id}").json()
        if found["last"] is not None:
            return found
        time.sleep(0.2)
    raise AssertionError(f"the schedule does not fire: {found}")


def check(stack: Stack, user: str, schedule_id: str) -> None:
    """See that it was fired once, and that the run has come to its end."""
    found = fired(stack, user, schedule_id)
    assert (found["last"]["outcome"], found["status"], found["counts"]) == ("submitted", "ended", {"submitted": 1})
    sweep(stack, 1)  # who comes late makes no second one
    tasks = stack.client(user).get("/agent").json()["tasks"]
    assert [one["task_id"] for one in tasks] == [found["last"]["task_id"]]
    ended = stack.result(found["last"]["task_id"], user)
    assert (ended["status"], ended["metadata"]) == ("complete", {"of": "a schedule"})


def test_a_schedule_fires_once_though_its_messages_and_the_sweepers_are_many(stack: Stack, user: str) -> None:
    from shared.schedules import store, timers

    schedule_id = make(stack, user, 5)
    with stack.used():
        schedule = store.load(user, schedule_id)
        for _ in range(2):
            timers.send(schedule)
        store.look_later(schedule, 0.0)  # due at once, for both sweepers
    sweep(stack)
    assert fired(stack, user, schedule_id)["last"]["instant"] == schedule.public(0)["at"]
    check(stack, user, schedule_id)


def test_a_firing_whose_message_was_lost_is_brought_by_the_sweeper(stack: Stack, user: str) -> None:
    from shared import aws
    from shared.schedules import store
    from shared.settings import settings

    schedule_id = make(stack, user, 6)
    with stack.used():
        queue = settings().queue_url_firings
        aws.sqs().purge_queue(QueueUrl=queue)
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
        left = aws.sqs().get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        assert set(left.values()) == {"0"}
        store.look_later(store.load(user, schedule_id), 0.0)
    sweep(stack)
    check(stack, user, schedule_id)


def test_a_user_has_no_more_schedules_than_the_key_says(stack: Stack, user: str) -> None:
    made = [make(stack, user, 900) for _ in range(2)]
    body = {"cron": "0 8 * * *", "run": RUN}
    refused = stack.client(user).post("/schedules", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "too_many_schedules")
    assert stack.client(user).delete(f"/schedules/{made[0]}").status_code == 200
    assert stack.client(user).post("/schedules", json=body).status_code == 201
