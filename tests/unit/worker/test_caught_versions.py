"""Workers of the version before, which know of no failures, meet runs that have some: they try those steps again."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from functions.api.door.gate import gate
from shared.tasks import checkpoints, records
from sluice import AgentResult, Context, ModelError
from tests.unit.worker.conftest import Install, World
from tests.unit.worker.test_forks import ended, fork


@pytest.fixture(autouse=True)
def _fresh_gate() -> None:
    gate.cache_clear()


def read_as_before(task_id: str) -> dict[tuple[str, int], Any]:
    """Read recorded steps as every version did until failures were recorded."""
    steps: dict[tuple[str, int], Any] = {}
    for row in records.items(task_id, "CKPT#"):
        if row["sk"]["S"].startswith("CKPT#"):
            steps[row["name"]["S"], int(row["nth"]["N"])] = row["fingerprint"]["S"]
        elif row["sk"]["S"].startswith("EVENT#") and (found := records.content(row).get("step")):
            steps[found["name"], found["nth"]] = found["fingerprint"]
    return steps


def test_failures_are_no_steps_for_them(world: World, install: Install) -> None:
    async def fails() -> str:
        raise ValueError("no")

    async def works() -> str:
        return "fine"

    async def agent(ctx: Context) -> AgentResult:
        await ctx.step("before", works)
        with contextlib.suppress(ValueError):
            await ctx.step("bad", fails)
        try:
            await ctx.model([{"role": "user", "content": "[[sim key=k fail=500 times=1]] hi"}], name="model")
        except ModelError:
            await ctx.step("log", works)
            raise
        return AgentResult("")

    install(agent)
    first = ended(world, world.submit("hi"))
    other = ended(world, fork(first, first.last_seq))
    for task in (first, other):
        known = checkpoints.load(task.task_id)
        assert [key for key, step in known.items() if step.failed] == [("bad", 1)]
        assert [key for key, step in known.items() if step.loose] == [("log", 1)]
        assert read_as_before(task.task_id) == {key: step.fingerprint for key, step in known.items() if not step.failed}
