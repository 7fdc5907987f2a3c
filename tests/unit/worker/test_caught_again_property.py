"""Programs whose attempts end by failures that pass, on workers that die: they complete, whatever they do besides."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any

import anyio
import pytest

from shared import retry
from shared.errors import LeaseLost
from shared.tasks import checkpoints, store
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context
from tests.examples import examples
from tests.unit.worker.conftest import Install, World, until
from tests.unit.worker.test_caught_property import MOVES, Failed, Program

SEEDS = range(examples(100, usual=12))
PASSING = (
    "raise_",
    "tell",
    "clean_up",
    "answer",
    "give_up",
    "too_late",
    "among_others",
    "in_anyio",
    "nested",
    "as_done",
)


class Passing(Program):
    """One that also does what ends an attempt, and nothing the next time."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.lives = 0

    async def run(self, ctx: Context) -> AgentResult:
        seen: list[str] = []
        self.lives += 1
        dice = random.Random(self.seed)
        for n, move in enumerate(dice.sample(PASSING, 3)):
            await self.step(ctx, f"p{n}", seen)
            await getattr(self, move)(ctx, dice, f"p{n}x", seen, 1)
            await getattr(self, dice.choice(MOVES))(ctx, dice, f"p{n}m", seen, 1)
        await self.step(ctx, "end", seen)
        return AgentResult(" ".join(seen))

    async def raise_(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        await self.step(ctx, place, seen, fails=True)

    async def tell(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        try:
            await self.step(ctx, place, seen, fails=True)
        except Failed:
            await self.step(ctx, f"{place}.told", [*seen, "failed"])
            raise
        await self.step(ctx, f"{place}.told", seen)

    async def clean_up(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        try:
            await self.step(ctx, place, seen, fails=True)
        finally:
            await self.step(ctx, f"{place}.closed", [])

    async def answer(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        try:
            await self.step(ctx, place, seen, fails=True)
        except Failed:
            await self.step(ctx, f"{place}.told", [])
            raise RuntimeError(place) from None

    async def give_up(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        tries = (self.step(ctx, f"{place}.{n}", [*seen], fails=True) for n in range(3))
        found = await asyncio.gather(*tries, return_exceptions=True)
        await self.step(ctx, f"{place}.told", [type(one).__name__ for one in found])
        if any(found):
            raise RuntimeError(place)

    async def too_late(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        try:
            async with asyncio.timeout(0.05):
                await self.step(ctx, place, seen, slow=True)
        except TimeoutError:
            await self.step(ctx, f"{place}.told", [])
            raise

    async def among_others(self, ctx: Context, dice: random.Random, place: str, seen: list[str], depth: int) -> None:
        part: list[str] = []

        async def beside() -> None:
            try:
                await self.step(ctx, f"{place}.slow", [], slow=True)
            finally:
                await self.step(ctx, f"{place}.closed", [])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(beside())
            tasks.create_task(self.branch(ctx, random.Random(dice.random()), f"{place}b", part, depth - 1))
            tasks.create_task(self.fails_at_last(ctx, place))
        seen += part

    async def in_anyio(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        try:
            with anyio.fail_after(0.05):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self.late_or_not, ctx, f"{place}.a")
                    tasks.start_soon(self.late_or_not, ctx, f"{place}.b")
        finally:
            await self.step(ctx, f"{place}.closed", [*seen])

    async def late_or_not(self, ctx: Context, place: str) -> None:
        await self.step(ctx, place, [], slow=True)

    async def nested(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        async def inner(n: int) -> None:
            await asyncio.gather(
                self.step(ctx, f"{place}.{n}.good", []), self.step(ctx, f"{place}.{n}.bad", [], fails=True)
            )

        try:
            await asyncio.gather(inner(1), inner(2))
        except Failed as error:
            await self.step(ctx, f"{place}.told", [*seen])
            raise RuntimeError(place) from error

    async def as_done(self, ctx: Context, _dice: random.Random, place: str, seen: list[str], _depth: int) -> None:
        tasks = [asyncio.ensure_future(self.step(ctx, f"{place}.{n}", [], fails=n == 1)) for n in range(3)]
        try:
            for one in asyncio.as_completed(tasks):
                await one
                await self.step(ctx, f"{place}.came", [])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.step(ctx, f"{place}.closed", [*seen])


def works(world: World, task_id: str) -> bool:
    """Run what there is, and once more what a worker left that died; tells whether nothing is left."""
    records = world.receive()
    if world.invoke(records):
        world.lapse(task_id)
        world.invoke(records)
    return not world.live()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_passes_ends_no_run(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    record, left = checkpoints.record, [0]
    monkeypatch.setattr(retry, "backoff", lambda *_: 0.0)

    def record_and_die(task: Task, step: checkpoints.Step, *args: Any, **kwargs: Any) -> None:
        record(task, step, *args, **kwargs)
        left[0] -= 1
        if left[0] == 0:
            raise LeaseLost("this worker is gone")

    monkeypatch.setattr(checkpoints, "record", record_and_die)
    for after in (0, random.Random(seed).randint(1, 25)):
        program = Passing(seed)
        install(program.run)
        left[0] = after
        task = world.submit("hi")
        until(partial(works, world, task.task_id))
        row = store.get(task.task_id)
        assert (row.status, row.error, row.crashes) == (Status.COMPLETE, None, int(left[0] <= 0 < after)), (seed, after)
        assert program.lives > 1
        assert "not cancelled again" not in caplog.text, (seed, after)
