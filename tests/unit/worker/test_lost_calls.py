"""A worker that dies in the middle of a call leaves nothing unpaid: who takes the run over charges what it had used."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from functions.worker.environment import clients, loop
from functions.worker.environment import environment as environment_module
from functions.worker.environment.environment import environment
from functions.worker.lane.batch import run_batch
from functions.worker.run import runner as run_module
from shared import valkey
from shared.clock import day, now
from shared.limits import prices
from shared.limits.names import flight_key
from shared.tasks import checkpoints, claims, days, flights, settle, spend, store
from shared.tasks.flights import Noted
from shared.tasks.model import Outcome, Status, Task, Usage

from .conftest import World, meanwhile, until

MODEL = "gpt-4o-mini"
TEXT = " ".join(("the", "cat", "sat", "and", "ate")[n % 5] for n in range(300))
"""Words that are a token each, by anybody's count."""
LATE = prices.cost_micro_usd(MODEL, 0, 150)
"""Three seconds of that text: so late a busy machine may note what a call has written; four times a second is due."""
NEAR = prices.cost_micro_usd(MODEL, 0, 5)
"""How near the note of a call that writes no more comes."""
_DEAD: list[Any] = []
"""Loops of dead workers: what was under way in them must not be cleaned up."""


def die(world: World, key: str, written: int, records: list[dict[str, Any]], task: Task | None = None) -> None:
    """Run a batch in a worker that is gone when its call has got so far.

    With a ``task`` that much is noted of it, too.
    """
    before = len(calls_of(world, key))

    def until_far_enough() -> None:
        give_up = time.monotonic() + 60
        while len(calls := calls_of(world, key)) <= before or calls[-1]["consumed"][1] < written:
            assert time.monotonic() < give_up, "the call does not get so far"
            time.sleep(0.05)
        while task is not None and noted_of(task) < written - 5:
            assert time.monotonic() < give_up, "nobody noted what the call wrote"
            time.sleep(0.05)

    die_when(world, until_far_enough, records)


def die_when(world: World, reached: Callable[[], object], records: list[dict[str, Any]]) -> None:
    """Run a batch in a worker that is gone, with its connections and all that it knew, once a function has returned."""

    async def watch() -> None:
        await asyncio.to_thread(reached)
        asyncio.get_running_loop().stop()

    async def main() -> None:
        watching = asyncio.create_task(watch())
        _DEAD.append(watching)
        await run_batch({"Records": records}, now() + 60, environment())

    with pytest.raises(RuntimeError, match="stopped before"):
        world.runner.run(main())
    heart = environment().heart
    for beat in list(heart._beats):
        heart.remove(beat)
    port = world.sim.base_url.port
    for one in psutil.Process(os.getpid()).net_connections("tcp"):
        if one.raddr and one.raddr.port == port and one.fd >= 0:
            with socket.socket(fileno=os.dup(one.fd)) as peer:
                if peer.fileno() >= 0:
                    try:
                        peer.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        continue
    _DEAD.append((world.runner, environment(), clients.http()))
    world.runner = asyncio.Runner(loop_factory=loop.new)
    environment_module._environment = None
    for cached in (clients.http, clients.model, clients.pages):
        cached.cache_clear()


def again(world: World, task: Task, records: list[dict[str, Any]]) -> Task:
    """Let another worker take the run over; returns its row."""
    world.lapse(task.task_id)
    world.invoke(records)
    world.work_until_quiet()
    return store.get(task.task_id)


def calls_of(world: World, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.sim.get("/calls", params={"key": key}).json()["calls"]
    return found


def consumed(world: World, key: str) -> int:
    total = 0
    for call in calls_of(world, key):
        total += prices.cost_micro_usd(MODEL, *call["consumed"])
    return total


def noted_of(task: Task) -> int:
    """Return how many tokens of its answer are noted of a task's call."""
    text = valkey.client().hget(flight_key(task.task_id, store.get(task.task_id).lease_no), "note") or "{}"
    return sum(call[4] for call in json.loads(text).get("calls", []))


@pytest.mark.parametrize("written", [40, 150])
def test_a_call_in_which_its_worker_died_is_charged(world: World, written: int) -> None:
    key, text = f"dies-{written}", " ".join(TEXT.split()[: 2 * written])
    task = world.submit(f"[[sim key={key} echo latency=2 ttft=0.05 fail=stall times=1 hang=60]] {text}", model=MODEL)
    records = world.receive()
    die(world, key, written, records, task)
    row = again(world, task, records)
    assert (row.status, row.crashes, world.calls(key)["started"]) == (Status.COMPLETE, 1, 2)
    truth = consumed(world, key)
    assert calls_of(world, key)[0]["consumed"][1] == written
    assert truth - NEAR <= row.micro_usd <= truth * 1.5
    assert spend.load("ann", row.day) == (row.usage.tokens, row.micro_usd)


def test_a_worker_that_died_twice_is_charged_twice_and_no_more(world: World) -> None:
    ask = f"[[sim key=twice echo latency=2 ttft=0.05 fail=stall times=2 hang=60]] {TEXT}"
    task = world.submit(ask, model=MODEL)
    records = world.receive()
    die(world, "twice", 150, records, task)
    world.lapse(task.task_id)
    die(world, "twice", 150, records, task)
    world.lapse(task.task_id)
    world.invoke(records)
    world.work_until_quiet("quarantine")
    row = store.get(task.task_id)
    assert (row.status, world.calls("twice")["started"]) == (Status.COMPLETE, 3)
    truth = consumed(world, "twice")
    assert truth - 2 * NEAR <= row.micro_usd <= truth * 1.5


def test_a_run_that_is_ended_in_its_dead_workers_place_pays_for_its_call(world: World) -> None:
    task = world.submit(f"[[sim key=ended echo latency=24 ttft=0.05]] {' '.join([TEXT] * 4)}", model=MODEL)
    die(world, "ended", 200, world.receive())
    world.lapse(task.task_id)
    settle.end_unheld(store.get(task.task_id), Outcome(status=Status.CANCELLED))
    row = store.get(task.task_id)
    truth = consumed(world, "ended")
    assert truth > 0
    assert truth - LATE <= row.micro_usd <= truth * 1.5
    assert spend.load("ann", row.day) == (row.usage.tokens, row.micro_usd)


def taken_over(world: World, **more: Any) -> Task:
    """Return a task whose first worker is gone, as the second claimed it."""
    task = world.submit("hello", **more)
    first = claims.claim(task.task_id, 0)
    assert isinstance(first, Task)
    return first


def claimed(task: Task, world: World) -> Task:
    world.lapse(task.task_id)
    found = claims.claim(task.task_id, task.gen)
    assert isinstance(found, Task)
    return found


def noted(task: Task, *calls: Noted) -> None:
    flights.note({(task.task_id, task.lease_no): flights.text_of(task, calls)})


USE = Usage(100, 50, 45, day(time.time()), MODEL)
CALL = Noted("model", 1, USE, cut=False)


def test_a_taker_that_dies_before_it_writes_leaves_the_charge_to_the_next(world: World) -> None:
    first = taken_over(world)
    noted(first, CALL)
    second = claimed(first, world)
    assert flights.recover(second, second.lease_no - 1) == [USE]
    assert flights.recover(second, second.lease_no - 1) == [USE]  # its answer was lost
    third = claimed(second, world)
    assert flights.recover(third, third.lease_no - 1) == [USE]


def test_what_a_taker_has_written_is_not_charged_again(world: World) -> None:
    first = taken_over(world)
    noted(first, CALL)
    second = claimed(first, world)
    (use,) = flights.recover(second, second.lease_no - 1)
    days.count(second, use)
    second.unwritten.append(use)
    checkpoints.record(second, checkpoints.Step("other", 1, "f", 1), [])
    third = claimed(second, world)
    assert third.micro_usd == USE.micro_usd
    assert flights.recover(third, third.lease_no - 1) == []


def test_a_call_that_was_recorded_before_its_note_was_renewed_is_not_charged_again(world: World) -> None:
    first = taken_over(world)
    noted(first, CALL, Noted("model", 2, USE, cut=True))
    checkpoints.record(first, checkpoints.Step("model", 1, "f", 1), [], use=USE)
    second = claimed(first, world)
    # The first is recorded, and with it the charge of the second was written.
    assert flights.recover(second, second.lease_no - 1) == []


def failed(value: object = None) -> checkpoints.Step:
    return checkpoints.Step("model", 1, "f", value or {"cancelled": 0.5}, failed=True)


def test_a_call_whose_failure_was_recorded_before_its_note_was_renewed_is_not_charged_again(world: World) -> None:
    first = taken_over(world)
    noted(first, CALL)
    checkpoints.record(first, failed(), [])
    second = claimed(first, world)
    assert flights.recover(second, second.lease_no - 1) == []
    third = claimed(second, world)
    assert flights.recover(third, third.lease_no - 1) == []


def test_a_step_that_failed_before_and_is_done_again_is_charged_when_its_worker_dies(world: World) -> None:
    """Its error could not be brought back, say: what is recorded of it is of another call."""
    first = taken_over(world)
    checkpoints.record(first, failed(), [])
    second = claimed(first, world)
    noted(second, CALL)
    third = claimed(second, world)
    assert flights.recover(third, third.lease_no - 1) == [USE]
    days.count(third, USE)
    third.unwritten.append(USE)
    noted(third, CALL)
    checkpoints.record(third, failed(), [])
    fourth = claimed(third, world)
    assert fourth.micro_usd == USE.micro_usd
    assert flights.recover(fourth, fourth.lease_no - 1) == []


def test_a_cut_call_whose_charge_was_not_written_is_charged(world: World) -> None:
    first = taken_over(world)
    noted(first, Noted("model", 2, USE, cut=True))
    second = claimed(first, world)
    assert flights.recover(second, second.lease_no - 1) == [USE]


def test_a_worker_that_was_only_slow_charges_what_its_successor_did_not(world: World) -> None:
    from functions.worker.record.flights import Flight

    first = taken_over(world)
    noted(first, CALL)
    second = claimed(first, world)
    flights.recover(second, second.lease_no - 1)
    whole = Usage(100, 80, 63, USE.day, MODEL)
    first.under_way["model-1.1"] = Flight("model", 1, MODEL, USE.day, None, None, use=whole)  # type: ignore[arg-type]
    first.unwritten.append(whole)
    first.recovered.append(other := Usage(7, 7, 7, USE.day, MODEL))
    first.unwritten.append(other)
    world.runner.run(run_module._charge_lost(first))
    assert spend.load("ann", USE.day) == (30, 18)
    assert store.get(first.task_id).paid == Usage(0, 30, 18)


def test_nothing_is_noted_of_a_run_that_ended(world: World) -> None:
    task = world.submit("[[sim words=30 latency=0.6 ttft=0.05]] hello", model=MODEL)
    world.work_until_quiet()

    async def a_while() -> None:
        await asyncio.sleep(0.5)

    world.runner.run(a_while())
    assert store.get(task.task_id).status is Status.COMPLETE
    assert not valkey.client().exists(flight_key(task.task_id, 1))


def test_a_call_of_which_nothing_changes_is_put_into_words_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at four times a second; with a hundred calls at once the words were a tenth of the loop's work."""
    looked, worded = [], []
    written, text_of = flights.written, flights.text_of

    def looking(task: Task) -> list[int]:
        looked.append(task.task_id)
        return written(task)

    def wording(task: Task, calls: Any) -> str:
        calls = list(calls)
        worded.append([one.use.tokens for one in calls])
        return text_of(task, calls)

    monkeypatch.setattr(flights, "written", looking)
    monkeypatch.setattr(flights, "text_of", wording)
    world.submit("[[sim key=worded latency=60]] hello", params={"stream": False})

    def look_on() -> None:
        until(lambda: len(looked) >= 12)
        world.hurry("worded")

    with meanwhile(look_on):
        world.work()
    during = [one for one in worded if one]
    assert len(looked) > 2 * len(worded)  # who words it looks once more
    assert len(during) == len({tuple(one) for one in during})  # each state once
