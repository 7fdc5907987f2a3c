"""What a simulation leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.capacity_model.lane import Lane


@dataclass(slots=True)
class Minute:
    """What a tick of the scaler saw and set."""

    at: float
    waiting: dict[str, int]
    running: dict[str, int]
    active: dict[str, int]
    limit: dict[str, int]
    desired: dict[str, int | None]
    ceiling: int
    parked: int


@dataclass(slots=True)
class Result:
    """What happened. ``started`` and ``ended`` are by run, None where it did not."""

    started: list[float | None]
    ended: list[float | None]
    failed: int = 0
    slices: int = 0
    retried: int = 0
    deferred: int = 0
    continued: int = 0
    parked: int = 0
    calls: int = 0
    throttled: int = 0
    beats: int = 0
    ticks: int = 0
    """Decisions of what moves the limits."""
    finished_at: float = 0.0
    peak_running: int = 0
    peak_active: int = 0
    minutes: list[Minute] = field(default_factory=list)
    lanes: dict[str, Lane] = field(default_factory=dict)
