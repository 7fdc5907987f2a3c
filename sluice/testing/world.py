"""The world around a project's agents in a test: what a client and an operator could do, and accidents at will."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from functions.sweeper import alarms
from functions.worker import agents
from functions.worker.environment.environment import environment
from functions.worker.record.stops import Continue
from functions.worker.run.context import Context as WorkersContext
from shared import clock
from shared.errors import LeaseLost
from shared.tasks import checkpoints, events, lanes, settle, store
from shared.tasks.model import Status
from sluice.client.shapes import Event, Run
from sluice.testing import account, outside

if TYPE_CHECKING:
    import pytest

    from sluice import Agent, AgentResult, Context
    from sluice.testing.bench import Bench

ROUNDS = 200
"""Batches that one `work_until_quiet` delivers at most: a run that is re-queued for ever ends the test."""

RING_SECONDS = 10.0
"""How long timers are sent at one time."""


class Calls(NamedTuple):
    """How many calls of the model there were."""

    started: int = 0
    completed: int = 0
    failed: int = 0
    aborted: int = 0


class Clock:
    """The time of leases, deadlines, due times and delays; it runs by itself, and further on command."""

    def __init__(self) -> None:
        """Begin with the machine's own."""
        self._ahead = 0.0
        self.passed = False

    def now(self) -> float:
        """Seconds since the Unix epoch, as agents' environments see it."""
        return clock.now()

    def advance(self, seconds: float) -> None:
        """Let time pass at once: delayed messages come, leases lapse, what is due is due."""
        self.pass_by(seconds)
        self.passed = True

    def pass_by(self, seconds: float) -> None:
        """Let time pass as the worker's own delays do, which no run waits for longer than a message can."""
        self._ahead += seconds
        clock.set_ahead(self._ahead)
        account.pass_time(seconds)


class _Agent:
    def __init__(self, run: Callable[[Context], Awaitable[AgentResult]]) -> None:
        self.run = run


class World:
    """A worker of your agents between a stand-in for AWS, a Valkey server and the model simulator.

    Nothing runs by itself: `submit` puts a run into its lane, `work` and `work_until_quiet` have the worker take it.
    Directives in a message say what the model does: ``[[sim key=a say="Hello" fail=500 times=1 tool=NAME]]``.
    """

    def __init__(self, bench: Bench, patch: pytest.MonkeyPatch) -> None:
        """Made by the fixture `world`."""
        self._bench = bench
        self._patch = patch
        self._dies_after: int | None = None
        self._stops_before: int | None = None
        self._recorded = self._begun = 0
        self._died = self._accident = False
        self._own: list[str] = []
        self.clock = Clock()
        self._arrange()

    def submit(self, message: str, *, agent: str, user: str = "ann", session_id: str | None = None, **more: Any) -> str:
        """Submit a run and return its id. ``more``: what else a client may ask for, like ``instructions``."""
        if agent not in agents.names():
            raise ValueError(f"there is no agent {agent!r}; there are {', '.join(agents.names())}")
        conversation = {"session_id": session_id or ""}
        return self._bench.submit(message, agent=agent, user=user, params=more, **conversation).task_id

    def agent(self, name: str, run: Callable[[Context], Awaitable[AgentResult]]) -> None:
        """Make a function an agent of this test."""
        agents.register({name: cast("Agent", _Agent(run))})
        self._own.append(name)

    def work(self) -> int:
        """Have the worker take one batch of what waits; returns how many runs it held.

        Should it die in between (`die_after`), its leases lapse and another worker takes the batch over.
        """
        records = self._bench.receive() or (self._bench.receive() if self.clock.passed and self._ring() else None)
        if not records:
            return 0
        kept = self._bench.invoke(records)
        if self._died:
            self._died = False
            again = [record for record in records if record["messageId"] in kept]
            for record in again:
                self._bench.lapse(lanes.parse(record["body"]).task_id)
            self._bench.invoke(again)
        return len(records)

    def work_until_quiet(self) -> None:
        """Have the worker take batches until every run has ended, retries included; delays pass at once.

        Raises:
            AssertionError: a run does not end, or an accident that was asked for had no occasion.
        """
        for _ in range(ROUNDS):
            if self.work():
                continue
            if not self._bench.live() and not self._ring():
                break
            self.clock.pass_by(5)
        else:
            raise AssertionError("a run does not come to its end")
        if (self._dies_after or self._stops_before) and not self._accident:
            raise AssertionError(f"the accident never came: {self._recorded} steps were recorded, {self._begun} begun")

    def _ring(self) -> bool:
        """Send the timers that are due, as the sweeper does every minute; returns whether there were any."""
        self.clock.passed = False
        return alarms.ring(environment().gate, clock.now() + RING_SECONDS)["timer sent"] > 0

    def result(self, run: str) -> Run:
        """Return a run as its client sees it."""
        row = store.get(run)
        told = store.public(row)
        if row.status is Status.COMPLETE:
            told["result"] = settle.result_of(row)
        return Run.read(told)

    def events(self, run: str) -> list[Event]:
        """Return what watchers of a run saw."""
        return [Event(one.seq, one.type, clock.iso(one.at), one.data) for one in events.read(run, 0).events]

    def signal(self, run: str, name: str, payload: Any = None) -> None:
        """Send a run the signal that it waits for, or will.

        Raises:
            ValueError: the run takes no such payload.
            Conflict: it has ended.
        """
        outside.signal(run, name, payload)

    def approvals(self, run: str) -> list[dict[str, Any]]:
        """Return what a run waits to be allowed: calls (``tool``, ``arguments``, ``fingerprint``), and budget."""
        return outside.asked(run)

    def allow(self, run: str, fingerprint: str | None = None, **more: Any) -> None:
        """Allow what a run waits for; ``fingerprint`` says which of several things.

        ``more``: other ``arguments``, or by how much to ``raise_usd`` a ceiling.

        Raises:
            ValueError: it waits for none, or several, or this is no answer to it.
            Conflict: it was answered otherwise before, or the run has ended.
        """
        outside.answer(run, fingerprint, {"decision": "allow", **more})

    def deny(self, run: str, fingerprint: str | None = None, *, reason: str | None = None) -> None:
        """Deny what a run waits for; the errors are those of `allow`."""
        outside.answer(run, fingerprint, {"decision": "deny", "reason": reason})

    def calls(self, key: str) -> Calls:
        """Return the calls of the model whose directive had ``key=…``."""
        found = self._bench.calls(key)
        return Calls(*(found.get(name, 0) for name in Calls._fields))

    def die_after(self, steps: int) -> None:
        """Let the worker be gone right after it recorded so many steps; another one takes over.

        The reply of a call with ``last=True`` is recorded with the run's end, so it is no step that one dies after.
        """
        self._dies_after, self._recorded, self._accident = steps, 0, False

    def stop_before(self, step: int) -> None:
        """Let the function's time be nearly over when the run comes to a step: it goes on in another environment."""
        self._stops_before, self._begun, self._accident = step, 0, False

    def close(self) -> None:
        """Take back what this test made."""
        agents.unregister(*self._own)
        clock.set_ahead(0.0)

    def _arrange(self) -> None:
        record, check_time = checkpoints.record, WorkersContext.check_time

        def record_and_die(*args: Any, **kwargs: Any) -> None:
            record(*args, **kwargs)
            self._recorded += 1
            if self._recorded == self._dies_after:
                self._died = self._accident = True
                raise LeaseLost("this worker is gone")

        def check_and_stop(context: WorkersContext, needed_s: float) -> None:
            check_time(context, needed_s)
            if needed_s == 0:  # asked once a step
                self._begun += 1
                if self._begun == self._stops_before:
                    self._accident = True
                    raise Continue

        self._patch.setattr(checkpoints, "record", record_and_die)
        self._patch.setattr(WorkersContext, "check_time", check_and_stop)


@contextmanager
def world(bench: Bench, patch: pytest.MonkeyPatch, own: dict[str, str]) -> Iterator[World]:
    """Yield a world that knows a project's agents: name -> dotted module."""
    agents.register(own)
    made = World(bench, patch)
    try:
        yield made
    finally:
        made.close()
        agents.unregister(*own)
