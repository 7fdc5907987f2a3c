"""The event loop. Events are kept in a heap; arrivals come sorted and are merged in.

A run is cut into slices: from being taken out of a queue to its end, its next delay or the function's timeout.
Without provider limits a slice's end is known at its start, so a run costs one event; with them every model call is
an event, because calls of all environments compete for the budget in the order of time.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from typing import TYPE_CHECKING

from benchmarks.capacity_model.budget import Upstream
from benchmarks.capacity_model.controllers import Fixed, Sluice
from benchmarks.capacity_model.lane import Batch, Lane
from benchmarks.capacity_model.result import Minute, Result

if TYPE_CHECKING:
    from benchmarks.capacity_model.controllers import Choice, Controller
    from benchmarks.capacity_model.scenario import Scenario
    from benchmarks.capacity_model.workload import Load

END, POLL, DUE, CALL, ANSWER, TICK, RAMP = range(7)
DONE, RETRY, CONTINUE, DEFER = range(4)


class Engine:
    """One simulation; ``run`` it once."""

    def __init__(self, scenario: Scenario, load: Load, controller: Controller | None = None) -> None:
        """Take a scenario, a load drawn for it, and what moves the lanes' limits (the scaler's policy)."""
        self.scenario, self.load = scenario, load
        count = len(load.arrive)
        self.result = Result([None] * count, [None] * count)
        limits = dict(zip(("high", "normal"), scenario.platform.first_limits, strict=True))
        self.lanes = {name: Lane(name, limits[name], scenario.platform) for name in limits}
        self.result.lanes = self.lanes
        self.lane_of = [self.lanes[tier.lane] for tier in scenario.tiers]
        self.cap_of = [tier.running for tier in scenario.tiers]
        self.random = random.Random(scenario.seed)
        self.next_call = list(load.first_call[:-1])
        self.attempts: dict[int, int] = {}
        self.slots: dict[int, int] = {}
        self.parking: dict[int, deque[int]] = {}
        self.parked = 0
        self.batch_of: dict[int, Batch] = {}
        self.slice_from: dict[int, float] = {}
        tokens = scenario.shape.prompt_tokens + scenario.shape.output_tokens
        self.upstream = Upstream(scenario.provider, tokens)
        self.heap: list[tuple[float, int, int, int, object]] = []
        self.order = 0
        self.controller = controller or (Sluice(scenario.config) if scenario.platform.scaler else Fixed())
        self.noted = -1.0
        self.open = 0

    def push(self, at: float, kind: int, run: int = 0, what: object = None) -> None:
        self.order += 1
        heapq.heappush(self.heap, (at, self.order, kind, run, what))

    def run(self) -> Result:
        """Simulate until every run has ended."""
        heap, arrive, pop = self.heap, self.load.arrive, heapq.heappop
        index, count = 0, len(arrive)
        self.push(self.controller.tick_s, TICK)
        handlers = (self.on_end, self.on_poll, self.on_due, self.on_call, self.on_answer, self.on_tick, self.on_ramp)
        now = 0.0
        while index < count or self.open:
            if index < count and (not heap or arrive[index] <= heap[0][0]):
                now = arrive[index]
                self.on_arrival(now, index)
                index += 1
                continue
            now, _, kind, run, what = pop(heap)
            handlers[kind](now, run, what)
        self.result.finished_at = now
        return self.result

    # -- admission and parking ------------------------------------------------------------

    def on_arrival(self, now: float, run: int) -> None:
        self.open += 1
        tier, user = self.load.tier[run], self.load.user[run]
        cap = self.cap_of[tier]
        if cap:
            used = self.slots.get(user, 0)
            if used >= cap:
                self.parking.setdefault(user, deque()).append(run)
                self.parked += 1
                self.result.parked += 1
                return
            self.slots[user] = used + 1
        self.send(now, run)

    def settle(self, now: float, run: int) -> None:
        self.open -= 1
        self.result.ended[run] = now
        user = self.load.user[run]
        if not self.cap_of[self.load.tier[run]]:
            return
        waiting = self.parking.get(user)
        if waiting:
            self.parked -= 1
            self.send(now, waiting.popleft())
            if not waiting:
                del self.parking[user]
        elif self.slots[user] == 1:
            del self.slots[user]
        else:
            self.slots[user] -= 1

    # -- queues and environments ----------------------------------------------------------

    def send(self, now: float, run: int) -> None:
        lane = self.lane_of[self.load.tier[run]]
        lane.queue.append(run)
        self.wake(now, lane)

    def wake(self, now: float, lane: Lane) -> None:
        lane.note(now)
        if not lane.polling and lane.queue:
            lane.polling = True
            if lane.active < lane.allowed(now):
                self.push(now + lane.platform.gather_s, POLL, 0, lane)
            else:
                self.after_refusal(now, lane)

    def after_refusal(self, now: float, lane: Lane) -> None:
        """No environment is allowed: more pollers come with time, otherwise a batch's end or a tick wakes the lane."""
        lane.polling = False
        if lane.active < min(lane.limit, lane.platform.most_pollers):
            self.push(now + 60 / lane.platform.pollers_per_minute, RAMP, 0, lane)
            lane.polling = True

    def on_ramp(self, now: float, _: int, lane: Lane) -> None:
        lane.polling = False
        self.wake(now, lane)

    def on_due(self, now: float, run: int, _: object) -> None:
        self.lane_of[self.load.tier[run]].delayed -= 1
        self.send(now, run)

    def on_poll(self, now: float, _: int, lane: Lane) -> None:
        lane.polling = False
        queue, size = lane.queue, lane.platform.batch
        while queue and lane.active < lane.allowed(now):
            runs = [queue.popleft() for _ in range(min(size, len(queue)))]
            starts = now + lane.environment(now)
            batch = Batch(now, len(runs), len(runs))
            lane.running += len(runs)
            lane.peak_running = max(lane.peak_running, lane.running)
            for run in runs:
                self.start(starts, run, batch)
        self.result.peak_active = max(self.result.peak_active, sum(one.active for one in self.lanes.values()))
        self.result.peak_running = max(self.result.peak_running, sum(one.running for one in self.lanes.values()))
        self.wake(now, lane)

    # -- a run's slices -------------------------------------------------------------------

    def start(self, at: float, run: int, batch: Batch) -> None:
        self.result.slices += 1
        if self.result.started[run] is None:
            self.result.started[run] = at
        self.batch_of[run] = batch
        self.slice_from[run] = at
        if self.upstream.limited:
            self.push(at, CALL, run)
        else:
            self.foresee(at, run)

    def foresee(self, at: float, run: int) -> None:
        """Find where a slice ends that nothing outside can change."""
        shape, seconds = self.scenario.shape, self.load.call_s
        call, last = self.next_call[run], self.load.first_call[run + 1]
        until, moment, fails, draw = at + self.scenario.platform.slice_s, at, shape.call_fails, self.random.random
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
        self.push(moment + (shape.overhead_s if outcome == DONE else 0.0), END, run, (outcome, 0.0))

    def on_call(self, now: float, run: int, place: object) -> None:
        """Make a run's next call, or wait for a place in the budget, or defer."""
        call = self.next_call[run]
        seconds = self.load.call_s[call]
        if now + seconds - self.slice_from[run] > self.scenario.platform.slice_s:
            self.push(now, END, run, (CONTINUE, 0.0))
            return
        if place is None:
            taken, wait = self.upstream.ask(now)
            if not taken:
                self.push(now, END, run, (DEFER, wait + self.random.uniform(0, 3)))
                return
            if wait > 0:
                self.push(now + wait, CALL, run, True)
                return
        self.result.calls += 1
        retry_after = self.upstream.call(now)
        if retry_after:
            self.result.throttled += 1
            self.push(now, END, run, (DEFER, retry_after + self.random.uniform(0, 3)))
        else:
            self.push(now + seconds, ANSWER, run)

    def on_answer(self, now: float, run: int, _: object) -> None:
        if self.random.random() < self.scenario.shape.call_fails:
            self.push(now, END, run, (RETRY, 0.0))
            return
        self.attempts.pop(run, None)
        self.next_call[run] += 1
        if self.next_call[run] < self.load.first_call[run + 1]:
            self.push(now, CALL, run)
        else:
            self.push(now + self.scenario.shape.overhead_s, END, run, (DONE, 0.0))

    def on_end(self, now: float, run: int, what: tuple[int, float]) -> None:
        outcome, delay = what
        lane = self.lane_of[self.load.tier[run]]
        lane.running -= 1
        self.result.beats += int((now - self.slice_from.pop(run)) // 20)
        if outcome == DONE:
            self.settle(now, run)
        elif outcome == RETRY:
            attempt = self.attempts.get(run, 0)
            if attempt >= self.scenario.retries:
                self.result.failed += 1
                self.settle(now, run)
            else:
                self.attempts[run] = attempt + 1
                self.result.retried += 1
                self.again(now, run, self.scenario.retry_base_s * 2**attempt * self.random.uniform(0.5, 1))
        elif outcome == DEFER:
            self.result.deferred += 1
            self.again(now, run, delay)
        else:
            self.result.continued += 1
            self.again(now, run, 0.0)
        batch = self.batch_of.pop(run)
        batch.left -= 1
        if batch.left == 0:
            lane.release(batch, now)
            self.wake(now, lane)

    def again(self, now: float, run: int, delay: float) -> None:
        """Queue a run anew, SQS's ``DelaySeconds`` being whole seconds."""
        lane = self.lane_of[self.load.tier[run]]
        lane.delayed += 1
        self.push(now + int(delay + 0.999), DUE, run)

    # -- the scaler -----------------------------------------------------------------------

    def on_tick(self, now: float, _: int, what: object) -> None:
        choice = self.controller.decide(now, self.lanes, self.upstream.last_minute(now))
        for name, limit in choice.limits.items():
            self.lanes[name].limit = limit
        if now // 60 > self.noted:
            self.noted = now // 60
            self.note_minute(now, choice)
        for lane in self.lanes.values():
            self.wake(now, lane)
        self.push(now + self.controller.tick_s, TICK)

    def note_minute(self, now: float, choice: Choice) -> None:
        lanes = self.lanes.items()
        self.result.minutes.append(
            Minute(
                now,
                {name: len(lane.queue) for name, lane in lanes},
                {name: lane.running for name, lane in lanes},
                {name: lane.active for name, lane in lanes},
                {name: lane.limit for name, lane in lanes},
                choice.desired,
                choice.ceiling,
                self.parked,
            )
        )
