"""Programs of steps that fail, are given up and raced, on workers that die: a replay sees what the run saw."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.errors import LeaseLost
from shared.tasks import checkpoints, store
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context
from tests.examples import examples
from tests.unit.worker.conftest import Install, World

SEEDS = (0, 6, 7, 8, 9, 10, 96, *range(100, 100 + examples(100, usual=0)))
"""The first ones once found something, on a busy machine at least."""
DEATHS = 6
"""Steps after which a worker may die, in one run each."""
MOVES = ("do", "catch", "late", "gather", "group", "race")


class Failed(Exception):
    """What a step raises that comes to nothing."""


class Program:
    """An agent that does at random what agents do; what a step brings changes each time that it is done."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.done: Counter[str] = Counter()

    async def run(self, ctx: Context) -> AgentResult:
        seen: list[str] = []
        await self.branch(ctx, random.Random(self.seed), "b", seen, depth=2)
        return AgentResult(" ".join(seen))

    async def branch(self, ctx: Context, dice: random.Random, place: str, seen: list[str], depth: int) -> None:
        for n in range(dice.randint(1, 4)):
            move = dice.choice(MOVES if depth else MOVES[:3])
            await getattr(self, move)(ctx, dice, f"{place}{n}", seen, depth)
            await self.step(ctx, f"{place}{n}.end", seen)

    def act(self, name: str, *, fails: bool = False, slow: bool = False) -> Callable[[], Awaitable[str]]:
        async def act() -> str:
            self.done[name] += 1
            if slow and self.done[name] == 1:
                await asyncio.sleep(1)
            if fails and self.done[name] == 1:
                raise Failed(name)
            return f"{name}:{self.done[name]}"

        return act

    async def step(self, ctx: Context, name: str, seen: list[str], **how: Any) -> None:
        """Do a step that hangs on all that its branch saw."""
        seen.append(await ctx.step(name, self.act(name, **how), fingerprint=[*seen]))

    async def do(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        await self.step(ctx, place, seen)

    async def catch(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        try:
            await self.step(ctx, place, seen, fails=True)
        except Failed:
            seen.append("failed")

    async def late(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        try:
            async with asyncio.timeout(0.02):
                await self.step(ctx, place, seen, slow=True)
        except TimeoutError:
            seen.append("late")

    async def gather(self, ctx: Context, dice: random.Random, place: str, seen: list[str], depth: int) -> None:
        parts: list[list[str]] = [[] for _ in range(2)]
        seeds = [random.Random(dice.random()) for _ in parts]
        found = await asyncio.gather(
            *(self.branch(ctx, one, f"{place}g{n}.", parts[n], depth - 1) for n, one in enumerate(seeds)),
            self.step(ctx, f"{place}bad", [], fails=True),
            return_exceptions=True,
        )
        seen += [*parts[0], *parts[1], *(type(one).__name__ for one in found if one is not None)]

    async def group(self, ctx: Context, dice: random.Random, place: str, seen: list[str], depth: int) -> None:
        part: list[str] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.step(ctx, f"{place}slow", [], slow=True))
                tasks.create_task(self.branch(ctx, random.Random(dice.random()), f"{place}t", part, depth - 1))
                tasks.create_task(self.fails_at_last(ctx, place))
        except* Failed:
            seen.append("group failed")

    async def fails_at_last(self, ctx: Context, place: str) -> None:
        await self.step(ctx, f"{place}first", [])
        await self.step(ctx, f"{place}bad", [], fails=True)

    async def race(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        slow = asyncio.create_task(self.step(ctx, f"{place}slow", [], slow=True))
        quick = asyncio.create_task(self.step(ctx, f"{place}quick", seen))
        _, left = await asyncio.wait({slow, quick}, return_when=asyncio.FIRST_COMPLETED)
        for one in left:
            one.cancel()
        await asyncio.wait({slow, quick})
        seen.append("quick" if slow in left else "slow")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replay_sees_what_its_run_saw(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    record, left = checkpoints.record, [0]

    def record_and_die(task: Task, step: checkpoints.Step, *args: Any, **kwargs: Any) -> None:
        record(task, step, *args, **kwargs)
        left[0] -= 1
        if left[0] == 0:
            raise LeaseLost("this worker is gone")

    monkeypatch.setattr(checkpoints, "record", record_and_die)
    for after in random.Random(seed).sample(range(1, 30), DEATHS):
        program = Program(seed)
        install(program.run)
        left[0] = after
        task = world.submit("hi")
        records = world.receive()
        if world.invoke(records):
            world.lapse(task.task_id)
            world.invoke(records)
        world.work_until_quiet()
        row = store.get(task.task_id)
        assert (row.status, row.error, row.attempt) == (Status.COMPLETE, None, 0), (seed, after)
        assert not program.done or max(program.done.values()) <= 2
