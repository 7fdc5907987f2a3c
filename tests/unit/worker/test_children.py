"""Runs that start others: one ceiling, one end, each child once, whoever dies and whatever comes twice."""

import asyncio
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from functions.sweeper import sweep as sweeper
from functions.worker import agents
from functions.worker.record.ledger import Ledger
from functions.worker.run import children as run_children
from functions.worker.run import grown
from shared import clock
from shared.errors import LeaseLost
from shared.limits.admission import Gate
from shared.settings import settings
from shared.tasks import (
    aftermath,
    claims,
    family,
    inbox,
    kin,
    lanes,
    listing,
    owed,
    records,
    settle,
    spend,
    store,
    table,
    waits,
)
from shared.tasks.items import row_key
from shared.tasks.model import METADATA_KEY_CHARACTERS, METADATA_PAIRS, METADATA_VALUE_CHARACTERS, Status, Task
from sluice import AgentResult, BudgetExhausted, ChildFailed, Context
from tests.unit.worker.conftest import OneAgent, World


@cache
def gate() -> Gate:
    return Gate(spend.load)


@pytest.fixture(autouse=True)
def _fresh_gate() -> None:
    gate.cache_clear()


class Agents:
    """The agents of this test by name, and what each was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: dict[str, Any] = {}
        self.asked: list[str] = []
        monkeypatch.setattr(agents, "load", lambda name: OneAgent(self.runs[name]))
        monkeypatch.setattr(agents, "names", lambda: tuple(self.runs))
        self.runs["echo"] = self.echo

    async def echo(self, ctx: Context) -> AgentResult:
        self.asked.append(ctx.message)
        if ctx.message.startswith("fail"):
            raise ChildFailed("x", "failed", None)
        return AgentResult(ctx.message.upper(), {"n": len(ctx.message)})


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> Agents:
    return Agents(monkeypatch)


def mapper(messages: list[str], **how: Any) -> Any:
    async def run(ctx: Context) -> AgentResult:
        found = await ctx.map("echo", messages, **how)
        return AgentResult(" ".join(one.response if isinstance(one, AgentResult) else one.code for one in found))

    return run


def until_quiet(world: World) -> None:
    world.work_until_quiet()


def response(task: Task) -> str:
    return str((settle.result_of(store.get(task.task_id)) or {}).get("response"))


def children(task: Task) -> list[Task]:
    return [store.get(one) for group in family.groups(task.task_id) for one in family.ids(task.task_id, group)]


def test_a_run_waits_for_another_and_gets_its_result(world: World, team: Agents) -> None:
    async def run(ctx: Context) -> AgentResult:
        return await ctx.run("echo", "hello", metadata={"a": "b"})

    team.runs["boss"] = run
    task = world.submit("go", agent="boss", running_cap=1)
    gate().adopt("ann", task.task_id, task.day, 0, 0, waits_limits(task))
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.waiting_for[0]["kind"], row.children) == (Status.WAITING, "children", 1)
    until_quiet(world)
    assert (response(task), team.asked) == ("HELLO", ["hello"])
    (child,) = children(task)
    assert (child.parent, child.user, child.depth, child.params["metadata"]) == (task.task_id, "ann", 1, {"a": "b"})
    assert store.public(child)["parent"] == task.task_id
    listed = {one["task_id"]: one.get("parent") for one in listing.list_tasks("ann", limit=10)[0]}
    assert listed == {task.task_id: None, child.task_id: task.task_id}
    assert settle.result_of(store.get(task.task_id))["data"] == {"n": 5}  # type: ignore[index]


def waits_limits(task: Task) -> Any:
    from shared.limits import tiers

    return tiers.of_task(task)


def test_many_run_side_by_side_and_come_back_in_order(world: World, team: Agents) -> None:
    messages = [f"m{n}" for n in range(25)]
    team.runs["boss"] = mapper(messages)
    task = world.submit("go", agent="boss")
    until_quiet(world)
    assert response(task) == " ".join(message.upper() for message in messages)
    assert sorted(team.asked) == sorted(messages)
    assert len(listing.list_tasks("ann", limit=100)[0]) == 26


def test_no_more_than_at_once_are_on_their_way(world: World, team: Agents) -> None:
    team.runs["boss"] = mapper([f"m{n}" for n in range(7)], at_once=2)
    task = world.submit("go", agent="boss")
    world.work()
    running = [child for child in children(task) if not child.parked]
    assert len(running) == 2
    seen = 0
    while (live := [child for child in children(task) if not child.status.terminal]) and seen < 20:
        assert len([child for child in live if not child.parked]) <= 2
        world.work()
        seen += 1
    until_quiet(world)
    assert response(task) == " ".join(f"M{n}" for n in range(7))
    assert len(team.asked) == 7


def test_a_failed_child_fails_its_parent_or_stands_in_the_list(world: World, team: Agents) -> None:
    team.runs["strict"] = mapper(["a", "fail", "b"])
    team.runs["lenient"] = mapper(["a", "fail", "b"], on_error="return")
    strict, lenient = world.submit("go", agent="strict"), world.submit("go", agent="lenient")
    until_quiet(world)
    assert (store.get(strict.task_id).error or {})["code"] == "child_failed"
    assert response(lenient) == "A child_failed B"


def test_a_parent_that_is_cancelled_takes_all_below_it_along(world: World, team: Agents) -> None:
    async def middle(ctx: Context) -> AgentResult:
        await ctx.map("waiter", ["x", "y"])
        return AgentResult("")

    async def waiter(ctx: Context) -> AgentResult:
        return AgentResult(str(await ctx.wait("never")))

    async def boss(ctx: Context) -> AgentResult:
        return await ctx.run("middle", "go")

    team.runs |= {"boss": boss, "middle": middle, "waiter": waiter}
    task = world.submit("go", agent="boss")
    for _ in range(3):
        world.work()
    (below,) = children(task)
    grand = children(below)
    assert [one.status for one in (below, *grand)] == [Status.WAITING] * 3
    aftermath.finished(gate(), settle.cancel(task.task_id, "ann"))
    assert [store.get(one.task_id).status for one in (below, *grand)] == [Status.CANCELLED] * 3


def test_the_sweeper_ends_children_that_nobody_ended(
    world: World, team: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def waiter(ctx: Context) -> AgentResult:
        return AgentResult(str(await ctx.wait("never")))

    team.runs |= {"boss": mapper(["x"] * 3), "echo": waiter}
    task = world.submit("go", agent="boss")
    world.work()
    world.work()
    settle.cancel(task.task_id, "ann")  # and whoever did so dies
    monkeypatch.setattr(owed, "GRACE_SECONDS", -1)
    table.update(table.update_op(row_key(task.task_id), sets={"due_at": clock.now() - 1}))
    for _ in range(2):
        sweeper.sweep(clock.now() + 60)
        table.update(table.update_op(row_key(task.task_id), sets={"due_at": clock.now() - 1}))
    assert {one.status for one in children(task)} == {Status.CANCELLED}
    assert "due" not in (table.get(row_key(task.task_id)) or {})


def test_a_child_that_begins_after_its_parents_end_does_nothing(world: World, team: Agents) -> None:
    team.runs["boss"] = mapper(["x"])
    task = world.submit("go", agent="boss")
    world.work()
    settle.cancel(task.task_id, "ann")
    world.work()
    (child,) = children(task)
    assert (child.status, team.asked) == (Status.CANCELLED, [])


def test_a_parent_wakes_though_the_last_child_could_not_tell_it(
    world: World, team: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.runs["boss"] = mapper(["x", "y"])
    task = world.submit("go", agent="boss")
    world.work()
    monkeypatch.setattr(kin, "relatives", lambda *_: None)
    world.work()
    assert {one.status for one in children(task)} == {Status.COMPLETE}
    assert store.get(task.task_id).status is Status.WAITING
    monkeypatch.setattr(waits, "CHECK_SECONDS", 0)
    table.update(table.update_op(row_key(task.task_id), sets={"due_at": clock.now() - 1}))
    sweeper.sweep(clock.now() + 60)
    until_quiet(world)
    assert response(task) == "X Y"


def test_a_parent_that_dies_while_it_starts_children_starts_each_once(
    world: World, team: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = store.submit, 0

    def die(task: Task, *args: Any, **more: Any) -> Task:
        nonlocal made
        made += bool(task.parent)
        if made == 4:
            monkeypatch.setattr(store, "submit", real)
            raise RuntimeError("killed")
        return real(task, *args, **more)

    monkeypatch.setattr(store, "submit", die)
    team.runs["boss"] = mapper([f"m{n}" for n in range(6)], at_once=3)
    task = world.submit("go", agent="boss")
    until_quiet(world)
    assert response(task) == " ".join(f"M{n}" for n in range(6))
    assert sorted(team.asked) == [f"m{n}" for n in range(6)]


@pytest.mark.parametrize("sent", range(3))
def test_a_parent_that_dies_between_a_childs_row_and_its_message_sends_it_when_it_is_back(
    world: World, team: Agents, monkeypatch: pytest.MonkeyPatch, sent: int
) -> None:
    real, seen, task_id = lanes.send, 0, ""

    def die(lane: str, about: str, gen: int, **more: Any) -> None:
        nonlocal seen
        if gen == 0 and about != task_id:
            seen += 1
            if seen == sent + 1:
                raise RuntimeError("killed")
        real(lane, about, gen, **more)

    team.runs["boss"] = mapper(["m0", "m1", "m2"])
    task = world.submit("go", agent="boss")
    task_id = task.task_id
    monkeypatch.setattr(lanes, "send", die)
    until_quiet(world)
    assert response(task) == "M0 M1 M2"
    assert sorted(team.asked) == ["m0", "m1", "m2"]


def test_nothing_is_on_its_way_any_more_when_a_run_is_given_up(
    world: World, team: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that was being written beside would come into being in the environment's next run, an orphan perhaps."""
    gone = threading.Event()
    real, take = lanes.send, Gate.take_slot

    def loses_its_lease(lane: str, about: str, gen: int, **more: Any) -> None:
        if about == family.child_id(task.task_id, "map#1", 0) and not gone.is_set():
            gone.set()
            raise LeaseLost("this worker is gone")
        real(lane, about, gen, **more)

    def takes_long(self: Gate, user: str, task_id: str, *args: Any, **more: Any) -> bool:
        if task_id == family.child_id(task.task_id, "map#1", 2):
            assert gone.wait(60)
            time.sleep(0.3)
        return take(self, user, task_id, *args, **more)

    team.runs["boss"] = mapper([f"m{n}" for n in range(20)])
    task = world.submit("go", agent="boss")
    monkeypatch.setattr(lanes, "send", loses_its_lease)
    monkeypatch.setattr(Gate, "take_slot", takes_long)
    world.invoke(world.receive())
    written = {n for n in range(20) if table.get(row_key(family.child_id(task.task_id, "map#1", n)))}
    assert {0, 2} <= written
    assert len(written) < 20, "nothing begins after it"
    until_quiet(world)
    assert response(task) == " ".join(f"M{n}" for n in range(20))
    assert sorted(team.asked) == sorted(f"m{n}" for n in range(20))


def test_children_that_are_on_their_way_are_not_sent_again_when_their_parent_is_woken(
    world: World, team: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sends = lanes.send, Counter[str]()

    def count(lane: str, about: str, gen: int, **more: Any) -> None:
        sends[about] += 1
        real(lane, about, gen, **more)

    team.runs["boss"] = mapper(["m0", "m1", "m2"])
    monkeypatch.setattr(lanes, "send", count)
    task = world.submit("go", agent="boss")
    until_quiet(world)
    assert response(task) == "M0 M1 M2"
    assert {sends[child.task_id] for child in children(task)} == {1}


def test_a_step_of_children_is_replayed_not_run_again(world: World, team: Agents) -> None:
    tries = 0

    async def boss(ctx: Context) -> AgentResult:
        nonlocal tries
        first = await ctx.run("echo", "one")
        tries += 1
        if tries == 1:
            raise RuntimeError("once")
        return AgentResult(f"{first.response} {(await ctx.run('echo', 'two')).response}")

    team.runs["boss"] = boss
    task = world.submit("go", agent="boss")
    until_quiet(world)
    assert (response(task), team.asked) == ("ONE TWO", ["one", "two"])


def test_children_share_what_is_left_of_their_parents_ceiling(world: World, team: Agents) -> None:
    async def caller(ctx: Context) -> AgentResult:
        reply = await ctx.model([{"role": "user", "content": "x"}], max_output_tokens=100)
        return AgentResult(reply.content)

    async def boss(ctx: Context) -> AgentResult:
        await ctx.map("caller", ["a"] * 4, name="first")
        await ctx.map("caller", ["a"] * 2, max_cost_usd=5, name="second", on_error="return")
        return AgentResult("done")

    team.runs |= {"caller": caller, "boss": boss}
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.01})
    until_quiet(world)
    found = children(task)
    assert [child.params["max_cost_usd"] for child in found[:4]] == [0.0025] * 4
    cost = sum(child.micro_usd for child in found[:4])
    assert cost > 0
    assert {round(child.params["max_cost_usd"] * 1e6) for child in found[4:]} == {(10_000 - cost) // 2}
    total = sum(child.micro_usd for child in found)
    assert spend.load("ann", task.day)[1] == total <= 10_000
    assert store.get(task.task_id).status is Status.COMPLETE


def test_groups_at_the_same_time_have_one_ceiling_together(world: World, team: Agents) -> None:
    """Both look for room before either is written. Taken up again, the run has none before they are asked for."""
    held: list[int] = []

    async def boss(ctx: Context) -> AgentResult:
        held.append(ctx._ledger.micro_usd)  # type: ignore[attr-defined]
        both = (ctx.map("echo", ["a", "b"], name=name) for name in ("one", "two"))
        await asyncio.gather(*both, return_exceptions=True)
        return AgentResult("done")

    team.runs["boss"] = boss
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.01})
    world.work()
    assert store.get(task.task_id).status is Status.WAITING
    assert [child.params["max_cost_usd"] for child in children(task)] == [0.005] * 2
    until_quiet(world)
    assert held[:2] == [0, 10_000]
    assert response(task) == "done"
    assert [child.params["max_cost_usd"] for child in children(task)] == [0.005] * 4  # one after the other


def test_runs_side_by_side_take_turns_where_one_has_all_that_is_left(world: World, team: Agents) -> None:
    async def boss(ctx: Context) -> AgentResult:
        found = await asyncio.gather(*(ctx.run("echo", text, name=f"run-{text}") for text in "abc"))
        return AgentResult("".join(one.response for one in found))

    team.runs["boss"] = boss
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.01})
    until_quiet(world)
    assert response(task) == "ABC"
    assert [child.params["max_cost_usd"] for child in children(task)] == [0.01] * 3


def test_a_call_beside_children_waits_for_what_they_leave(world: World, team: Agents) -> None:
    async def boss(ctx: Context) -> AgentResult:
        asked = ctx.model([{"role": "user", "content": "[[sim key=beside say=D]]"}], max_output_tokens=10)
        found, reply = await asyncio.gather(ctx.map("echo", ["a", "b"]), asked)
        return AgentResult("".join([*(one.response for one in found), reply.content]))

    team.runs["boss"] = boss
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.01})
    world.work()
    assert (store.get(task.task_id).status, world.calls("beside")["started"]) == (Status.WAITING, 0)
    until_quiet(world)
    assert (response(task), world.calls("beside")["started"]) == ("ABD", 1)


@pytest.mark.parametrize("over", [0, 1])
def test_more_children_than_the_ceiling_has_for_alone_wait_for_no_others(world: World, team: Agents, over: int) -> None:
    """Each has a millionth of a USD at least."""
    refused: list[str] = []

    async def many(ctx: Context) -> None:
        try:
            await ctx.map("echo", ["b"] * (4 + over), name="many")
        except BudgetExhausted as error:
            refused.append(error.limit)

    async def boss(ctx: Context) -> AgentResult:
        await asyncio.gather(ctx.run("echo", "a"), many(ctx))
        return AgentResult("done")

    team.runs["boss"] = boss
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.000004})
    world.work()
    assert (len(children(task)), refused) == (1, ["max_cost_usd"] * over)
    until_quiet(world)
    assert (response(task), team.asked) == ("done", ["a", *["b"] * (0 if over else 4)])


def test_nobody_waits_for_a_group_that_no_code_comes_to_any_more(world: World, team: Agents) -> None:
    """What it may cost is not there, and the next group is refused: it would wait for ever."""
    stays = 0

    async def boss(ctx: Context) -> AgentResult:
        nonlocal stays
        stays += 1
        if stays == 1:
            await asyncio.gather(ctx.map("patient", ["a"], name="one"), ctx.wait("go"))
        return await ctx.run("echo", "b", name="two")

    async def patient(ctx: Context) -> AgentResult:
        await ctx.wait("never")
        return AgentResult("")

    team.runs |= {"boss": boss, "patient": patient}
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.01})
    for _ in range(20):
        world.work()
        if store.get(task.task_id).status is Status.WAITING and len(children(task)) == 1:
            break
    woken = inbox.post(task.task_id, "go", None).task
    lanes.send(woken.lane, woken.task_id, woken.gen, user=woken.user)
    for _ in range(20):
        world.work()
        if store.get(task.task_id).status.terminal:
            break
    assert (stays, (store.get(task.task_id).error or {})["code"]) == (2, "insufficient_quota")


@pytest.mark.parametrize("ceiling", ["max_cost", "day"])
def test_a_call_that_was_refused_is_not_held_for_the_children_that_came_after_it(
    world: World, team: Agents, ceiling: str
) -> None:
    """They have all that is left, and beside them a branch waits: the run was suspended with it, and came to its
    children's end only when that wait was over."""
    had: list[str] = []

    async def branch(ctx: Context) -> None:
        try:
            await ctx.model([{"role": "user", "content": "[[sim key=dear]]"}], max_output_tokens=1000)
        except BudgetExhausted as error:
            had.append(f"{error.limit}: {error}")
        had.append((await ctx.run("echo", "a")).response or "")

    async def boss(ctx: Context) -> AgentResult:
        await asyncio.gather(branch(ctx), ctx.wait("go"))
        return AgentResult("done")

    team.runs["boss"] = boss
    own = ceiling == "max_cost"
    bounds: dict[str, Any] = {} if own else {"cap_tokens": 10, "reserved_tokens": 0, "reserved_micro_usd": 0}
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.0001 if own else 0.01}, **bounds)
    until_quiet(world)
    row = store.get(task.task_id)
    assert (row.status, [one["name"] for one in row.waiting_for]) == (Status.WAITING, ["go"])
    assert (had[-1], len({*had[:-1]}), world.calls("dear")["started"]) == ("A", 1, 0)
    woken = inbox.post(task.task_id, "go", None).task
    lanes.send(woken.lane, woken.task_id, woken.gen, user=woken.user)
    until_quiet(world)
    assert (response(task), team.asked) == ("done", ["a"])


def test_what_was_refused_is_known_as_soon_as_children_are_begun(
    world: World, team: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their parent may die right after that, and who takes it up then reads a log that may know of less."""
    known: list[dict[str, Any]] = []
    real = family.begin

    def begin(task: Task, group: family.Group) -> family.Group:
        begun = real(task, group)
        known.append(store.get(task.task_id).refused)
        return begun

    async def boss(ctx: Context) -> AgentResult:
        for _ in range(2):
            with pytest.raises(BudgetExhausted):
                await ctx.model([{"role": "user", "content": "x"}], max_output_tokens=1000)
        with pytest.raises(BudgetExhausted):
            await ctx.map("echo", ["a"] * 200)
        return await ctx.run("echo", "a")

    monkeypatch.setattr(family, "begin", begin)
    team.runs["boss"] = boss
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.0001})
    until_quiet(world)
    refused = {"model#1": "max_cost_usd", "model#2": "max_cost_usd", "map#1": "max_cost_usd"}
    assert (response(task), known) == ("A", [refused])
    row = store.get(task.task_id)
    records.adopt(row, {"events": [], "state": records.state(replace(row, refused={"model#1": "max_cost_usd"}), None)})
    assert row.refused == refused


def test_a_group_that_was_begun_goes_on_whatever_is_left(world: World, team: Agents) -> None:
    """It has its share, though others of the run have used the rest when the run is taken up again."""

    async def boss(ctx: Context) -> AgentResult:
        a, b = await asyncio.gather(
            ctx.map("echo", ["a", "b"], max_cost_usd=0.002, name="one"), ctx.map("echo", ["c"], name="two")
        )
        return AgentResult("".join(one.response for one in (*a, *b)))

    team.runs["boss"] = boss
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.01})
    until_quiet(world)
    assert sum(child.params["max_cost_usd"] for child in children(task)) == 0.01
    assert response(task) == "ABC"


def test_what_children_may_cost_counts_until_what_they_did_cost_does(
    world: World, team: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def caller(ctx: Context) -> AgentResult:
        reply = await ctx.model([{"role": "user", "content": "x"}], max_output_tokens=100)
        return AgentResult(reply.content)

    async def boss(ctx: Context) -> AgentResult:
        ledgers.append(ctx._ledger)  # type: ignore[attr-defined]
        await ctx.map("caller", ["a"] * 2)
        counted.append(ctx._ledger.micro_usd)  # type: ignore[attr-defined]
        return AgentResult("done")

    def ends(parent_id: str, group: family.Group) -> Any:
        counted.append(ledgers[-1].micro_usd)
        return real(parent_id, group)

    ledgers: list[Ledger] = []
    counted: list[int] = []
    real = grown.ends
    monkeypatch.setattr(grown, "ends", ends)
    team.runs |= {"caller": caller, "boss": boss}
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.01})
    until_quiet(world)
    assert counted == [10_000, sum(child.micro_usd for child in children(task))]
    assert 0 < counted[1] < 10_000


def test_what_children_did_cost_counts_from_the_start_of_every_stay(world: World, team: Agents) -> None:
    """A branch may come to them late in its replay, when another has asked for room before."""
    held: list[int] = []

    async def caller(ctx: Context) -> AgentResult:
        reply = await ctx.model([{"role": "user", "content": "x"}], max_output_tokens=100)
        return AgentResult(reply.content)

    async def boss(ctx: Context) -> AgentResult:
        held.append(ctx._ledger.micro_usd)  # type: ignore[attr-defined]
        await ctx.map("caller", ["a"] * 2)
        await ctx.wait("go")
        held.append(ctx._ledger.micro_usd)  # type: ignore[attr-defined]
        return AgentResult("done")

    team.runs |= {"caller": caller, "boss": boss}
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.01})
    for _ in range(20):
        world.work()
        if [one["name"] for one in store.get(task.task_id).waiting_for] == ["go"]:
            break
    woken = inbox.post(task.task_id, "go", None).task
    lanes.send(woken.lane, woken.task_id, woken.gen, user=woken.user)
    until_quiet(world)
    cost = sum(child.micro_usd for child in children(task))
    assert held == [0, 10_000, cost, cost]
    assert cost > 0


def test_nothing_left_means_no_children(world: World, team: Agents) -> None:
    team.runs["boss"] = mapper(["x"] * 3)
    task = world.submit("go", agent="boss", params={"max_cost_usd": 0.000002})
    until_quiet(world)
    assert (store.get(task.task_id).error or {})["code"] == "insufficient_quota"
    assert children(task) == []


@pytest.mark.parametrize(("count", "good"), [(3, True), (4, False)])
def test_so_many_children_and_no_more(
    world: World, team: Agents, monkeypatch: pytest.MonkeyPatch, count: int, good: bool
) -> None:
    monkeypatch.setenv("MAX_CHILDREN", "3")
    settings.cache_clear()
    team.runs["boss"] = mapper(["x"] * count)
    task = world.submit("go", agent="boss")
    until_quiet(world)
    row = store.get(task.task_id)
    assert row.status is (Status.COMPLETE if good else Status.FAILED)
    assert good or (row.error or {})["code"] == "too_large"


def test_so_many_levels_and_no_more(world: World, team: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_DEPTH", "2")
    settings.cache_clear()

    async def boss(ctx: Context) -> AgentResult:
        return AgentResult(f"{(await ctx.run('boss', 'go')).response}")

    team.runs["boss"] = boss
    task = world.submit("go", agent="boss")
    until_quiet(world)
    assert "levels deep" in (store.get(task.task_id).error or {})["message"] or response(task) == "None"
    assert max(one["task_id"] != "" for one in listing.list_tasks("ann", limit=10)[0])
    assert len(listing.list_tasks("ann", limit=10)[0]) == 3


def test_two_groups_at_the_same_time(world: World, team: Agents) -> None:
    async def boss(ctx: Context) -> AgentResult:
        a, b = await asyncio.gather(ctx.map("echo", ["a", "b"], name="one"), ctx.map("echo", ["c"], name="two"))
        return AgentResult("".join(one.response for one in (*a, *b)))

    team.runs["boss"] = boss
    task = world.submit("go", agent="boss")
    until_quiet(world)
    assert response(task) == "ABC"


@pytest.mark.parametrize("total", [1, 32, 33, 1_000, 10_000])
def test_ends_are_counted_in_many_items(total: int) -> None:
    def item(n: int) -> str:
        child = Task(
            task_id="t", user="u", lane="normal", agent="a", model="m", created=0, day="d", parent="p",
            family="map#1", family_size=total, child_no=n,
        )  # fmt: skip
        (op,) = family.ended_ops(child, expires=1)
        return str(op["Update"]["Key"]["sk"]["S"])

    counts: dict[str, int] = {}
    for n in range(total):
        counts[item(n)] = counts.get(item(n), 0) + 1
    assert max(counts.values()) <= max(family.ENDS_PER_ITEM, -(-total // family.MOST_ITEMS))


def test_claims_know_nothing_of_relatives(world: World, team: Agents) -> None:
    team.runs["boss"] = mapper([])
    task = world.submit("go", agent="boss")
    until_quiet(world)
    assert (response(task), store.get(task.task_id).children) == ("", 0)
    assert isinstance(claims.claim(task.task_id, 9), claims.Refused)


def test_a_tree_shows_every_run_below_and_what_all_cost(world: World, team: Agents) -> None:
    from functions.api.read import tree

    async def middle(ctx: Context) -> AgentResult:
        await ctx.model([{"role": "user", "content": "x"}])
        await ctx.map("echo", ["a", "b"])
        return AgentResult("")

    async def boss(ctx: Context) -> AgentResult:
        return await ctx.run("middle", "go")

    team.runs |= {"boss": boss, "middle": middle}
    task = world.submit("go", agent="boss")
    until_quiet(world)
    shown = tree.of(store.get(task.task_id))
    assert (shown["runs"], shown["more"], shown["cost_usd"] > 0) == (4, False, True)
    (below,) = shown["root"]["children"]
    assert (below["step"], [one["step"] for one in below["children"]]) == ("run", ["map", "map"])


@pytest.mark.parametrize(
    "how",
    [
        {"max_cost_usd": 0},
        {"max_cost_usd": -1},
        {"max_cost_usd": float("nan")},
        {"max_cost_usd": float("inf")},
        {"max_cost_usd": "1"},
        {"max_output_tokens": 0},
        {"max_output_tokens": 1.5},
        {"metadata": {"a": 1}},
        {"metadata": {1: "a"}},
        {"metadata": {"": "a"}},
        {"metadata": {"k" * (METADATA_KEY_CHARACTERS + 1): "a"}},
        {"metadata": {"a": "v" * (METADATA_VALUE_CHARACTERS + 1)}},
        {"metadata": {str(n): "a" for n in range(METADATA_PAIRS + 1)}},
    ],
)
def test_children_are_given_only_what_a_submit_takes(world: World, team: Agents, how: dict[str, Any]) -> None:
    caught: list[str] = []

    async def boss(ctx: Context) -> AgentResult:
        try:
            await ctx.run("echo", "a", **how)
        except ValueError as error:
            caught.append(str(error))
        return AgentResult("")

    team.runs["boss"] = boss
    task = world.submit("go", agent="boss")
    until_quiet(world)
    assert len(caught) == 1
    assert next(iter(how)) in caught[0]
    assert children(task) == []


def test_children_may_have_the_most_metadata_that_a_submit_takes(world: World, team: Agents) -> None:
    most = {
        f"{n:02d}".ljust(METADATA_KEY_CHARACTERS, "k"): "v" * METADATA_VALUE_CHARACTERS for n in range(METADATA_PAIRS)
    }

    async def boss(ctx: Context) -> AgentResult:
        return await ctx.run("echo", "a", metadata=most)

    team.runs["boss"] = boss
    task = world.submit("go", agent="boss")
    until_quiet(world)
    assert [child.params["metadata"] for child in children(task)] == [most]


def test_a_group_that_an_older_version_began_goes_on_with_longer_metadata(
    world: World, team: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it is done its step is replayed; until then the parent waits for it as before."""
    long = {"a": "v" * (METADATA_VALUE_CHARACTERS + 1)}

    async def boss(ctx: Context) -> AgentResult:
        one = await ctx.run("echo", "a", metadata=long, name="one")
        await ctx.wait("go")
        return AgentResult(one.response)

    team.runs["boss"] = boss
    task = world.submit("go", agent="boss")
    with monkeypatch.context() as older:
        older.setattr(run_children, "METADATA_VALUE_CHARACTERS", METADATA_VALUE_CHARACTERS + 1)
        world.work()
        assert [child.status for child in children(task)] == [Status.QUEUED]
    until_quiet(world)
    assert store.get(task.task_id).status is Status.WAITING
    woken = inbox.post(task.task_id, "go", None).task
    lanes.send(woken.lane, woken.task_id, woken.gen, user=woken.user)
    until_quiet(world)
    assert response(task) == "A"
