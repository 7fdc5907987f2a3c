"""The minute's call with the profile `swift`: it goes on looking while there are tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from functions.scaler import handler
from shared.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.scaler.conftest import Stack

SCHEDULED = {"source": "aws.events", "time": "2026-03-01T12:00:00Z"}


class Time:
    """A clock that only sleeping moves, and what happens at its sleeps."""

    def __init__(self) -> None:
        self.at = 0.0
        self.sleeps: list[float] = []
        self.then: dict[int, Callable[[], Any]] = {}

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.at += seconds
        self.then.get(len(self.sleeps), lambda: None)()


@pytest.fixture
def clock(stack: Stack, no_valkey: None, monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    epoch = 1_772_366_400.0  # the event's time
    monkeypatch.setenv("SCALING_PROFILE", "swift")
    settings.cache_clear()
    monkeypatch.setattr(handler, "_clock", lambda: made.at)
    monkeypatch.setattr(handler, "_sleep", made.sleep)
    monkeypatch.setattr(handler, "now", lambda: epoch + made.at)
    return made


def test_a_system_at_rest_is_looked_at_once_and_stands_open(stack: Stack, clock: Time) -> None:
    handler.handler(SCHEDULED, None)
    assert clock.sleeps == []
    assert stack.limits() == {"high": 9, "normal": 9}


def test_a_busy_one_is_looked_at_until_the_minute_is_over(stack: Stack, clock: Time) -> None:
    stack.fill("normal", 3)
    clock.then[2] = lambda: stack.fill("normal", 80)
    clock.then[3] = lambda: seen.append(stack.limits())
    seen: list[dict[str, int]] = []
    handler.handler(SCHEDULED, None)
    assert clock.sleeps == [5.0] * 11, "every 5 s of the minute"
    assert clock.at < 58
    assert seen == [{"high": 3, "normal": 15}], "at the next look, the other lane giving back what it was lent"
    assert stack.limits() == {"high": 3, "normal": 15}


def test_it_ends_when_nothing_is_left(stack: Stack, clock: Time) -> None:
    stack.fill("normal", 3)
    clock.then[3] = lambda: stack.sqs.purge_queue(QueueUrl=stack.queues["normal"])
    handler.handler(SCHEDULED, None)
    assert len(clock.sleeps) == 3


def test_a_call_by_hand_and_the_other_profile_look_once(
    stack: Stack, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.fill("normal", 3)
    handler.handler({"time": SCHEDULED["time"]}, None)
    monkeypatch.setenv("SCALING_PROFILE", "hpa")
    settings.cache_clear()
    handler.handler(SCHEDULED, None)
    assert clock.sleeps == []


def test_a_look_that_changes_nothing_publishes_nothing(
    stack: Stack, clock: Time, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.fill("normal", 3)
    handler.handler(SCHEDULED, None)
    published = capsys.readouterr().out.count("ReplicaCeiling")
    assert published in (2, 4), "the minute's own and what changed (a metric line names it twice), not ten"


def test_the_other_profile_goes_on_where_this_one_stopped(
    stack: Stack, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.fill("normal", 90)
    handler.handler(SCHEDULED, None)
    before = stack.limits()
    monkeypatch.setenv("SCALING_PROFILE", "hpa")
    settings.cache_clear()
    stack.sqs.purge_queue(QueueUrl=stack.queues["normal"])
    handler.handler(SCHEDULED | {"time": "2026-03-01T12:01:00Z"}, None)
    assert sum(stack.limits().values()) <= sum(before.values()) <= 18
