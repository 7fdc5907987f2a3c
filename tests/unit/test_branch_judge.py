"""The campaign's judge of waits, children, ceilings and habits finds what a campaign must not find."""

import random
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from benchmarks.faults import habits, kinds
from benchmarks.faults.answerer import Answerer
from benchmarks.faults.branches import (
    Judge,
    check_ceiling,
    check_children,
    check_end,
    check_habit,
    check_signals,
    check_waits,
)
from benchmarks.faults.kinds import Run
from shared.tasks.checkpoints import Step
from shared.tasks.events import Event
from shared.tasks.model import Status, Task

FAILED: dict[str, Any] = {"status": Status.FAILED, "error": {"code": "invalid_request"}}


def task(task_id: str = "t", **changes: Any) -> Task:
    values: dict[str, Any] = {
        "task_id": task_id, "user": "ann", "lane": "normal", "agent": "branches", "model": "m", "created": 0.0,
        "day": "2026-01-01", "status": Status.COMPLETE, "ended_at": 10.0,
    }  # fmt: skip
    return Task(**(values | changes))


def run(does: str, variant: int = 0, **more: Any) -> Run:
    return Run(0, "k", does, variant, **more)


# The plan of a campaign.


def test_a_fifth_of_a_campaign_branches_and_another_fifth_meets_a_habit_each_as_often_as_the_others() -> None:
    planned = kinds.runs(2000, "c", random.Random(1))
    by_kind = {kind: sum(one.does == kind for one in planned) for kind in kinds.CALLS}
    assert by_kind == {"plain": 1200, "habit": 400, "sleep": 100, "signal": 100, "approve": 100, "map": 100}
    met = [one.habit for one in planned if one.habit]
    assert set(met) == set(habits.NAMES)
    assert max(map(met.count, met)) - min(map(met.count, met)) <= 1
    assert {(one.does, one.variant) for one in planned} >= {(kind, n) for kind in kinds.BRANCHES for n in range(4)}
    assert {one.does for one in planned if one.n % 20 == 0} == set(kinds.BRANCHES)  # those with a webhook
    assert planned == kinds.runs(2000, "c", random.Random(1))


# How runs end.


@pytest.mark.parametrize(
    ("one", "end", "good"),
    [
        (run("plain"), task(), True),
        (run("plain"), task(**FAILED), False),
        (run("plain"), task(status=Status.CANCELLED), False),
        (run("habit", habit="shape_message"), task(**FAILED), True),
        (run("habit", habit="shape_message"), task(), False),
        (run("habit", habit="shape_message"), task(status=Status.FAILED, error={"code": "provider_error"}), False),
        (run("habit", habit="shape_html"), task(), True),
        (run("habit", habit="shape_html"), task(**FAILED), False),
        (run("map", kinds.CANCELLED), task(status=Status.CANCELLED), True),
        (run("map", kinds.PLAIN), task(status=Status.CANCELLED), False),
        (run("map", kinds.TIGHT), task(status=Status.FAILED, error={"code": "insufficient_quota"}), True),
        (run("map", kinds.PLAIN), task(status=Status.FAILED, error={"code": "insufficient_quota"}), False),
    ],
)
def test_an_end_is_held_against_what_the_run_does(one: Run, end: Task, good: bool) -> None:
    verdict = Judge()
    check_end(verdict, one, end)
    assert (not verdict.wrong) == good


def calls(*faults: str | None) -> list[dict[str, Any]]:
    return [{"n": n, "fault": fault} for n, fault in enumerate(faults, 1)]


STAYS, PASSES = "habit shape_message", "habit shape_html"


@pytest.mark.parametrize(
    ("habit", "made", "crashes", "good"),
    [
        ("shape_message", calls(None, STAYS), 0, True),
        ("shape_message", calls(None, STAYS, STAYS), 0, False),  # asked again
        ("shape_message", calls(None, STAYS, STAYS), 1, True),  # by whoever took it over
        ("shape_message", calls(None, STAYS, None), 0, False),
        ("shape_message", calls(None, "429"), 0, False),  # never met
        ("redirect_slash_308", calls(None), 0, True),  # its environment asks where that led, since an earlier run
        ("redirect_slash_308", calls(), 0, False),  # never asked at all
        ("redirect_302", calls(None), 0, False),  # nobody follows that one
        ("shape_html", calls(PASSES, None), 0, True),
        ("shape_html", calls("500", PASSES), 0, False),  # not tried again
        ("usage_none", calls(None, "habit usage_none"), 0, True),
    ],
)
def test_a_habit_that_stays_is_not_asked_again_and_one_that_passes_is(
    habit: str, made: list[dict[str, Any]], crashes: int, good: bool
) -> None:
    verdict = Judge()
    check_habit(verdict, run("habit", habit=habit), task(crashes=crashes), made)
    assert (not verdict.wrong) == good


# Waits.


def waiting(kind: str, name: str, since: str) -> Event:
    return Event("waiting", 1.0, {"for": [{"kind": kind, "name": name, "since": since, "until": "later"}]})


def test_a_run_that_is_suspended_again_for_the_same_wait_was_woken_twice() -> None:
    log = [waiting("signal", "go", "1"), Event("step", 2.0, {"step": "go", "n": 1}), waiting("signal", "go", "2")]
    verdict = Judge()
    check_waits(verdict, task(), log)
    assert (verdict.waits, verdict.wrong) == ({"signal": 2}, [])
    check_waits(verdict, task(), [*log, waiting("signal", "go", "2")])
    assert len(verdict.woken_twice) == 1


def took(*ids: str | None) -> list[Step]:
    return [Step("go", n, "f", {"taken_signal": one}) for n, one in enumerate(ids, 1)]


@pytest.mark.parametrize(
    ("row", "steps", "posted", "good"),
    [
        (task(signals=2), took("a", "b"), ["a", "b"], True),
        (task(signals=2), took("a", "a"), ["a", "b"], False),  # one taken twice, the other lost
        (task(signals=2), took("a"), ["a", "b"], False),  # lost
        (task(signals=3), took("a", "b"), ["a", "b"], False),  # one was accepted that is not there
        (task(signals=1), took("a", "x"), ["a"], False),  # from nowhere
        (task(signals=2, status=Status.CANCELLED), took("a"), ["a", "b"], True),
        (task(signals=1), [*took("a"), Step("model", 1, "f", {"content": "x"})], ["a"], True),
    ],
)
def test_each_signal_is_taken_once(row: Task, steps: list[Step], posted: list[str], good: bool) -> None:
    verdict = Judge()
    check_signals(verdict, row, steps, posted)
    assert (not verdict.wrong) == good


# Children.


def told(*children: Task) -> list[Step]:
    return [Step("map", 1, "f", [{"task_id": one.task_id, "status": str(one.status)} for one in children])]


A, B = task("a", ended_at=5.0), task("b", ended_at=6.0)
BAD = task("a", ended_at=5.0, **FAILED)
LIVE, LATE, GONE = task("b", status=Status.WAITING, ended_at=None), task("b", ended_at=11.0), None
CUT, STOPPED = task("t", status=Status.CANCELLED), task("b", status=Status.CANCELLED)


@pytest.mark.parametrize(
    ("parent", "children", "joined", "steps", "kind"),
    [
        (task(), [A, B], 2, told(A, B), None),
        (task(), [A, B], 3, told(A, B), "miscounted"),  # an end that counted twice
        (task(), [A, B], 1, told(A, B), "miscounted"),
        (task(), [A, B], 2, told(A, A), "miscounted"),
        (task(), [A, B], 2, told(A), "miscounted"),
        (task(), [A, B], 2, [], "miscounted"),
        (task(), [A, B], 2, told(BAD, B), "miscounted"),  # another end than it had
        (task(), [A, GONE], 1, told(A), "orphaned"),
        (task(), [A, LIVE], 1, told(A, LIVE), "orphaned"),
        (task(), [A, LATE], 2, told(A, LATE), "orphaned"),
        (task(), [BAD, B], 2, told(BAD, B), "ended_wrongly"),
        (CUT, [A, LIVE], 1, [], "orphaned"),
        (CUT, [A, GONE], 1, [], None),  # never written
        (CUT, [A, LATE], 2, [], None),
        (CUT, [A, STOPPED], 2, [], None),
        (task(), [A, STOPPED], 2, told(A, STOPPED), "ended_wrongly"),
    ],
)  # fmt: skip
def test_a_child_ends_before_its_parent_and_is_counted_once(
    parent: Task, children: list[Task | None], joined: int, steps: list[Step], kind: str | None
) -> None:
    verdict = Judge()
    check_children(verdict, run("map"), parent, dict(enumerate(children)), joined=joined, steps=steps)
    assert (not verdict.wrong) == (kind is None)
    assert kind is None or getattr(verdict, kind)


def test_a_child_that_is_to_fail_does() -> None:
    verdict = Judge()
    check_children(verdict, run("map", kinds.ONE_FAILS), task(), {0: BAD, 1: B}, joined=2, steps=told(BAD, B))
    assert not verdict.wrong
    check_children(verdict, run("map", kinds.ONE_FAILS), task(), {0: A, 1: B}, joined=2, steps=told(A, B))
    assert len(verdict.ended_wrongly) == 1


def test_a_trees_cost_with_that_of_dead_workers_is_held_against_its_ceiling() -> None:
    def cost(of_parent: int, of_child: int, lost: int) -> list[str]:
        verdict = Judge()
        parent = task(params={"max_cost_usd": 0.0001}, micro_usd=of_parent)
        check_ceiling(verdict, [parent, task("a", micro_usd=of_child, lost_micro_usd=lost)])
        return verdict.over_ceiling

    assert cost(40, 50, 10) == []
    assert len(cost(40, 50, 11)) == 1


# Who answers.


def test_everything_is_sent_twice_until_each_run_has_what_it_waits_for() -> None:
    seen: list[tuple[str, str | None, bytes]] = []
    answers = iter([503, *[202] * 20])

    def take(request: httpx2.Request) -> httpx2.Response:
        seen.append((request.url.path, request.headers.get("idempotency-key"), request.content))
        return httpx2.Response(next(answers), json={})

    with httpx2.Client(base_url="http://sluice", transport=httpx2.MockTransport(take)) as http:
        answerer = Answerer(http, "table")
        answerer.add("early", Run(0, "e", "signal", 1))  # meets the 503, and is sent it again later
        answerer.add("asks", Run(1, "a", "approve"))
        answerer.add("tree", Run(2, "m", "map", kinds.CANCELLED))
        answerer.add("plain", Run(3, "p", "plain"))
        assert set(answerer.open) == {"early", "asks", "tree"}
        go = {"kind": "signal", "name": "go", "nth": 1, "since": 0.0, "until": 9.0}
        ask = go | {"kind": "approval", "more": {"fingerprint": "f1"}}
        rows = [
            task("early", status=Status.WAITING, waiting_for=[go]),
            task("asks", status=Status.WAITING, waiting_for=[ask]),
            task("tree", status=Status.WAITING, waiting_for=[go | {"kind": "children"}]),
        ]
        for _ in range(2):
            answerer.answer(rows)
        answerer.answer([task("early"), task("asks", status=Status.PROCESSING)])
    paths = [path for path, _, _ in seen]
    assert [key for path, key, _ in seen if "signals" in path] == ["e-1", "e-1", "e-1", "e-2", "e-2"]
    assert {body for path, _, body in seen if "approvals" in path} == {b'{"decision":"allow"}'}
    assert paths.count("/agent/asks/approvals/f1") == 4
    assert paths.count("/agent/tree/cancel") == 4
    assert set(answerer.open) == {"asks", "tree"}
    assert answerer.refused == []


def test_an_answer_that_is_refused_is_told() -> None:
    transport = httpx2.MockTransport(lambda _: httpx2.Response(422, text="no"))
    with httpx2.Client(base_url="http://sluice", transport=transport) as http:
        answerer = Answerer(http, "table")
        answerer.add("s", Run(0, "e", "signal", 1))
    assert answerer.figures()["refused"] == 1


def test_the_agents_steps_are_those_that_are_judged() -> None:
    from benchmarks.faults.project.agents import branches

    ctx: Any = SimpleNamespace(metadata={"key": "k", "children": "3", "bad": "1", "words": "6"})
    messages = branches._messages(ctx)
    assert ["key=k.0 " in messages[0], "fail=400" in messages[0], "fail" in messages[1]] == [True, True, False]
