"""From a lane's queue into environments: Lambda's pollers, and what invocations take by themselves.

An invocation with free slots asks its lane in two ways (``functions/worker/lane/refill.py``): for ``refill_s`` whenever
a slot comes free or a pause is over; and, as long as it holds runs and has time for one more, when it sees at a look
that a task has waited for more than ``grace_s`` (``share.py``). It takes nothing while its lane has as many runs as the
slots of the environments that it may have.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from benchmarks.capacity_model.lane import Batch, Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.capacity_model.agenda import Agenda
    from benchmarks.capacity_model.result import Result
    from benchmarks.capacity_model.scenario import Platform

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 8.0
"""How long an invocation leaves an empty lane alone, doubling (``functions/worker/lane/refill.py``)."""
AT_ONCE = 10
"""Messages of one receive (SQS)."""


class Dispatch:
    """Kinds of events: a hand-over, more pollers, an invocation asks, invocations look."""

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        agenda: Agenda,
        result: Result,
        begin: Callable[[float, int, Batch], None],
        *,
        first_kind: int,
    ) -> None:
        """Take the lanes, what begins a run in a batch, and the number of the first kind of event."""
        self.lanes, self.agenda, self.result, self.start = lanes, agenda, result, begin
        self.random = random.Random(1)
        self.poll, self.ramp, self.ask, self.look = range(first_kind, first_kind + 4)

    def handlers(self) -> tuple[Callable[[float, int, object], None], ...]:
        """Return what handles each kind, in order."""
        return self.on_poll, self.on_ramp, self.on_ask, self.on_look  # type: ignore[return-value]

    def send(self, now: float, lane: Lane, run: int) -> None:
        """Put a message into the lane."""
        lane.queue.append(run)
        self.wake(now, lane)

    def wake(self, now: float, lane: Lane) -> None:
        """Hand over waiting messages soon, if an environment is allowed; else let invocations look."""
        lane.note(now)
        if not lane.queue:
            return
        if not lane.polling:
            lane.polling = True
            if lane.active < lane.allowed(now):
                self.agenda.push(now + lane.platform.gather_s, self.poll, 0, lane)
            else:
                self.after_refusal(now, lane)
        if not lane.watched and lane.platform.look_s and lane.platform.refill_s:
            lane.watched = True
            self.agenda.push(now + lane.platform.grace_s + lane.platform.look_s, self.look, 0, lane)

    def after_refusal(self, now: float, lane: Lane) -> None:
        """No environment is allowed: more pollers come with time, otherwise a batch's end or a tick wakes the lane."""
        lane.polling = False
        if lane.active < min(lane.limit, lane.platform.most_pollers):
            self.agenda.push(now + 60 / lane.platform.pollers_per_minute, self.ramp, 0, lane)
            lane.polling = True

    def on_ramp(self, now: float, _: int, lane: Lane) -> None:
        """Look again after the pollers have grown."""
        lane.polling = False
        self.wake(now, lane)

    def on_poll(self, now: float, _: int, lane: Lane) -> None:
        """Hand batches over while environments are allowed."""
        lane.polling = False
        queue, platform = lane.queue, lane.platform
        while queue and lane.active < lane.allowed(now):
            runs = [queue.popleft() for _ in range(min(platform.batch, len(queue)))]
            starts = now + lane.environment(now) + platform.claim_s
            batch = Batch(now, starts, self.last(starts, platform))
            self.begin(starts, lane, batch, runs)
            if platform.refill_s and len(runs) < platform.slots:
                self.agenda.push(starts, self.ask, 0, (lane, batch))
        self.result.peak_active = max(self.result.peak_active, sum(one.active for one in self.lanes.values()))
        self.wake(now, lane)

    def last(self, began: float, platform: Platform) -> float:
        """Return until when an invocation takes more."""
        early = self.random.random() * platform.spread_s if platform.spread_s else 0.0
        return began + platform.slice_s - platform.last_s - early

    def begin(self, at: float, lane: Lane, batch: Batch, runs: list[int]) -> None:
        """Let runs begin in a batch."""
        batch.left += len(runs)
        batch.size += len(runs)
        lane.running += len(runs)
        lane.peak_running = max(lane.peak_running, lane.running)
        if batch.left < lane.platform.slots:
            lane.roomy[batch] = None
        else:
            lane.roomy.pop(batch, None)
        self.result.peak_running = max(self.result.peak_running, sum(one.running for one in self.lanes.values()))
        for run in runs:
            self.start(at, run, batch)

    def take(self, now: float, lane: Lane, batch: Batch, most: int) -> bool:
        """Let an invocation take waiting runs into its free slots; whether there were any."""
        queue, platform = lane.queue, lane.platform
        room = lane.limit * platform.slots - lane.running
        runs = [queue.popleft() for _ in range(min(platform.slots - batch.left, len(queue), most, max(0, room)))]
        lane.refilled += len(runs)
        self.begin(now + platform.receive_s + platform.claim_s, lane, batch, runs)
        return bool(runs)

    def refill(self, now: float, lane: Lane, batch: Batch) -> bool:
        """Let an invocation in its first seconds take what waits; whether there was anything."""
        platform = lane.platform
        if now < batch.held_until or now >= batch.began + min(platform.refill_s, platform.slice_s / 2):
            return False
        return self.take(now, lane, batch, platform.slots)

    def on_ask(self, now: float, _: int, what: tuple[Lane, Batch]) -> None:
        """Ask the lane for more; when it is empty, again after a pause."""
        lane, batch = what
        waited, batch.pause, asked = batch.pause, 0.0, 1
        if batch.left == 0 or now >= batch.began + lane.platform.refill_s:
            return
        if self.refill(now, lane, batch):
            waited, asked = 0.0, 2  # at once again, in vain
            lane.note(now)
        if now < batch.held_until:
            batch.pause = batch.held_until - now
            self.agenda.push(batch.held_until, self.ask, 0, what)
        elif batch.left < lane.platform.slots:  # a full one asks when a run ends
            batch.pause = min(2 * waited, LONGEST_PAUSE_S) or FIRST_PAUSE_S
            self.agenda.push(now + asked * lane.platform.receive_s + batch.pause, self.ask, 0, what)

    def on_look(self, now: float, _: int, lane: Lane) -> None:
        """Let every invocation with free slots ask once, because a task has waited for longer than ``grace_s``.

        They look at different moments; that all take at the end of ``look_s`` is the slowest case.
        """
        platform = lane.platform
        lane.watched = False
        for batch in list(lane.roomy):
            if not lane.queue:
                break
            if batch.began <= now < batch.last and now >= batch.held_until:
                self.take(now, lane, batch, AT_ONCE)
        lane.note(now)
        if lane.queue:
            lane.watched = True
            self.agenda.push(now + platform.look_s, self.look, 0, lane)

    def slot_free(self, now: float, lane: Lane, batch: Batch) -> None:
        """A run has left a batch: its slot takes another, or the last one frees the environment."""
        batch.left -= 1
        lane.roomy[batch] = None
        if batch.left == 0 and (batch.pause or not self.refill(now, lane, batch)):
            lane.release(batch, now)
            self.wake(now, lane)
        elif not batch.pause:
            self.on_ask(now, 0, (lane, batch))
