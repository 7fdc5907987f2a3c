"""Slots that come free take more work from the lane their batch came from.

A plain batch lasts as long as its slowest run, and is billed for it: with runs of 1 to 10 s nearly half of its slots
stand idle, and ten messages, the most that one event brings, do not fill an environment that mostly waits. So an
invocation receives further messages by itself while it has free slots, for ``RefillSeconds`` at most: then it only
finishes what it has, and the pollers, whose number the scaler sets, decide again. It never lasts longer for being able
to refill than the runs it holds, and takes nothing from another lane. While the provider has no room, as deferred runs
show, it takes nothing: whatever it took would only be deferred as well, over and over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from functions.worker.deliveries import Delivery
from shared.clock import now
from shared.errors import DependencyDown
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import lanes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from functions.worker.environment import Environment

ALONE = "quarantine"
"""Lane whose runs share an environment with nobody."""
FIRST_PAUSE_SECONDS = 1.0
"""How long an empty lane is left alone before it is asked again; doubles while it stays empty."""
LONGEST_PAUSE_SECONDS = 8.0
LINGER_SECONDS = 0.025
"""How long a free slot waits for others, so that they are filled with one request, and claimed and written with one:
runs that begin together end together. As many as one request can fill wait for none."""
DEADLINE_MARGIN_SECONDS = 10.0
"""Time beside one whole model call that a run must find before the function ends, else it would only be given back."""

_log = get_logger("refill")


class Refill:
    """Where an invocation gets more work from, and until when."""

    def __init__(self, deliveries: Iterable[Delivery], deadline: float, environment: Environment) -> None:
        """Look at the lane that the first messages came from; ``deadline`` is when the function ends, epoch seconds."""
        self._environment = environment
        first = next(iter(deliveries), None)
        self._lane = first.lane if first else ""
        self._url = first.queue_url if first else ""
        needed = max(settings().worker_timeout_seconds / 2, settings().model_timeout_seconds + DEADLINE_MARGIN_SECONDS)
        self._until = min(now() + settings().refill_seconds, deadline - needed)
        if first is None or self._lane == ALONE:
            self._until = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._next = 0.0
        self._lingers: float | None = None
        """Until when free slots wait for others; None while there are none."""

    def wait_s(self, free: int) -> float | None:
        """Return how long to wait until the lane may be asked for ``free`` slots, 0 for now; None: not before more are.

        Slots that come free are all that changes a None.
        """
        if free <= 0:
            self._lingers = None
            return None
        at = now()
        if self._lingers is None:
            self._lingers = at + LINGER_SECONDS
        due = max(at, self._next, self._environment.held_until)
        if free < min(lanes.RECEIVE_AT_ONCE, settings().runs_per_environment):
            due = max(due, self._lingers)
        return due - at if due < self._until else None

    async def take(self, free: int) -> list[Delivery]:
        """Receive messages for so many slots, ten at most, hidden for one lease; none if there are none or SQS is away.

        Receives without waiting: a long poll could outlast the runs here, and would be billed.
        """
        self._lingers = None
        found: list[Delivery] = []
        most = min(free, lanes.RECEIVE_AT_ONCE)
        try:
            received = await asyncio.to_thread(lanes.receive, self._url, most, hidden_s=settings().lease_seconds)
            found = self._read(received)
        except DependencyDown as error:
            _log.warning("lane not asked", extra={"error": error.message, "lane": self._lane})
        if found:
            self._pause, self._next = FIRST_PAUSE_SECONDS, 0.0
        else:
            self._next = now() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        return found

    def _read(self, received: list[lanes.Received]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for one in received:
            try:
                message = lanes.parse(one.body)
            except lanes.BadMessage as error:  # it comes back until it is a dead letter
                _log.error("bad message", extra={"error": error.message, "lane": self._lane})
                continue
            deliveries.append(Delivery(message, self._lane, self._url, one.receipt))
        return deliveries
