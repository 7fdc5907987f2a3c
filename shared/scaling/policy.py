"""The scaler's whole decision: state and signals in, new state and every lane's environments out.

Each lane is scaled like a Kubernetes Deployment with an autoscaler of its own (``hpa``), on two metrics of
which the larger wins: waiting tasks per environment, and the busy share of the environments' run slots. The
lanes' sum is then kept under ``MAX_REPLICAS`` (``shares``) and what the model provider bears (``ceiling``).

A lane's size is its ``MaximumConcurrency``: environments that Lambda may use, not that exist. Lambda starts
them by itself within seconds of a backlog; the scaler only moves the limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shared.scaling import ceiling, hpa, shares
from shared.scaling.signals import LaneSignals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.scaling.signals import Signals
    from shared.settings import Settings

TICK_SECONDS = 60.0
"""How often the scaler runs; the smallest rate that EventBridge schedules."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the owner set. Backlog in tasks per environment, utilization as a share of 1."""

    lanes: tuple[str, ...] = ("high", "normal")
    least: int = 2
    most: int = 20
    """Of all these lanes together: ``MAX_REPLICAS`` less what the quarantine lane has."""
    target_backlog: float = 5.0
    target_utilization: float = 0.6
    runs_per_environment: int = 10
    up: hpa.Rules = field(default_factory=lambda: hpa.Rules(30.0, (hpa.Policy("Pods", 4, 60.0),)))
    down: hpa.Rules = field(default_factory=lambda: hpa.Rules(300.0, (hpa.Policy("Pods", 1, 120.0),)))
    tolerance: float = 0.1
    tick_s: float = TICK_SECONDS
    provider: ceiling.Rule = field(default_factory=ceiling.Rule)

    @classmethod
    def of(cls, settings: Settings) -> Config:
        """Translate the settings of the function."""
        up = hpa.Policy("Pods", settings.scale_up_per_minute, 60.0)
        down = hpa.Policy("Pods", settings.scale_down_per_2min, 120.0)
        return cls(
            least=settings.min_replicas,
            most=settings.max_replicas - settings.quarantine_concurrency,
            target_backlog=settings.target_backlog,
            target_utilization=settings.target_utilization / 100,
            runs_per_environment=settings.runs_per_environment,
            up=hpa.Rules(settings.scale_up_window_seconds, (up,)),
            down=hpa.Rules(settings.scale_down_window_seconds, (down,)),
        )


@dataclass(frozen=True, slots=True)
class LaneState:
    """What is remembered of one lane."""

    target: int
    history: hpa.History = field(default_factory=hpa.History)
    waiting_since: float | None = None
    """Since when tasks have been waiting at every tick."""


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered from tick to tick. ``tick`` counts ticks since the epoch."""

    tick: int
    lanes: Mapping[str, LaneState]
    ceiling: ceiling.Ceiling


@dataclass(frozen=True, slots=True)
class LaneDecision:
    """One lane's outcome: what the metrics asked for, what it got, and what held it back."""

    current: int
    desired: int | None
    target: int
    reason: str
    backlog_age_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of one tick."""

    lanes: Mapping[str, LaneDecision]
    ceiling: int


def decide(config: Config, state: State | None, signals: Signals, now: float) -> tuple[State, Decision]:
    """Decide how many environments each lane may use from now (epoch seconds) on.

    ``now`` counts in whole ticks. A tick that was decided already (a repeated event) changes nothing and
    returns the same targets.
    """
    tick = math.floor(now / config.tick_s)
    at = tick * config.tick_s
    floor = shares.floors(config.lanes, config.least)
    current = {lane: _current(lane, state, signals, floor) for lane in config.lanes}
    if state is not None and tick <= state.tick and set(state.lanes) == set(config.lanes):
        return state, _repeat(state, current, at)
    in_use = sum(_in_use(config, signals.lanes.get(lane), current[lane]) for lane in config.lanes)
    allowed = ceiling.move(
        config.provider,
        state.ceiling if state else ceiling.Ceiling(config.most),
        signals.provider,
        busy=in_use,
        least=sum(floor.values()),
        most=config.most,
        now=at,
    )
    lanes = {lane: (state.lanes.get(lane) if state else None) or LaneState(current[lane]) for lane in config.lanes}
    asked: dict[str, _Asked] = {}
    for lane in config.lanes:
        spec = _spec(config, floor, lane)
        asked[lane] = _ask(spec, config, lanes[lane], signals, lane, current[lane], at)
    given = shares.divide({lane: ask.size for lane, ask in asked.items()}, floor, allowed.most)
    busy = {lane: _may_hold(config, signals.lanes.get(lane), lanes[lane], current[lane], at) for lane in lanes}
    given = shares.await_drain(given, current, busy, floor, allowed.most)
    decisions = {}
    after = {}
    for lane, ask in asked.items():
        spec = _spec(config, floor, lane)
        size = given[lane]
        seen = signals.lanes.get(lane, LaneSignals())
        since = _waiting_since(lanes[lane].waiting_since, seen.visible, at)
        history = hpa.remember(spec, ask.history, ask.desired, size - current[lane], at)
        after[lane] = replace(lanes[lane], target=size, history=history, waiting_since=since)
        reason = (
            ask.reason if size == ask.size else ("provider_ceiling" if allowed.most < config.most else "lane_share")
        )
        decisions[lane] = LaneDecision(
            current[lane], ask.desired, size, reason, at - since if since is not None else 0.0
        )
    return State(tick, after, allowed), Decision(decisions, allowed.most)


@dataclass(frozen=True, slots=True)
class _Asked:
    desired: int | None
    size: int
    reason: str
    history: hpa.History


def _ask(
    spec: hpa.Spec, config: Config, lane: LaneState, signals: Signals, name: str, current: int, at: float
) -> _Asked:
    """Run one lane's autoscaler."""
    seen = signals.lanes.get(name, LaneSignals())
    metrics = (
        hpa.Metric("backlog", seen.visible, config.target_backlog),
        hpa.Metric("utilization", seen.in_flight, config.runs_per_environment * config.target_utilization),
    )
    history = lane.history
    if not history.recommendations:  # as Kubernetes does at start: the present size counts as the first wish
        history = replace(history, recommendations=(hpa.Recommendation(at - config.tick_s, current),))
    desired = hpa.recommend(metrics, current, spec.tolerance)
    if desired is None:
        return _Asked(None, hpa.limit(spec, history.changes, current, current, at), "metrics_missing", history)
    stable = hpa.stabilize(spec, history.recommendations, desired, current, at)
    size = hpa.limit(spec, history.changes, stable, current, at)
    if signals.provider.breaker_open and size > max(current, spec.least):
        return _Asked(desired, max(current, spec.least), "breaker_open", history)
    return _Asked(desired, size, _reason(spec, desired, stable, size, current), history)


def _reason(spec: hpa.Spec, desired: int, stable: int, size: int, current: int) -> str:
    if size != stable:
        return "at_most" if size == spec.most else "at_least" if size == spec.least else "rate_limited"
    if stable != desired:
        return "stabilizing"
    return "as_desired" if size != current else "steady"


def _spec(config: Config, floor: Mapping[str, int], lane: str) -> hpa.Spec:
    others = sum(own for other, own in shares.reserves(floor, config.most).items() if other != lane)
    most = min(config.most - others, shares.AWS_MOST)
    return hpa.Spec(floor[lane], most, config.up, config.down, config.tolerance, config.tick_s)


def _current(lane: str, state: State | None, signals: Signals, floor: Mapping[str, int]) -> int:
    seen = signals.lanes.get(lane)
    if seen is not None and seen.current is not None:
        return seen.current
    return state.lanes[lane].target if state is not None and lane in state.lanes else floor[lane]


def _may_hold(config: Config, seen: LaneSignals | None, lane: LaneState, current: int, at: float) -> int:
    """Count the environments that a lane's runs may still hold, a lowered limit interrupting none.

    No more than were allowed lately, and no more than there are tasks in flight.
    """
    allowed = hpa.largest(lane.history, current, at, config.down.window_s)
    return allowed if seen is None or seen.in_flight is None else min(allowed, seen.in_flight)


def _in_use(config: Config, seen: LaneSignals | None, current: int) -> int:
    """Environments in use, if every batch were full; what may be in use where that is unknown."""
    if seen is None or seen.in_flight is None:
        return current
    return math.ceil(seen.in_flight / config.runs_per_environment)


def _waiting_since(since: float | None, visible: int | None, at: float) -> float | None:
    if visible is None:
        return since
    return (since if since is not None else at) if visible > 0 else None


def _repeat(state: State, current: Mapping[str, int], at: float) -> Decision:
    lanes = {
        name: LaneDecision(
            current[name],
            None,
            lane.target,
            "repeated_tick",
            at - lane.waiting_since if lane.waiting_since else 0.0,
        )
        for name, lane in state.lanes.items()
    }
    return Decision(lanes, state.ceiling.most)
