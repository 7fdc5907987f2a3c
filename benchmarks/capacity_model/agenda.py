"""What is still to happen: events in the order of time, equal times in the order in which they were noted."""

from __future__ import annotations

import heapq


class Agenda:
    """A heap of (when, what kind, which run, anything else)."""

    def __init__(self) -> None:
        """Begin empty."""
        self.heap: list[tuple[float, int, int, int, object]] = []
        self.order = 0

    def push(self, at: float, kind: int, run: int = 0, what: object = None) -> None:
        """Note an event."""
        self.order += 1
        heapq.heappush(self.heap, (at, self.order, kind, run, what))
