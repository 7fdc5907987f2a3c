"""What moves the lanes' limits: the scaler's policy, nothing, or a Kubernetes HorizontalPodAutoscaler."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shared.scaling.ceiling import Provider
from shared.scaling.policy import State, decide
from shared.scaling.readings import LaneReadings, Readings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.capacity_model.lane import Lane
    from shared.scaling.profiles import Config

LEAD_SHARE = 1 / 60
"""Of its time, before an invocation takes no more, when the scaler is told (``functions/worker/lane/refill.py``)."""
EPOCH = 1_700_000_040.0
"""A whole minute: the policy counts ticks."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The limits from now on, what the metrics alone asked for, and the ceiling over all lanes."""

    limits: Mapping[str, int]
    desired: Mapping[str, int | None]
    ceiling: int


class Controller(Protocol):
    """Decides every ``tick_s`` seconds."""

    tick_s: float

    def decide(self, now: float, lanes: Mapping[str, Lane], provider: tuple[int, int]) -> Choice:
        """Choose limits from the lanes and the provider's (calls, 429s) of the last minute."""
        ...


def _measured(now: float, lane: Lane) -> LaneReadings:
    lead_s = LEAD_SHARE * lane.platform.slice_s if lane.platform.look_s and lane.platform.refill_s else math.inf
    ends = [batch for batch in lane.roomy if batch.left and batch.last - lead_s <= now]
    closed = sum(lane.platform.slots - batch.left for batch in ends)
    return LaneReadings(len(lane.queue), lane.running, lane.delayed, lane.limit, len(ends), closed)


class Fixed:
    """Leaves everything as it is."""

    tick_s = 60.0

    def decide(self, now: float, lanes: Mapping[str, Lane], provider: tuple[int, int]) -> Choice:
        """Choose what is set already."""
        limits = {name: lane.limit for name, lane in lanes.items()}
        return Choice(limits, dict.fromkeys(limits), sum(limits.values()))


class Sluice:
    """The function that runs in production (``shared/scaling/policy.py``)."""

    def __init__(self, config: Config) -> None:
        """Take the owner's settings."""
        self.config, self.tick_s = config, config.tick_s
        self.state: State | None = None

    def decide(self, now: float, lanes: Mapping[str, Lane], provider: tuple[int, int]) -> Choice:
        """Ask the policy."""
        measured = {name: _measured(now, lane) for name, lane in lanes.items()}
        readings = Readings(measured, Provider(*provider, breaker_open=False))
        self.state, decision = decide(self.config, self.state, readings, EPOCH + now)
        chosen = decision.lanes.items()
        return Choice({n: o.target for n, o in chosen}, {n: o.desired for n, o in chosen}, decision.ceiling)
