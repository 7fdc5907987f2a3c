"""The scaler's whole decision: state and readings in, new state and every lane's environments out.

Each lane is scaled like a Kubernetes Deployment with an autoscaler of its own (``hpa``), on the metrics and at the
rates of its profile (``profiles``). The lanes' sum is then kept under ``MAX_REPLICAS`` (``shares``) and what the model
provider bears (``ceiling``).

A lane's size is its ``MaximumConcurrency``: environments that Lambda may use, not that exist. Lambda starts
them by itself within seconds of a backlog; the scaler only moves the limit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from shared.scaling import ceiling, hpa, shares
from shared.scaling.profiles import Config, metrics
from shared.scaling.readings import LaneReadings, Readings

CEILING_SECONDS = 60.0
"""How often the ceiling may move: the provider's counts are of whole minutes."""


@dataclass(frozen=True, slots=True)
class LaneState:
    """What is remembered of one lane."""

    target: int
    """What its tasks need."""
    history: hpa.History = field(default_factory=hpa.History)
    waiting_since: float | None = None
    """Since when tasks have been waiting at every tick."""
    spare: int = 0
    """What it may use on top because nobody else needs it and nothing runs."""
    load: int | None = None
    """Tasks that waited or ran at the last tick."""


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered from tick to tick."""

    at: float
    """The last tick, epoch seconds."""
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


def decide(config: Config, state: State | None, readings: Readings, now: float) -> tuple[State, Decision]:
    """Decide how many environments each lane may use from now (epoch seconds) on.

    ``now`` counts in whole ticks. A tick that was decided already (a repeated event) changes nothing and
    returns the same targets.
    """
    at = math.floor(now / config.tick_s) * config.tick_s
    floor = shares.floors(config.lanes, config.least)
    current = {lane: _current(lane, state, readings, floor) for lane in config.lanes}
    if state is not None and at <= state.at and set(state.lanes) == set(config.lanes):
        return state, _repeat(state, current, at)
    in_use = sum(_in_use(config, readings.lanes.get(lane), current[lane]) for lane in config.lanes)
    before = state.ceiling if state else ceiling.Ceiling(config.most)
    least = sum(floor.values())
    if state is not None and at // CEILING_SECONDS == state.at // CEILING_SECONDS:
        allowed = ceiling.hold(before, least=least, most=config.most)
    else:
        allowed = ceiling.move(
            config.provider, before, readings.provider, busy=in_use, least=least, most=config.most, now=at
        )
    lanes = {lane: (state.lanes.get(lane) if state else None) or LaneState(current[lane]) for lane in config.lanes}
    since_s = at - state.at if state else 0.0
    asked: dict[str, _Asked] = {}
    needed: dict[str, int] = {}
    for lane in config.lanes:
        spec = _spec(config, floor, lane)
        asked[lane] = _ask(spec, config, lanes[lane], readings, lane, current[lane], at, since_s)
        needed[lane] = asked[lane].size
        if (seen := readings.lanes.get(lane)) is not None and seen.draining:
            used = replace(readings, lanes={**readings.lanes, lane: replace(seen, draining=0, closed=0)})
            alone = _ask(spec, config, lanes[lane], used, lane, current[lane], at, since_s)  # as if none ended
            needed[lane] = min(needed[lane], alone.size)
    given = shares.divide(needed, floor, allowed.most)
    given = shares.replace_ending({lane: ask.size for lane, ask in asked.items()}, given, allowed.most)
    busy = {lane: _may_hold(config, readings.lanes.get(lane), lanes[lane], current[lane], at) for lane in lanes}
    given = shares.await_drain(given, current, busy, floor, allowed.most)
    spare = _spare(config, readings, given, busy, floor, allowed.most)
    decisions = {}
    after = {}
    for lane, ask in asked.items():
        spec = _spec(config, floor, lane)
        size = given[lane]
        seen = readings.lanes.get(lane, LaneReadings())
        since = _waiting_since(lanes[lane].waiting_since, seen.visible, at)
        history = hpa.remember(spec, ask.history, ask.desired, size - current[lane], at, kept_s=config.hold_s)
        after[lane] = LaneState(size, history, since, spare[lane], seen.load)
        reason = (
            ask.reason if size == ask.size else ("provider_ceiling" if allowed.most < config.most else "lane_share")
        )
        decisions[lane] = LaneDecision(
            current[lane],
            ask.desired,
            size + spare[lane],
            "idle" if spare[lane] else reason,
            at - since if since is not None else 0.0,
        )
    return State(at, after, allowed), Decision(decisions, allowed.most)


@dataclass(frozen=True, slots=True)
class _Asked:
    desired: int | None
    size: int
    reason: str
    history: hpa.History


def _ask(
    spec: hpa.Spec,
    config: Config,
    lane: LaneState,
    readings: Readings,
    name: str,
    current: int,
    at: float,
    since_s: float,
) -> _Asked:
    """Run one lane's autoscaler."""
    seen = readings.lanes.get(name, LaneReadings())
    measured = metrics(config, seen, lane.load, since_s)
    history = lane.history
    if not history.recommendations:  # as Kubernetes does at start: the present size counts as the first wish
        history = replace(history, recommendations=(hpa.Recommendation(at - config.tick_s, current),))
    desired = hpa.recommend(measured, current, spec.tolerance)
    if desired is None:
        return _Asked(None, hpa.limit(spec, history.changes, current, current, at), "metrics_missing", history)
    stable = hpa.stabilize(spec, history.recommendations, desired, current, at)
    size = hpa.limit(spec, history.changes, stable, current, at)
    if readings.provider.breaker_open and size > max(current, spec.least):
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


def _current(lane: str, state: State | None, readings: Readings, floor: Mapping[str, int]) -> int:
    """Return what a lane has; without what it was lent on top, if that is set still."""
    seen = readings.lanes.get(lane)
    known = state.lanes.get(lane) if state is not None else None
    if seen is None or seen.current is None:
        return known.target if known is not None else floor[lane]
    if known is not None and known.spare and seen.current == known.target + known.spare:
        return known.target
    return seen.current


def _may_hold(config: Config, seen: LaneReadings | None, lane: LaneState, current: int, at: float) -> int:
    """Count the environments that a lane's runs may still hold, a lowered limit interrupting none.

    No more than were allowed lately, and no more than there are tasks in flight.
    """
    allowed = hpa.largest(lane.history, current, at, config.hold_s) + lane.spare
    return allowed if seen is None or seen.in_flight is None else min(allowed, seen.in_flight)


def _spare(
    config: Config,
    readings: Readings,
    given: Mapping[str, int],
    busy: Mapping[str, int],
    floor: Mapping[str, int],
    total: int,
) -> dict[str, int]:
    """Lend what nobody needs to lanes in which nothing waits or runs: a limit that nothing uses costs nothing.

    It is taken back at the next tick, so that a few tasks do not spread over many environments; a sudden many begin at
    once. None while the breaker is open, and none of what other lanes may still hold.
    """
    spare = dict.fromkeys(given, 0)
    idle = [lane for lane in given if config.lend and (seen := readings.lanes.get(lane)) is not None and seen.load == 0]
    if not idle or readings.provider.breaker_open:
        return spare
    left = total - sum(max(given[lane], busy[lane]) for lane in given)
    for n, lane in enumerate(idle):
        part, odd = divmod(max(0, left), len(idle))
        spare[lane] = max(0, min(part + (n < odd), _spec(config, floor, lane).most - given[lane]))
    return spare


def _in_use(config: Config, seen: LaneReadings | None, current: int) -> int:
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
            lane.target + lane.spare,
            "repeated_tick",
            at - lane.waiting_since if lane.waiting_since else 0.0,
        )
        for name, lane in state.lanes.items()
    }
    return Decision(lanes, state.ceiling.most)
