"""Whichever call of AWS fails, and however: the run ends once, as it would have, and nothing is asked or paid twice."""

import copy
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError

from functions.worker import agents
from functions.worker.run import outcomes
from shared.tasks import events, inbox, lanes, spend, store
from shared.tasks.model import Status
from sluice import AgentResult
from tests.examples import THOROUGH
from tests.unit.worker.conftest import OneAgent, World

Call = Callable[[], Any]
Fault = Callable[[str, Call], Any]


def answers(code: str, status: int = 400) -> Fault:
    """What was asked for is not done."""

    def fault(operation: str, call: Call) -> Any:
        answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, operation)

    return fault


def done_but(told: Fault) -> Fault:
    """What was asked for is done, and nobody hears of it."""

    def fault(operation: str, call: Call) -> Any:
        call()
        return told(operation, call)

    return fault


def silence(operation: str, call: Call) -> Any:
    raise ReadTimeoutError(endpoint_url=operation)


def twice(operation: str, call: Call) -> Any:
    """As the SDK does after a lost answer; a transaction's token makes its repeat harmless."""
    first = call()
    return first if operation == "TransactWriteItems" else call()


FAULTS = {
    "throttled": answers("ProvisionedThroughputExceededException"),
    "broken": answers("InternalServerError", 500),
    "slow down": answers("SlowDown", 503),
    "credentials ended": answers("ExpiredTokenException"),
    "no right for now": answers("AccessDeniedException"),
    "clock too far": answers("InvalidSignatureException"),
    "no table for now": answers("ResourceNotFoundException"),
    "no key for now": answers("KMS.DisabledException"),
    "done, no answer": done_but(silence),
    "done, an error": done_but(answers("InternalServerError", 500)),
    "done twice": twice,
}


class Line:
    """Between a worker and AWS: its n-th call meets a fault."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.on = False
        self.calls: list[str] = []
        self.at: int | None = None
        self.fault: Fault = silence
        real = BaseClient._make_api_call

        def call(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
            if not self.on or operation in ("ReceiveMessage", "DeleteMessage"):  # the test's own, the poller's
                return real(client, operation, arguments)
            self.calls.append(operation)
            if len(self.calls) - 1 == self.at:
                return self.fault(operation, lambda: real(client, operation, copy.deepcopy(arguments)))
            return real(client, operation, arguments)

        patch.setattr(BaseClient, "_make_api_call", call)

    def work(self, world: World) -> None:
        """Run one batch over this line."""
        self.on = True
        world.work()
        self.on = False


async def large(ctx: Any) -> AgentResult:
    """Its record, and its answer, are objects in S3."""
    reply = await ctx.model(ctx.asked())
    text = await ctx.step("noise", noise)
    return AgentResult(reply.content + text, data={"n": text[:2000]})


async def noise() -> str:
    return random.Random(1).randbytes(400_000).hex()


async def waits(ctx: Any) -> AgentResult:
    reply = await ctx.model(ctx.asked())
    told = await ctx.wait("go", timeout=60)
    return AgentResult(f"{reply.content} {told}")


AGENTS = {"large": large, "waits": waits}
ASKED = {"tools": "[[sim key={} tools=calculator,current_time words=3]] go"}
MODEL_CALLS = {"tools": 3, "large": 1, "waits": 1}


def run_to_its_end(world: World, line: Line, agent: str, key: str) -> tuple[str, list[str]]:
    """Run one task, whatever it takes: its messages come back, it is signalled; returns its id and what was called."""
    asked = ASKED.get(agent, "[[sim key={} words=3]] go").format(key)
    task = world.submit(asked, agent=agent, session_id=key, user=key)
    line.calls.clear()
    line.work(world)
    give_up = time.monotonic() + 100
    signalled = False
    while not (row := store.get(task.task_id)).status.terminal and time.monotonic() < give_up:
        if row.status is Status.PROCESSING:  # no answer told this worker that it had it: its lease ends
            world.lapse(task.task_id)
            lanes.send(row.lane, row.task_id, row.gen, user=row.user)
        if row.status is Status.WAITING and not signalled:
            signalled = True
            woken = inbox.post(row.task_id, "go", {}).task
            lanes.send(woken.lane, woken.task_id, woken.gen, user=woken.user)
        line.work(world)
    return task.task_id, list(line.calls)


@pytest.mark.parametrize("agent", sorted(MODEL_CALLS))
def test_it_ends_once_as_it_would_have(world: World, monkeypatch: pytest.MonkeyPatch, agent: str) -> None:
    waiting, load = outcomes.waiting_for, agents.load
    monkeypatch.setattr(outcomes, "waiting_for", lambda error: replace(waiting(error), delay_s=0))
    monkeypatch.setattr(agents, "load", lambda name: OneAgent(AGENTS[name]) if name in AGENTS else load(name))
    line = Line(monkeypatch)
    _, calls = run_to_its_end(world, line, agent, f"{agent}-undisturbed")
    wrong: dict[str, Any] = {}
    for number, (name, fault) in enumerate(FAULTS.items()):
        for n, operation in enumerate(calls):
            if not THOROUGH and (n + number) % len(FAULTS):
                continue  # each call meets one fault, and each fault some call
            key = f"{agent}-{number}-{n}"
            line.at, line.fault = n, fault
            task_id, _ = run_to_its_end(world, line, agent, key)
            line.at = None
            row, log = store.get(task_id), events.read(task_id, 0).events
            found = {
                "end": (row.status, row.attempt, row.crashes),
                "ends told": sum(event.type in events.TERMINAL_EVENTS for event in log),
                "log": [event.seq for event in log] == list(range(1, len(log) + 1)),
                "calls": (row.calls, world.calls(key)["completed"]),
                "charged": spend.load(key, row.day)[0] == row.input_tokens + row.output_tokens > 0,
            }
            model_calls = MODEL_CALLS[agent]
            right = {
                "end": (Status.COMPLETE, 0, 0),
                "ends told": 1,
                "log": True,
                "calls": (model_calls, model_calls),
                "charged": True,
            }
            if found != right:
                wrong[f"{name}: {operation} ({n})"] = found
    assert wrong == {}
