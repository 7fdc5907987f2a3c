"""How a run leaves this environment: settled, re-queued or waiting, as was decided. Nothing is left in between."""

import asyncio
import math
from dataclasses import replace
from typing import Any

from functions.worker.environment.environment import Environment
from functions.worker.lane.deliveries import Delivery, Disposition
from functions.worker.lane.slots import Slot
from functions.worker.record.eventlog import EventLog
from functions.worker.record.ledger import count_recorded
from functions.worker.record.persist import patiently, persist
from functions.worker.record.publisher import Publisher
from functions.worker.record.steps import Steps
from functions.worker.run import outcomes, report, rest
from functions.worker.run.waits import Waits
from shared import metrics
from shared.clock import now
from shared.errors import Contended, DependencyDown
from shared.logs import get_logger
from shared.tasks import checkpoints, days, lanes, leases, parking
from shared.tasks.ends import End
from shared.tasks.events import Event
from shared.tasks.leases import Requeue
from shared.tasks.model import Outcome, Status, Task

DEFAULT_TIMEOUT_SECONDS = 86_400
"""How long a run may take, from its start, that sets no ``timeout_s`` (which counts from its submission)."""
OF_ONE_MODEL = frozenset({"provider_budget", "breaker_open"})
"""Reasons of deferrals that say nothing about other runs: their models, or their owners, may have room."""

_log = get_logger("runner")


class Closing:
    """What a run is closed with; the runner sets it up."""

    task: Task
    delivery: Delivery
    environment: Environment
    slot: Slot
    log: EventLog
    publisher: Publisher
    steps: Steps | None
    waits: Waits | None
    again: list[tuple[str, int]]
    """Failed steps that the run went on after and that are to be tried again all the same."""
    message: str
    asked: list[dict[str, Any]] | None

    def ends_at(self) -> float:
        """When the run must have ended: so long after its submission as it asked for, or after a day of not waiting."""
        asked = self.task.params.get("timeout_s")
        if asked:
            return self.task.created + float(asked)
        return (self.task.started_at or now()) + self.task.waited_s + DEFAULT_TIMEOUT_SECONDS

    async def carry_out(self, decision: Outcome | Requeue) -> Disposition:
        """Do what was decided; the message is then done with."""
        await self.log.close()
        # Whatever is waiting for the lock is a recording under way: it goes first.
        async with self.log.lock:
            if isinstance(decision, Outcome):
                await self.settle(decision)
            elif not (decision.suspend and await self.rest()):
                await self.requeue(decision)
        return Disposition.DONE

    async def settle(self, outcome: Outcome) -> None:
        """End the task; given back instead where its last step cannot be written with its end."""
        self.slot.ending()
        logged, last = self.log.take(), self.count_last_step()
        pending = [*logged, *last]
        try:
            outcome, pending = await self.write_end(outcome, pending)
        except (Contended, DependencyDown):
            if not last:
                raise
            # A paid call stands in nothing but this end. Given back, the task carries its cost on.
            self.log.give_back(logged)
            await self.requeue(outcomes.waiting_for(DependencyDown("dynamodb")))
            return
        self.slot.leave()
        data = {"response": outcome.response} if outcome.response is not None else {"error": outcome.error}
        if self.publisher.followed:  # who began to watch since is seen to by what follows the end
            await self.log.stored([*pending, Event(str(outcome.status), now(), data)])
        report.ended(self.task, outcome, self.delivery.lane)
        await self.publisher.close()
        await self.environment.finished(self.task)

    async def write_end(self, outcome: Outcome, pending: list[Event]) -> tuple[Outcome, list[Event]]:
        """Write the end, or another one where that cannot be stored; returns what was written."""
        try:
            await self._end(End(self.task, outcome, self.message, self.asked, pending))
        except outcomes.UNUSABLE as error:
            _log.warning("end not stored", exc_info=error)
            outcome, pending = outcomes.unusable(outcome, pending, error)
            await self._end(End(self.task, outcome, log=pending))
        return outcome, pending

    async def _end(self, end: End) -> None:
        await patiently(lambda: self.environment.end(end))

    def count_last_step(self) -> tuple[Event, ...]:
        """Count the step that is written with the run's end only; returns its events."""
        last = self.steps.take_last() if self.steps else None
        if last is None:
            return ()
        _, done = last
        count_recorded(self.task, done.usage, done.model)
        return done.events

    async def rest(self) -> bool:
        """Let the run wait, or end as its owner wants; False when what it waits for came just now: it is to go on."""
        assert self.waits is not None  # noqa: S101 - for the type checker
        used = days.uncounted(self.task)
        try:
            # Only a limit that was asked for goes on to count while the run waits.
            ends_at = self.ends_at() if self.task.params.get("timeout_s") else math.inf
            written = await rest.suspend(self.task, self.waits, self.log, ends_at)
        except leases.CancelRequested:
            await self.settle(Outcome(status=Status.CANCELLED))
            return True
        if written is None:
            return False
        self.slot.leave()
        await self.log.stored(written)
        await rest.leave(self.task, self.environment, used)
        return True

    async def requeue(self, how: Requeue) -> None:
        """Give the task back, to be tried again, elsewhere or later."""
        events = self.log.take()
        # Said at once: whoever shows the text need not wait for `resumed`, which may be minutes away.
        facts = {"delay_s": round(how.delay_s, 1), "void": self.log.void()}
        facts |= {checkpoints.AGAIN: self.again} if self.again else {}
        if how.attempt is not None:
            events.append(Event("retry", now(), {"attempt": how.attempt, "error": how.last_error, **facts}))
        elif how.deferral or how.park or how.lane:
            events.append(Event("deferred", now(), {"reason": how.reason, **facts}))
        if how.deferral and how.reason not in OF_ONE_MODEL:
            self.environment.hold(how.delay_s)
        how = replace(how, delay_s=min(how.delay_s, max(0.0, self.ends_at() - now())))
        try:
            sent = await persist(leases.requeue, self.task, how, events)
        except leases.CancelRequested:
            self.log.give_back(events)
            await self.settle(Outcome(status=Status.CANCELLED))
            return
        self.slot.leave()
        self.task.last_seq += len(events)
        await self.log.stored(events)
        metrics.count("Retries" if how.attempt is not None else "Deferred", reason=how.reason)
        _log.info("re-queued", extra={"reason": how.reason, "delay_s": how.delay_s, "sent": sent})
        if how.park:
            await asyncio.to_thread(parking.look_again, self.environment.gate, self.task)
            return
        ttl = int(how.delay_s) + lanes.MAX_DELAY_SECONDS
        try:
            lane = how.lane or self.task.lane
            await asyncio.to_thread(self.environment.keep_slot, self.task, lane, how.delay_s, ttl)
        except DependencyDown as error:
            _log.warning("slot not kept", extra={"error": error.message})
