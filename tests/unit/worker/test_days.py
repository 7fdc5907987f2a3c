"""A day's ceiling is asked for the day on which each call is made, and that day is charged with it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from functions.worker.model import leave
from shared import clock, valkey
from shared.limits import names
from shared.tasks import days, spend, store
from shared.tasks.model import Status, Task, Usage

from .conftest import World

DAY_S = 86_400
NEW: dict[str, Any] = {"reserved_tokens": 0, "reserved_micro_usd": 0}


def yesterdays() -> dict[str, Any]:
    created = time.time() - DAY_S
    return {"created": created, "day": clock.day(created)}


def charge_ahead(user: str, day: str, tokens: int) -> None:
    """Have a user's day hold so much use."""
    other = Task(task_id="o", user=user, lane="normal", agent="chat", model="m", created=time.time(), day=day)
    spend.lost(other, Usage(tokens, 0, tokens, day))
    valkey.client().delete(names.spend_key(user, day))


def test_yesterdays_task_spends_todays_budget(world: World) -> None:
    old = yesterdays()
    charge_ahead("ann", old["day"], 18_700)
    task = world.submit("[[sim words=5]] hello", cap_tokens=20_000, **old, **NEW)
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, row.error) == (Status.COMPLETE, None)
    assert spend.load("ann", old["day"])[0] == 18_700
    assert spend.load("ann", row.day) == (row.usage.tokens, row.micro_usd)
    assert row.day == clock.day(time.time()) != old["day"]


def test_yesterdays_task_is_refused_when_today_is_spent(world: World) -> None:
    old = yesterdays()
    charge_ahead("ann", clock.day(time.time()), 19_900)
    task = world.submit("[[sim key=n words=5]] hello", cap_tokens=20_000, **old, **NEW)
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.error is not None
    assert (row.status, row.error["code"]) == (Status.FAILED, "insufficient_quota")
    assert world.calls("n")["started"] == 0


def test_a_run_over_midnight_is_charged_to_both_days(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = clock.day(time.time()), clock.day(time.time() + DAY_S)
    passing = iter([first, second])
    monkeypatch.setattr(leave, "clock", SimpleNamespace(now=time.time, day=lambda _at: next(passing, second)))
    task = world.submit("[[sim tool=current_time words=7]] now", agent="tools", cap_tokens=10**6, **NEW)
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, row.calls, row.day) == (Status.COMPLETE, 2, second)
    on_first, on_second = spend.load("ann", first), spend.load("ann", second)
    assert min(*on_first, *on_second) > 0
    assert on_first[0] + on_second[0] == row.usage.tokens
    assert on_first[1] + on_second[1] == row.micro_usd
    assert days.by_day(row) == {first: on_first, second: on_second}
    # Nothing stays reserved, on either day.
    held = [valkey.client().hget(names.spend_key("ann", day), "tr") for day in (first, second)]
    assert [int(one or 0) for one in held] == [0, 0]
    assert valkey.client().zcard(names.OPEN) == 0


def test_the_ceiling_of_the_new_day_holds_for_what_is_called_on_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = clock.day(time.time()), clock.day(time.time() + DAY_S)
    passing = iter([first, second])
    monkeypatch.setattr(leave, "clock", SimpleNamespace(now=time.time, day=lambda _at: next(passing, second)))
    charge_ahead("ann", second, 999_990)
    task = world.submit("[[sim key=two tool=current_time]] now", agent="tools", cap_tokens=10**6, **NEW)
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.error is not None
    assert (row.error["code"], world.calls("two")["started"]) == ("insufficient_quota", 1)
    assert spend.load("ann", first) == (row.usage.tokens, row.micro_usd)


def task_of(day: str) -> Task:
    created = clock.epoch(f"{day}T12:00:00.000+00:00")
    return Task(task_id="t", user="ann", lane="normal", agent="chat", model="m", created=created, day=day)


def test_a_call_that_ends_after_midnight_belongs_to_the_day_before() -> None:
    task = task_of("2026-03-01")
    days.count(task, Usage(1, 2, 3, "2026-03-01"))
    assert days.begin(task, "2026-03-02")
    days.count(task, Usage(10, 20, 30, "2026-03-01"))  # was under way
    days.count(task, Usage(100, 200, 300, "2026-03-02"))
    assert days.by_day(task) == {"2026-03-01": (33, 33), "2026-03-02": (300, 300)}
    assert not days.begin(task, "2026-03-01")  # a clock that is behind
    assert days.used(task) == {
        "input_tokens": 111,
        "output_tokens": 222,
        "micro_usd": 333,
        "day": "2026-03-02",
        "past": {"2026-03-01": [33, 33]},
    }


def test_what_is_not_of_several_days_looks_as_before() -> None:
    task = task_of("2026-03-01")
    days.count(task, Usage(1, 2, 3, "2026-03-01"))
    assert days.used(task) == {"input_tokens": 1, "output_tokens": 2, "micro_usd": 3}
    assert days.used(task, Usage(1, 1, 1, "2026-03-01"))["micro_usd"] == 4
