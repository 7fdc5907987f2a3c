"""The event loop: admission, lanes and the scaler. Events wait in a heap; arrivals come sorted and are merged in."""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING

from benchmarks.capacity_model.budget import Upstream
from benchmarks.capacity_model.controllers import Fixed, Sluice
from benchmarks.capacity_model.lane import Batch, Lane
from benchmarks.capacity_model.result import Minute, Result
from benchmarks.capacity_model.runs import Runs

if TYPE_CHECKING:
    from benchmarks.capacity_model.controllers import Choice, Controller
    from benchmarks.capacity_model.scenario import Scenario
    from benchmarks.capacity_model.workload import Load

POLL, TICK, RAMP, REFILL = range(4)
FROM_RUNS = 4
"""Kinds of events from here on are the runs' own."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 8.0
"""How long an invocation leaves an empty lane alone, doubling (``functions/worker/lane/refill.py``)."""


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
        self.slots: dict[int, int] = {}
        self.parking: dict[int, deque[int]] = {}
        self.parked = 0
        tokens = scenario.shape.prompt_tokens + scenario.shape.output_tokens
        self.upstream = Upstream(scenario.provider, tokens)
        self.heap: list[tuple[float, int, int, int, object]] = []
        self.order = 0
        self.controller = controller or (Sluice(scenario.config) if scenario.platform.scaler else Fixed())
        self.noted = -1.0
        self.open = 0
        self.runs = Runs(self, first_kind=FROM_RUNS)

    def push(self, at: float, kind: int, run: int = 0, what: object = None) -> None:
        """Put an event into the heap."""
        self.order += 1
        heapq.heappush(self.heap, (at, self.order, kind, run, what))

    def run(self) -> Result:
        """Simulate until every run has ended."""
        heap, arrive, pop = self.heap, self.load.arrive, heapq.heappop
        index, count = 0, len(arrive)
        self.push(self.controller.tick_s, TICK)
        handlers = (self.on_poll, self.on_tick, self.on_ramp, self.on_refill, *self.runs.handlers())
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
        """Admit a run: queue it, or park it while its user is at the cap."""
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
        """End a run; its slot goes to the user's next parked run."""
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
        """Put a message into the lane."""
        lane = self.lane_of[self.load.tier[run]]
        lane.queue.append(run)
        self.wake(now, lane)

    def wake(self, now: float, lane: Lane) -> None:
        """Hand over waiting messages soon, if an environment is allowed."""
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
            batch = Batch(now, starts, len(runs), len(runs))
            self.begin(starts, lane, batch, runs)
            if platform.refill_s and len(runs) < platform.slots:
                self.push(starts, REFILL, 0, (lane, batch))
        self.result.peak_active = max(self.result.peak_active, sum(one.active for one in self.lanes.values()))
        self.wake(now, lane)

    def begin(self, at: float, lane: Lane, batch: Batch, runs: list[int]) -> None:
        """Let a batch's runs begin."""
        lane.running += len(runs)
        lane.peak_running = max(lane.peak_running, lane.running)
        self.result.peak_running = max(self.result.peak_running, sum(one.running for one in self.lanes.values()))
        for run in runs:
            self.runs.start(at, run, batch)

    def refill(self, now: float, lane: Lane, batch: Batch) -> bool:
        """Let an invocation take waiting runs into its free slots; whether there were any."""
        queue, platform = lane.queue, lane.platform
        if now < batch.held_until or now >= batch.began + min(platform.refill_s, platform.slice_s / 2):
            return False
        runs = [queue.popleft() for _ in range(min(platform.slots - batch.left, len(queue)))]
        batch.left += len(runs)
        batch.size += len(runs)
        lane.refilled += len(runs)
        self.begin(now + platform.receive_s + platform.claim_s, lane, batch, runs)
        return bool(runs)

    def on_refill(self, now: float, _: int, what: tuple[Lane, Batch]) -> None:
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
            self.push(batch.held_until, REFILL, 0, what)
        elif batch.left < lane.platform.slots:  # a full one asks when a run ends
            batch.pause = min(2 * waited, LONGEST_PAUSE_S) or FIRST_PAUSE_S
            self.push(now + asked * lane.platform.receive_s + batch.pause, REFILL, 0, what)

    # -- the scaler -----------------------------------------------------------------------

    def on_tick(self, now: float, _: int, what: object) -> None:
        """Let the controller move the limits."""
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
        """Keep what a tick saw and set."""
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
