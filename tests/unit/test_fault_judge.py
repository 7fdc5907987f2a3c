"""The campaign's judge finds what a campaign must not find."""

from typing import Any

import pytest

from benchmarks.faults.verify import Verdict, _check_calls, _check_end, _check_steps, recovery
from benchmarks.faults.watch import Victim
from shared.tasks.events import Event
from shared.tasks.model import Status, Task


def task(**changes: Any) -> Task:
    values = {
        "task_id": "t", "user": "ann", "lane": "normal", "agent": "tools", "model": "m", "created": 0.0,
        "day": "2026-01-01", "status": Status.COMPLETE, "last_seq": 3, "calls": 1,
    }  # fmt: skip
    return Task(**(values | changes))


def log(*types: str) -> list[Event]:
    return [Event(type_, float(n), {"step": "model", "n": 1}, n) for n, type_ in enumerate(types, 1)]


GOOD = log("queued", "step", "complete")


def test_a_good_run_is_good() -> None:
    verdict = Verdict()
    _check_end(verdict, task(), GOOD)
    _check_steps(verdict, task(), GOOD, {("model", 1)})
    assert not verdict.broken


def test_a_run_whose_last_call_is_written_with_its_end_is_good() -> None:
    verdict = Verdict()
    _check_steps(verdict, task(), GOOD, set())
    assert not verdict.broken


@pytest.mark.parametrize(
    ("row", "events", "kind"),
    [
        (task(status=Status.PROCESSING), GOOD, "lost"),
        (task(last_seq=4), log("queued", "step", "complete", "complete"), "ended_twice"),
        (task(last_seq=3), log("queued", "complete", "step"), "ended_twice"),
        (task(status=Status.FAILED), GOOD, "ended_twice"),
        (task(last_seq=5), GOOD, "gaps"),
    ],
)
def test_a_bad_end_is_found(row: Task, events: list[Event], kind: str) -> None:
    verdict = Verdict()
    _check_end(verdict, row, events)
    assert getattr(verdict, kind)


@pytest.mark.parametrize(
    ("row", "events", "steps"),
    [
        (task(calls=2), GOOD, {("model", 1)}),  # charged twice
        (task(), log("queued", "step", "step", "complete"), {("model", 1)}),  # recorded twice
        (task(), GOOD, {("model", 1), ("calculator", 1)}),  # recorded without its event
        (task(), log("queued", "step", "token", "complete"), set()),  # told, not recorded, and not the end
        (task(status=Status.FAILED), log("queued", "step", "failed"), set()),
        (task(calls=0), GOOD, set()),  # not charged
    ],
)
def test_a_repeated_step_is_found(row: Task, events: list[Event], steps: set[tuple[str, int]]) -> None:
    verdict = Verdict()
    _check_steps(verdict, row, events, steps)
    assert verdict.repeated


def test_a_tool_called_after_its_result_was_recorded_is_found() -> None:
    events = [
        Event("step", 1.0, {"step": "calculator", "n": 1}),
        Event("tool_call", 2.0, {"tool": "calculator", "n": 1}),
    ]
    verdict = Verdict()
    _check_steps(verdict, task(calls=0), events, {("calculator", 1)})
    assert verdict.repeated


def test_a_call_after_its_reply_was_recorded_is_told_from_one_in_flight() -> None:
    def call(request: str, started: float) -> dict[str, Any]:
        return {"request": request, "started": started, "completed": True}

    verdict = Verdict()
    _check_calls(verdict, {"k": [call("a", 1.0), call("a", 2.0), call("b", 4.0)]}, {"k": {1: 3.0, 2: 5.0}})
    assert (verdict.calls_repeated_in_flight, verdict.repeated) == (1, [])
    _check_calls(verdict, {"k": [call("a", 1.0), call("b", 4.0), call("a", 6.0)]}, {"k": {1: 3.0, 2: 5.0}})
    assert len(verdict.repeated) == 1


def test_recovery_counts_what_never_came_back_and_leaves_pauses_out() -> None:
    victims = [
        Victim("a", 1, 100.0, 108.0),
        Victim("b", 1, 100.0, 120.0),
        Victim("c", 1, 100.0),
        Victim("d", 1, 500.0, 520.0),
    ]
    found = recovery(victims, [("everything stopped for 10 s", 495.0, 505.0)], 16)
    assert found["worst_recovery_s"] == 20.0
    assert (found["recoveries_over_bound"], found["never_taken_over"], found["recoveries_measured"]) == (1, 1, 2)
    assert found["recoveries_while_paused_left_out"] == 1
