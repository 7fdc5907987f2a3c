"""One lane: its queue, Lambda's pollers and the execution environments they use."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.capacity_model.scenario import Platform


@dataclass(slots=True, eq=False)
class Batch:
    """An invocation under way: it lasts until its slowest run ends, and takes more runs meanwhile (``dispatch``)."""

    started: float
    began: float
    """When its first runs were claimed."""
    last: float
    """Until when it takes more."""
    size: int = 0
    left: int = 0
    pause: float = 0.0
    """How long an empty lane is left alone; 0: it may be asked now."""
    held_until: float = 0.0
    """Until when it takes nothing, its runs having been deferred."""


@dataclass(slots=True)
class Lane:
    """Times in seconds. ``limit`` is the mapping's ``MaximumConcurrency``."""

    name: str
    limit: int
    platform: Platform
    queue: deque[int] = field(default_factory=deque)
    active: int = 0
    running: int = 0
    delayed: int = 0
    polling: bool = False
    """A hand-over is already under way."""
    watched: bool = False
    """Invocations will look because something waits."""
    roomy: dict[Batch, None] = field(default_factory=dict)
    """Invocations with free slots, the oldest first."""
    backlog_since: float | None = None
    base: int = 0
    warm: list[float] = field(default_factory=list)
    """When each idle environment was last used, the latest last."""
    invocations: int = 0
    cold_starts: int = 0
    busy_s: float = 0.0
    peak_active: int = 0
    peak_running: int = 0
    filled: int = 0
    refilled: int = 0

    def allowed(self, now: float) -> int:
        """Return how many batches may run: the limit, or what the pollers have grown to.

        They start with five and grow while messages stay available; they are taken to shrink back to what is in use
        as soon as the queue is empty, which is the slowest case.
        """
        if self.backlog_since is None:
            pollers: float = max(self.platform.first_pollers, self.active)
        else:
            grown = self.platform.pollers_per_minute / 60 * (now - self.backlog_since)
            pollers = min(self.platform.most_pollers, self.base + grown)
        return min(self.limit, int(pollers))

    def note(self, now: float) -> None:
        """Keep track of since when messages have been waiting."""
        if not self.queue:
            self.backlog_since = None
        elif self.backlog_since is None:
            self.backlog_since = now
            self.base = max(self.platform.first_pollers, self.active)

    def environment(self, now: float) -> float:
        """Take an environment for a batch; returns how long its start takes."""
        self.active += 1
        self.peak_active = max(self.peak_active, self.active)
        self.invocations += 1
        warm = self.warm
        if warm:
            if now - warm[-1] <= self.platform.keep_warm_s:
                warm.pop()
                return 0.0
            warm.clear()
        self.cold_starts += 1
        return self.platform.cold_s

    def release(self, batch: Batch, now: float) -> None:
        """Give a batch's environment back."""
        self.active -= 1
        self.roomy.pop(batch, None)
        self.busy_s += now - batch.started
        self.filled += batch.size
        self.warm.append(now)
