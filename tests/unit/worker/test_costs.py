"""What each day cost, by user, agent, model and key, is what its runs say, to the micro-dollar."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from deploy import recount
from functions.worker.model import leave
from shared import clock
from shared.limits import models
from shared.settings import settings
from shared.tasks import costs, settle, spend, store, table
from shared.tasks.costs import Cost
from shared.tasks.leases import fenced_write
from shared.tasks.model import Outcome, Status, Task, Usage

from .conftest import Install, World

DAY_S = 86_400


@pytest.fixture(autouse=True)
def _fresh() -> None:
    costs.forget()
    models.forget()


def today() -> str:
    return clock.day(time.time())


def of(user: str, by: str, day: str = "") -> dict[str, Cost]:
    row = table.get(costs.key(user, day or today()))
    return {} if row is None else costs.of_row(row, by)


def recounted() -> list[Any]:
    _, found = recount.recount(today(), clock.day(time.time() + DAY_S))
    return found


def test_what_runs_cost_stands_by_agent_model_and_key(world: World) -> None:
    asked: list[dict[str, Any]] = [
        {"user": "ann", "key_id": "k1", "model": "gpt-4o-mini"},
        {"user": "ann", "key_id": "k2", "model": "gpt-4o"},
        {"user": "ann", "key_id": "k2", "model": "gpt-4o", "agent": "tools"},
        {"user": "bob", "model": "gpt-4o-mini"},
    ]
    tasks = [world.submit("[[sim words=9 latency=0]] hello", **one) for one in asked]
    world.work_until_quiet()
    rows = [store.get(task.task_id) for task in tasks]

    def total(*which: int) -> Cost:
        return Cost(sum(rows[n].usage.tokens for n in which), sum(rows[n].micro_usd for n in which), len(which))

    assert all(row.micro_usd > 0 for row in rows)
    assert of("ann", "key") == {"k1": total(0), "k2": total(1, 2)}
    assert of("ann", "model") == {"gpt-4o-mini": total(0), "gpt-4o": total(1, 2)}
    assert of("ann", "agent") == {"chat": total(0, 1), "tools": total(2)}
    assert of("bob", "key") == {costs.NONE: total(3)}
    assert sorted(costs.spenders(today())) == ["ann", "bob"]
    assert recounted() == []


def test_each_model_of_a_run_is_told_apart(world: World, install: Install) -> None:
    from sluice import AgentResult

    async def two(ctx: Any) -> AgentResult:
        for model in ("gpt-4o-mini", "gpt-4o", "gpt-4o"):
            await ctx.model([{"role": "user", "content": "[[sim words=5 latency=0]] hi"}], model=model)
        return AgentResult("done")

    install(two)
    task = world.submit("x", model="gpt-4o-mini")
    world.work_until_quiet()
    row = store.get(task.task_id)
    found = of("ann", "model")
    assert set(found) == {"gpt-4o-mini", "gpt-4o"}
    assert found["gpt-4o"].micro_usd > 10 * found["gpt-4o-mini"].micro_usd > 0
    assert costs.summed(found.values()) == Cost(row.usage.tokens, row.micro_usd, 1)
    assert recounted() == []


def test_money_belongs_to_the_day_in_which_it_is_spent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = today(), clock.day(time.time() + DAY_S)
    passing = iter([first, second])
    monkeypatch.setattr(leave, "clock", SimpleNamespace(now=time.time, day=lambda _at: next(passing, second)))
    task = world.submit("[[sim tool=current_time words=7]] now", agent="tools")
    world.work_until_quiet()
    row = store.get(task.task_id)
    on_first, on_second = (of("ann", "agent", day)["tools"] for day in (first, second))
    assert (on_first.runs, on_second.runs) == (0, 1)
    assert min(on_first.tokens, on_second.tokens) > 0
    assert on_first.plus(on_second) == Cost(row.usage.tokens, row.micro_usd, 1)
    assert recounted() == []


def test_a_run_that_waits_is_charged_once(world: World, install: Install) -> None:
    from sluice import AgentResult

    async def waits(ctx: Any) -> AgentResult:
        await ctx.model([{"role": "user", "content": "[[sim words=5 latency=0]] hi"}], model="gpt-4o", name="a")
        await ctx.sleep(1.0)
        await ctx.model([{"role": "user", "content": "[[sim words=9 latency=0]] hi"}], name="b")
        await ctx.sleep(1.0)
        return AgentResult("done")

    install(waits)
    task = world.submit("x", model="gpt-4o-mini")
    give_up = time.monotonic() + 30
    while not store.get(task.task_id).status.terminal and time.monotonic() < give_up:
        world.work()
        if store.get(task.task_id).status is Status.WAITING:
            assert recounted() == []
        time.sleep(0.1)
    row = store.get(task.task_id)
    found = of("ann", "model")
    assert costs.summed(found.values()) == Cost(row.usage.tokens, row.micro_usd, 1)
    assert min(found["gpt-4o"].micro_usd, found["gpt-4o-mini"].micro_usd) > 0
    assert recounted() == []


def test_an_end_whose_answer_is_lost_counts_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = iter([True])

    def written_but_not_told(ops: list[dict[str, Any]], **more: Any) -> None:
        fenced_write(ops, **more)
        if next(lost, False):
            from shared.errors import DependencyDown

            raise DependencyDown("dynamodb")

    monkeypatch.setattr(settle, "fenced_write", written_but_not_told)
    task = world.submit("[[sim words=9 latency=0]] hello")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert of("ann", "agent") == {"chat": Cost(row.usage.tokens, row.micro_usd, 1)}


def test_an_end_that_is_never_written_counts_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(settle, "fenced_write", killed)
        task = world.submit("[[sim words=9 latency=0]] hello")
        with pytest.raises(KeyboardInterrupt):
            settle.end_unheld(store.get(task.task_id), Outcome(status=Status.CANCELLED))
    assert of("ann", "agent") == {}
    world.work_until_quiet()
    assert of("ann", "agent")["chat"].runs == 1
    assert recounted() == []


def test_a_lost_workers_call_is_counted_and_told_with_the_run(world: World) -> None:
    task = world.submit("[[sim words=9 latency=0]] hello", key_id="k1")
    world.work_until_quiet()
    spend.lost(store.get(task.task_id), Usage(100, 20, 77, today(), "gpt-4o"))
    row = store.get(task.task_id)
    assert row.paid == row.usage + Usage(100, 20, 77)
    assert store.public(row)["usage"]["cost_usd"] == row.paid.micro_usd / 1_000_000
    assert of("ann", "key") == {"k1": Cost(row.paid.tokens, row.paid.micro_usd, 1)}
    assert of("ann", "model")["gpt-4o"] == Cost(120, 77, 0)
    assert recounted() == []


def test_a_recount_says_what_a_counter_lacks(world: World) -> None:
    world.submit("[[sim words=9 latency=0]] hello", key_id="k1")
    world.work_until_quiet()
    table.update(table.update_op(costs.key("ann", today()), adds={"k:k1:u": -1, "a:chat:n": 5}))
    found = {one.group[2:]: one for one in recounted()}
    assert {group: one.missing for group, one in found.items()} == {("key", "k1"): True, ("agent", "chat"): False}
    assert recount.run(None, None) == 1


def charge(model: str, user: str = "ann") -> None:
    at = time.time()
    task = Task(task_id="t", user=user, lane="normal", agent="chat", model=model, created=at, day=clock.day(at))
    spend.lost(task, Usage(1, 1, 1, task.day, model))


def test_names_of_clients_do_not_let_an_item_grow_without_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world
    monkeypatch.setattr(costs, "MODEL_NAMES", 3)
    for n in range(5):
        charge(f"made-up-{n}")
    charge("made-up-1")
    charge("gpt-4o")  # of the table: always by its name
    charge("x" * 500, user="bob")
    found = of("ann", "model")
    assert found["made-up-1"] == Cost(4, 2, 0)
    assert (found[costs.OTHER], len(found)) == (Cost(4, 2, 0), 5)
    assert list(of("bob", "model")) == ["x" * costs.NAME_CHARACTERS]


def test_counters_are_kept_as_long_as_is_set(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world
    monkeypatch.setenv("COST_DAYS", "2")
    settings.cache_clear()
    charge("gpt-4o")
    row = table.get(costs.key("ann", today()))
    assert row is not None
    assert int(row["ttl"]["N"]) == clock.epoch(f"{today()}T00:00:00+00:00") + 3 * DAY_S


def test_what_a_version_without_groups_counted_is_not_lost_of_sight() -> None:
    row = {name: {"N": "7"} for name in ("tokens", "micro_usd", "runs")}
    assert costs.of_row(row, "model") == {costs.UNKNOWN: Cost(7, 7, 7)}
