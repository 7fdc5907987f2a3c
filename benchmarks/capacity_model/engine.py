"""The event loop: arrivals, which come sorted, merged with the events of the agenda; and the scaler's ticks."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from benchmarks.capacity_model.agenda import Agenda
from benchmarks.capacity_model.budget import Upstream
from benchmarks.capacity_model.controllers import Fixed, Sluice
from benchmarks.capacity_model.dispatch import Dispatch
from benchmarks.capacity_model.entrance import Entrance
from benchmarks.capacity_model.lane import Lane
from benchmarks.capacity_model.result import Minute, Result
from benchmarks.capacity_model.runs import Runs

if TYPE_CHECKING:
    from benchmarks.capacity_model.controllers import Choice, Controller
    from benchmarks.capacity_model.scenario import Scenario
    from benchmarks.capacity_model.workload import Load

TICK, SET = range(2)
FROM_DISPATCH = 2
FROM_RUNS = 6
"""Kinds of events: the scaler's, the dispatch's, the runs'."""


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
        self.upstream = Upstream(scenario.provider, scenario.shape.prompt_tokens + scenario.shape.output_tokens)
        self.agenda = Agenda()
        self.controller = controller or (Sluice(scenario.config) if scenario.platform.scaler else Fixed())
        self.noted = -1.0
        self.entrance = Entrance(scenario.tiers, load, self.result, self.send)
        self.runs = Runs(self, first_kind=FROM_RUNS)
        self.dispatch = Dispatch(self.lanes, self.agenda, self.result, self.runs.start, first_kind=FROM_DISPATCH)
        self.settle, self.slot_free = self.entrance.settle, self.dispatch.slot_free

    def send(self, now: float, run: int) -> None:
        """Put a run into its lane."""
        self.dispatch.send(now, self.lane_of[self.load.tier[run]], run)

    def run(self) -> Result:
        """Simulate until every run has ended."""
        heap, arrive, pop = self.agenda.heap, self.load.arrive, heapq.heappop
        index, count = 0, len(arrive)
        self.agenda.push(self.controller.tick_s, TICK)
        handlers = (self.on_tick, self.on_set, *self.dispatch.handlers(), *self.runs.handlers())
        now = 0.0
        while index < count or self.entrance.open:
            if index < count and (not heap or arrive[index] <= heap[0][0]):
                now = arrive[index]
                self.entrance.arrive(now, index)
                index += 1
                continue
            now, _, kind, run, what = pop(heap)
            handlers[kind](now, run, what)
        self.result.finished_at = now
        return self.result

    def on_tick(self, now: float, _: int, what: object) -> None:
        """Let the controller choose limits; they hold once Lambda has taken them over."""
        choice = self.controller.decide(now, self.lanes, self.upstream.last_minute(now))
        self.result.ticks += 1
        if now // 60 > self.noted:
            self.noted = now // 60
            self.note_minute(now, choice)
        if self.scenario.platform.apply_s:
            self.agenda.push(now + self.scenario.platform.apply_s, SET, 0, choice)
        else:
            self.on_set(now, 0, choice)
        self.agenda.push(now + self.controller.tick_s, TICK)

    def on_set(self, now: float, _: int, choice: Choice) -> None:
        """Set the limits that were chosen."""
        for name, limit in choice.limits.items():
            self.lanes[name].limit = limit
        for lane in self.lanes.values():
            self.dispatch.wake(now, lane)

    def note_minute(self, now: float, choice: Choice) -> None:
        """Keep what a tick saw and set."""
        lanes = self.lanes.items()
        self.result.minutes.append(
            Minute(
                now,
                {name: len(lane.queue) for name, lane in lanes},
                {name: lane.running for name, lane in lanes},
                {name: lane.active for name, lane in lanes},
                dict(choice.limits),
                choice.desired,
                choice.ceiling,
                self.entrance.parked,
            )
        )
