"""What each phase of a run writes, in DynamoDB's write units: a real worker between the unit tests' world.

``phases`` is given a `World` of `tests/unit/worker`, and works with that of older ones: `benchmarks.write_meter` runs
this file inside their trees. Nothing here depends on time: replies come within the first flush of their text.
"""

from __future__ import annotations

import json
import os
import uuid
from typing import Any

import boto3
import pytest

from functions.worker import agents
from shared import aws
from shared.clock import now
from shared.settings import settings
from shared.tasks import checkpoints, claims, events, leases, store
from shared.tasks.model import Status
from tests.unit.aws_fixture import fake_aws
from tests.unit.simulator_fixture import simulator
from tests.unit.valkey_fixture import redis_settings, valkey_url
from tests.unit.worker.conftest import World, world

try:
    from write_units import Meter  # beside this file, in an older version's tree
except ImportError:
    from benchmarks.write_units import Meter
try:
    from sluice import AgentResult
except ImportError:  # a version before that package
    from functions.worker.types import AgentResult  # type: ignore[no-redef]

__all__ = ["World", "fake_aws", "redis_settings", "simulator", "valkey_url", "world"]

MESSAGE = (
    "Which of these three reports should I read first, and why? Answer in a few sentences. [[sim words=60 latency=0]]"
)
"""A question of a usual length; the simulator answers with 60 words, about 400 characters."""
AS_THE_API = {
    "session_id": "",
    "key_id": "key_0123456789ab",
    "running_cap": 5,
    "cap_tokens": 200_000,
    "cap_micro_usd": 5_000_000,
    "params": {"max_output_tokens": 500},
    "trace": "Root=1-6749a1b2-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0",
}
"""What the API writes down of a submit besides its message: whose key, which ceilings, X-Ray's trace."""
TEXT = "word " * 20
"""What a model writes in a fifth of a second: one stored batch of a text that is watched."""


class Measured:
    """Runs of one world, each phase by its write units."""

    def __init__(self, world: World, patch: pytest.MonkeyPatch) -> None:
        """Warm up, so that what only the first run of a user and day writes is left out."""
        self.world, self.patch = world, patch
        self.meter = Meter(boto3.client("dynamodb"), settings().table_name)
        patch.setenv("LEASE_SECONDS", "600")
        patch.setenv("HEARTBEAT_SECONDS", "300")
        settings.cache_clear()
        self.whole()
        self.meter.watch(aws.dynamodb())

    def submit(self, **changes: Any) -> Any:
        """Submit a run of no conversation, as most are, with an id as long as real ones."""
        return self.world.submit(MESSAGE, **(AS_THE_API | {"task_id": f"task_{uuid.uuid4().hex}"} | changes))

    def whole(self, **changes: Any) -> int:
        """Return what a run costs from its submit to its end."""
        self.meter.clear()
        task = self.submit(**changes)
        self.world.work()
        assert store.get(task.task_id).status is Status.COMPLETE
        return self.meter.take()

    def with_calls(self, calls: int, **how: Any) -> int:
        """Return what a run costs whose agent makes so many recorded calls, one after the other."""

        async def run(ctx: Any) -> AgentResult:
            for n in range(calls):
                reply = await ctx.model([{"role": "user", "content": f"{n} {ctx.message}"}], name=f"call{n}", **how)
            return AgentResult(reply.content)

        class Agent:
            pass

        agent: Any = Agent()
        agent.run = run
        load = agents.load
        self.patch.setattr(agents, "load", lambda name: agent)
        try:
            return self.whole()
        finally:
            self.patch.setattr(agents, "load", load)

    def claimed(self) -> Any:
        """Return a task that this process holds."""
        task = self.submit()
        held = claims.claim(task.task_id, task.gen)
        assert not isinstance(held, claims.Refused)
        return held


def phases(world: World, patch: pytest.MonkeyPatch) -> dict[str, int]:
    """Return the write units of each phase."""
    try:
        return _phases(Measured(world, patch))
    finally:
        aws._clients.clear()  # other tests' clients are not watched


def _phases(run: Measured) -> dict[str, int]:
    found: dict[str, int] = {}
    run.meter.clear()
    task = run.submit()
    found["submit"] = run.meter.take()
    claims.claim(task.task_id, task.gen)
    found["claim"] = run.meter.take()
    leases.heartbeat(task.task_id, 1)
    found["heartbeat"] = run.meter.take()
    held = run.claimed()
    run.meter.clear()
    checkpoints.append_events(held, [events.Event("token", now(), {"call": "model#1.1", "text": TEXT})])
    found["text_batch_watched"] = run.meter.take()
    run.whole()  # a worker now has seen the messages of what was claimed here, and hidden them
    found["recorded_call"] = run.with_calls(2) - run.with_calls(1)
    found["recorded_call_unstreamed"] = run.with_calls(2, stream=False) - run.with_calls(1, stream=False)
    found["run_recorded_call"] = run.with_calls(1)
    found["run"] = run.whole()
    found["settle"] = found["run"] - found["submit"] - found["claim"]
    return found


@pytest.mark.usefixtures("world")
def test_phases(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure, and tell whoever asked by `WRITE_PHASES`, a file."""
    with open(os.environ["WRITE_PHASES"], "w") as file:
        json.dump(phases(world, monkeypatch), file)
