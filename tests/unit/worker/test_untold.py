"""Runs that end while Valkey is away: once it is back, their followers are told, and their counters settled."""

import asyncio
import json
from typing import Any

import pytest

from functions.worker.environment import untold
from functions.worker.environment.untold import Untold
from shared import valkey, watchers
from shared.limits import names
from shared.limits.admission import Gate
from shared.tasks import aftermath, events, store
from shared.tasks.model import Status, Task

from .conftest import World

QUICK = "[[sim words=2]] hello"


class Away:
    """Has Valkey away for what asks who follows runs, from `begin` until `end`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.told: list[tuple[str, str]] = []
        in_one_trip = valkey.in_one_trip

        def asked(commands: Any) -> Any:
            if self.away:
                raise valkey.Away("Valkey failed a moment ago")
            return in_one_trip(commands)

        monkeypatch.setattr(valkey, "in_one_trip", asked)
        monkeypatch.setattr(
            watchers, "push", lambda connection, data: self.told.append((connection, json.loads(data)["type"]))
        )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Away:
    monkeypatch.setattr(untold, "LOOK_SECONDS", 0.0)
    return Away(monkeypatch)


def watched(world: World, connection: str) -> Task:
    task = world.submit(QUICK)
    watchers.add(task.task_id, connection, 1)
    return task


def test_who_follows_a_run_is_told_its_end_once_valkey_is_back(
    world: World, server: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow_up, tries = aftermath.follow_up, []

    def tried(*args: Any, **kwargs: Any) -> bool:
        tries.append(1)
        server.away = len(tries) < 4
        return follow_up(*args, **kwargs)

    task = watched(world, "c1")
    monkeypatch.setattr(aftermath, "follow_up", tried)
    server.away = True
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert len(tries) == 4
    assert server.told[-1] == ("c1", "complete")
    assert len(server.told) == events.read(task.task_id, 1).events[-1].seq - 1
    assert watchers.of(task.task_id) == {}


def test_an_outage_that_lasts_holds_one_invocation_and_no_more(
    world: World, server: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that end after it wait for nothing; all are told when one that ends finds Valkey back."""
    monkeypatch.setattr(untold, "PATIENCE_SECONDS", 0.0)
    begun: list[Untold] = []
    go_on = Untold.go_on

    async def beginning(self: Untold) -> None:
        begun.append(self)
        await go_on(self)

    monkeypatch.setattr(Untold, "go_on", beginning)
    tasks = [watched(world, f"c{n}") for n in range(2)]
    server.away = True
    world.work()
    assert [store.get(task.task_id).status for task in tasks] == [Status.COMPLETE] * 2
    assert len(begun) == 1
    assert server.told == []
    server.away = False
    monkeypatch.setattr(untold, "PATIENCE_SECONDS", 60.0)
    world.submit(QUICK)
    world.work()
    assert len(begun) == 2
    assert {one for one in server.told if one[1] == "complete"} == {("c0", "complete"), ("c1", "complete")}


def test_counters_that_were_not_settled_are(world: World, server: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    settled_all, lost = Gate.settled_all, []

    def losing(self: Gate, ended: Any) -> Any:
        if not lost:
            lost.append(1)
            return [(aftermath.UNSETTLED) for _ in ended]
        return settled_all(self, ended)

    monkeypatch.setattr(Gate, "settled_all", losing)
    task = world.submit(QUICK)
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert lost
    assert valkey.client().zcard(names.OPEN) == 0


def test_so_many_ends_are_kept_and_no_more(server: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untold, "MOST", 2)
    followed: list[str] = []
    one = Untold(lambda task: not followed.append(task.task_id))
    tasks = [
        Task(task_id=f"t{n}", user="ann", lane="normal", agent="chat", model="m", created=0, day="d") for n in range(3)
    ]
    assert [one.add(task) for task in tasks] == [True, False, False]  # who began sees to the others
    asyncio.run(one.go_on())
    assert followed == ["t0", "t1"]


@pytest.mark.parametrize(("left_s", "tries"), [(untold.MARGIN_SECONDS - 1, 0), (untold.MARGIN_SECONDS + 60, 1)])
def test_nobody_is_waited_for_when_the_functions_time_is_nearly_over(server: Away, left_s: float, tries: int) -> None:
    followed: list[str] = []
    one = Untold(lambda task: not followed.append(task.task_id))
    one.deadline = untold.now() + left_s
    assert one.add(Task(task_id="t", user="ann", lane="normal", agent="chat", model="m", created=0, day="d"))
    asyncio.run(one.go_on())
    assert len(followed) == tries
