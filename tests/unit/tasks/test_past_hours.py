"""How long tasks waited over the last hours, from their rows: every lane, each stretch, at a bounded cost."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from shared import aws
from shared.clock import day
from shared.settings import settings
from shared.tasks import past_hours, table
from shared.tasks.items import task_row
from shared.tasks.model import Status, Task

AT = 1_790_000_000.0 // 86_400 * 86_400 + 3 * 3600 + 700
"""Three hours after a midnight, so that the last six hours hold it."""


def put(
    n: int,
    ago: float,
    waited: float | None,
    *,
    lane: str = "normal",
    status: Status = Status.COMPLETE,
    error: dict[str, str] | None = None,
) -> None:
    created = AT - ago
    task = Task(
        task_id=f"task_{n:032x}", user="ann", lane=lane, agent="chat", model="m", created=created, day=day(created),
        status=status, error=error, started_at=None if waited is None else created + waited,
    )  # fmt: skip
    table.put(table.put_op(task_row(task, due_at=2**40)))


def lanes(hours: int) -> list[dict[str, Any]]:
    return [one["lanes"] for one in past_hours.read(hours, AT) if one["lanes"]]


@pytest.mark.usefixtures("fake_aws")
def test_each_stretch_says_of_each_lane_what_its_tasks_waited() -> None:
    for n, waited in enumerate((1.0, 2.0, 9.0)):
        put(n, 5 * 3600, waited)
    put(10, 5 * 3600, 0.5, lane="high")
    put(11, 4 * 3600, 4.0)  # before midnight
    put(12, 60, 0.25)  # after it
    assert lanes(6) == [
        {
            "high": {"tasks": 1, "median_s": 0.5, "longest_s": 0.5},
            "normal": {"tasks": 3, "median_s": 2.0, "longest_s": 9.0},
        },
        {"normal": {"tasks": 1, "median_s": 4.0, "longest_s": 4.0}},
        {"normal": {"tasks": 1, "median_s": 0.25, "longest_s": 0.25}},
    ]
    stretches = past_hours.read(6, AT)
    assert len(stretches) == past_hours.STRETCHES
    assert [later["at"] - one["at"] for one, later in pairwise(stretches)] == [450] * 47
    assert stretches[-1]["at"] <= AT < stretches[-1]["at"] + 450


@pytest.mark.usefixtures("fake_aws")
def test_a_task_that_waits_counts_as_it_is_and_one_that_never_started_does_not() -> None:
    put(1, 120, None, status=Status.QUEUED)
    put(2, 100, None, status=Status.CANCELLED)
    assert lanes(1) == [{"normal": {"tasks": 1, "median_s": 120.0, "longest_s": 120.0}}]


@pytest.mark.usefixtures("fake_aws")
def test_each_stretch_says_why_tasks_failed() -> None:
    for n, code in enumerate(("agent_error", "agent_error", "timeout", "")):
        put(
            n,
            30 + n / 10,
            1.0,
            status=Status.FAILED if code else Status.COMPLETE,
            error={"code": code} if code else None,
        )
    put(9, 31, 1.0, status=Status.PROCESSING)
    (seen,) = [one for one in past_hours.read(1, AT) if one["ended"]]
    assert (seen["ended"], seen["failed"]) == (4, {"agent_error": 2, "timeout": 1})


def counted() -> dict[str, int]:
    """Count queries, the keys that they evaluate, and the rows that are read."""
    counts = {"query": 0, "evaluated": 0, "read": 0}

    def queried(parsed: dict[str, Any], **_: Any) -> None:
        counts["query"] += 1
        counts["evaluated"] += parsed["ScannedCount"]

    def got(parsed: dict[str, Any], **_: Any) -> None:
        counts["read"] += len(parsed["Responses"][settings().table_name])

    events: Any = aws.dynamodb().meta.events
    events.register("after-call.dynamodb.Query", queried)
    events.register("after-call.dynamodb.BatchGetItem", got)
    return counts


@pytest.mark.usefixtures("fake_aws")
def test_a_quiet_day_is_one_query() -> None:
    for n in range(3):
        put(n, n * 3600, 1.0)  # the last of them before midnight
    counts = counted()
    assert len(lanes(6)) == 3
    assert counts == {"query": 2, "evaluated": 3, "read": 3}


@pytest.mark.usefixtures("fake_aws")
def test_its_cost_does_not_grow_with_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_hours, "NEWEST", past_hours.LOOKED_AT_EACH + 1)
    for n in range(3 * past_hours.LOOKED_AT_EACH):
        put(n, 30 + n / 10, float(n))
    for n in range(5 * past_hours.LOOKED_AT_EACH):
        put(1000 + n, 7 * 60 + n / 10 * 20, 1.0, lane="high")
    counts = counted()
    assert lanes(1)[-1]["normal"]["tasks"] == past_hours.LOOKED_AT_EACH
    assert past_hours.PAGES < counts["query"] <= past_hours.PAGES + past_hours.STRETCHES
    most = past_hours.PAGES * past_hours.NEWEST + past_hours.STRETCHES * past_hours.LOOKED_AT_EACH
    assert counts["read"] < counts["evaluated"] <= most


@pytest.mark.usefixtures("fake_aws")
def test_however_many_are_asked_for_at_once_the_answer_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_hours, "LOOKED_AT_EACH", 3)
    for n in range(60):  # some parts with none, some with more than are looked at, at their very ends, too
        put(n, [30, 75 * 20 + 25, 75 * 30 + 25.001, 75 * 30 + 24.999][n % 4] + 75 * (n // 12), float(n))
    answers = []
    for newest in (1, 3, 4, 7, 59, 60, 100):
        monkeypatch.setattr(past_hours, "NEWEST", newest)
        answers.append(past_hours.read(1, AT))
    assert sum(one["ended"] for one in answers[0]) > 30
    assert all(answer == answers[0] for answer in answers)
