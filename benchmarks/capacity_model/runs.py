"""A run's life in slices: from being taken out of a queue to its end, its next delay or the function's timeout.

Without provider limits a slice's end is known at its start, so a run costs one event. With them every model call is an
event, because the calls of all environments compete for the budget in the order of time.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.capacity_model.agenda import Agenda
    from benchmarks.capacity_model.budget import Upstream
    from benchmarks.capacity_model.lane import Batch, Lane
    from benchmarks.capacity_model.result import Result
    from benchmarks.capacity_model.scenario import Scenario
    from benchmarks.capacity_model.workload import Load

DONE, RETRY, CONTINUE, DEFER = range(4)
"""How a slice ends."""
BEAT_S = 20
DEFER_JITTER_S = 3.0
"""As the worker spreads deferred runs (``functions/worker/model/step.py``)."""


class Around(Protocol):
    """Where runs happen: what they change when a slice of theirs ends."""

    scenario: Scenario
    load: Load
    result: Result
    upstream: Upstream
    agenda: Agenda
    lane_of: Sequence[Lane]
    """By tier."""

    def settle(self, now: float, run: int) -> None:
        """End a run."""
        ...

    def send(self, now: float, run: int) -> None:
        """Put a run into its lane."""
        ...

    def slot_free(self, now: float, lane: Lane, batch: Batch) -> None:
        """Give a slot back."""
        ...


class Runs:
    """All runs of a simulation. Kinds of events: a slice's end, a delay's end, a call's start, its answer."""

    def __init__(self, around: Around, *, first_kind: int) -> None:
        """Take where they happen and the number of the first kind of event."""
        self.around, self.load, self.result = around, around.load, around.result
        self.shape, self.upstream, self.push = around.scenario.shape, around.upstream, around.agenda.push
        self.slice_s = around.scenario.platform.slice_s
        self.neighbour_s = around.scenario.platform.neighbour_s
        self.end, self.due, self.call, self.answer = range(first_kind, first_kind + 4)
        self.random = random.Random(around.scenario.seed)
        self.next_call = list(self.load.first_call[:-1])
        self.attempts: dict[int, int] = {}
        self.batch_of: dict[int, Batch] = {}
        self.slice_from: dict[int, float] = {}

    def handlers(self) -> tuple[Callable[[float, int, Any], None], ...]:
        """Return what handles each kind, in order."""
        return self.on_end, self.on_due, self.on_call, self.on_answer

    def start(self, at: float, run: int, batch: Batch) -> None:
        """Begin a slice."""
        self.result.slices += 1
        if self.result.started[run] is None:
            self.result.started[run] = at
        self.batch_of[run] = batch
        self.slice_from[run] = at
        if self.upstream.limited:
            self.push(at, self.call, run)
        else:
            self.foresee(at, run)

    def foresee(self, at: float, run: int) -> None:
        """Find where a slice ends that nothing outside can change."""
        shape, seconds, batch = self.shape, self.load.call_s, self.batch_of[run]
        call, last = self.next_call[run], self.load.first_call[run + 1]
        until, moment, fails, draw = (
            batch.began + self.slice_s,
            at + self.neighbour_s * (batch.left - 1),
            shape.call_fails,
            self.random.random,
        )
        outcome = DONE
        while call < last:
            if moment + seconds[call] > until:
                outcome = CONTINUE
                break
            moment += seconds[call]
            self.result.calls += 1
            if fails and draw() < fails:
                outcome = RETRY
                break
            call += 1
            self.attempts.pop(run, None)
        self.next_call[run] = call
        self.push(moment + (shape.overhead_s if outcome == DONE else 0.0), self.end, run, (outcome, 0.0))

    def on_call(self, now: float, run: int, place: object) -> None:
        """Make a run's next call, or wait for a place in the budget, or defer."""
        call = self.next_call[run]
        seconds = self.load.call_s[call]
        if now + seconds - self.batch_of[run].began > self.slice_s:
            self.push(now, self.end, run, (CONTINUE, 0.0))
            return
        if place is None:
            taken, wait = self.upstream.ask(now)
            if not taken:
                self.push(now, self.end, run, (DEFER, wait + self.random.uniform(0, DEFER_JITTER_S)))
                return
            if wait > 0:
                self.push(now + wait, self.call, run, True)
                return
        self.result.calls += 1
        retry_after = self.upstream.call(now)
        if retry_after:
            self.result.throttled += 1
            self.push(now, self.end, run, (DEFER, retry_after + self.random.uniform(0, DEFER_JITTER_S)))
        else:
            self.push(now + seconds, self.answer, run)

    def on_answer(self, now: float, run: int, _: object) -> None:
        """Go on after a model call: the next one, the end, or a retry of the step."""
        if self.random.random() < self.shape.call_fails:
            self.push(now, self.end, run, (RETRY, 0.0))
            return
        self.attempts.pop(run, None)
        self.next_call[run] += 1
        if self.next_call[run] < self.load.first_call[run + 1]:
            self.push(now, self.call, run)
        else:
            self.push(now + self.shape.overhead_s, self.end, run, (DONE, 0.0))

    def on_end(self, now: float, run: int, what: tuple[int, float]) -> None:
        """End a slice: settle the run or queue it again; the last of a batch frees its environment."""
        outcome, delay = what
        lane = self.around.lane_of[self.load.tier[run]]
        lane.running -= 1
        self.result.beats += int((now - self.slice_from.pop(run)) // BEAT_S)
        if outcome == DONE:
            self.around.settle(now, run)
        elif outcome == RETRY:
            attempt = self.attempts.get(run, 0)
            if attempt >= self.around.scenario.retries:
                self.result.failed += 1
                self.around.settle(now, run)
            else:
                self.attempts[run] = attempt + 1
                self.result.retried += 1
                self.again(now, run, self.around.scenario.retry_base_s * 2**attempt * self.random.uniform(0.5, 1))
        elif outcome == DEFER:
            self.result.deferred += 1
            self.batch_of[run].held_until = max(self.batch_of[run].held_until, now + delay)
            self.again(now, run, delay)
        else:
            self.result.continued += 1
            self.again(now, run, 0.0)
        self.around.slot_free(now, lane, self.batch_of.pop(run))

    def again(self, now: float, run: int, delay: float) -> None:
        """Queue a run anew, SQS's ``DelaySeconds`` being whole seconds."""
        lane = self.around.lane_of[self.load.tier[run]]
        lane.delayed += 1
        self.push(now + int(delay + 0.999), self.due, run)

    def on_due(self, now: float, run: int, _: object) -> None:
        """A delay is over."""
        self.around.lane_of[self.load.tier[run]].delayed -= 1
        self.around.send(now, run)
