"""Slots that come free take more work from the lane their batch came from.

A plain batch lasts as long as its slowest run, and is billed for it: with runs of 1 to 10 s nearly half of its slots
stand idle, and ten messages, the most that one event brings, do not fill an environment that mostly waits. So an
invocation receives further messages by itself while it has free slots. After ``RefillSeconds`` it leaves them to the
pollers, whose number the scaler sets, but for those that wait and nobody takes (`share`): as long as it holds runs,
and has time for one more, its free slots are in reach. It never lasts longer for being able to refill than the runs it
holds, and takes nothing from another lane, and nothing while its lane is paused or has as many runs as it may.
"""

import asyncio
import random
from collections.abc import Iterable

from functions.worker.environment.environment import Environment
from functions.worker.lane.deliveries import Delivery
from functions.worker.lane.share import Share, give_back_unread, refills
from functions.worker.lane.slots import Slots
from shared.clock import now
from shared.errors import DependencyDown
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import lanes

FIRST_PAUSE_SECONDS = 1.0
"""How long an empty lane is left alone before it is asked again; doubles while it stays empty."""
LONGEST_PAUSE_SECONDS = 8.0
HOLD_SECONDS = 2.0
"""How long messages are held for slots whose ends are being written; half a lease if that is shorter. Then they go back
to the lane: others may have room."""
LINGER_SECONDS = 0.025
"""How long a free slot waits for others, so that they are filled with one request, and claimed and written with one:
runs that begin together end together. As many as one request can fill wait for none."""
CROWDED_LINGER_SECONDS = 0.06
"""The same while the lane has more than is asked for: nobody's run begins sooner for requests of two and three each."""
SPREAD_SHARE = 1 / 3
"""Part of the function's time within which invocations stop taking work, each at a moment of its own: those that one
burst began together would else all stop together, and hold the lane's limit while nobody takes anything."""
LEAD_SHARE = 1 / 60
"""The same of the time before that moment in which the scaler is told already: 15 s of 900, it looks every 5 s."""
DEADLINE_MARGIN_SECONDS = 10.0
"""Time beside one whole model call that a run must find before the function ends, else it would only be given back."""

_log = get_logger("refill")


class Refill:
    """Where an invocation gets more work from, and until when."""

    def __init__(self, deliveries: Iterable[Delivery], deadline: float, environment: Environment, share: Share) -> None:
        """Look at the lane that the first messages came from; ``deadline`` is when the function ends, epoch seconds."""
        self._environment = environment
        self._share = share
        first = next(iter(deliveries), None)
        self._lane = first.lane if first else ""
        self._url = first.queue_url if first else ""
        needed = settings().model_timeout_seconds + DEADLINE_MARGIN_SECONDS
        early = random.random() * SPREAD_SHARE * settings().worker_timeout_seconds  # noqa: S311 - no secret
        self._last = deadline - needed - early if first is not None and refills(self._lane) else 0.0
        """Until when it takes anything."""
        half = settings().worker_timeout_seconds / 2
        self._drains = self._last - LEAD_SHARE * settings().worker_timeout_seconds
        """From when its free slots are no longer counted on."""
        self._until = min(now() + settings().refill_seconds, deadline - max(half, needed), self._last)
        """Until when it takes whatever is there."""
        self._pause = FIRST_PAUSE_SECONDS
        self._next = 0.0
        self._crowded = False
        """Whether the lane had all that it was last asked for."""
        self._lingers: float | None = None
        """Until when free slots wait for others; None while there are none."""
        self._held: list[Delivery] = []
        self._hold_until = 0.0
        self._wary = False
        """An end took too long to be written; until one is, nothing is received for slots that are not free yet."""

    @property
    def holds(self) -> bool:
        """Whether messages were received that nobody has seen to."""
        return bool(self._held)

    def curious(self, slots: Slots) -> bool:
        """Whether somebody waited for a slot when it last looked, and one has come free since."""
        return now() < self._last and self._share.curious(slots.free)

    async def more(self, slots: Slots) -> list[Delivery]:
        """Return messages to see to now, for each of which a slot is free; none when only something changed.

        To be called as long as runs are under way or it ``holds`` messages: it waits for what must come first.
        """
        if slots.free > 0:
            self._wary = False
        if self._last and self._share.due(slots.free) and (taken := await self._look(slots)):
            return taken
        if self._share.paused and self._held:
            await self._give_up()
        if not self._held:
            free = slots.free if self._wary or self._share.owed else slots.soon_free
            wait_s = self._wait_s(free)
            if wait_s == 0:
                await self._take(free)
            else:
                await slots.wait(self._at_most(wait_s))
        elif now() < self._environment.held_until:
            await self._give_back()
        elif self._share.curious(slots.free):
            pass  # a slot came free during the look: the next one says whose it is
        elif slots.free > 0:
            ready, self._held = self._held[: slots.free], self._held[slots.free :]
            return ready
        elif now() < self._hold_until:
            await slots.wait(self._hold_until - now())
        else:
            self._wary = True
            await self._give_back()
        return []

    def _wait_s(self, free: int) -> float | None:
        """Return how long to wait until the lane may be asked for ``free`` slots, 0 for now; None: not before more are.

        Slots that come free are all that changes a None.
        """
        if free <= 0 or self._share.paused or self._share.room == 0:
            self._lingers = None
            return None
        at = now()
        if self._lingers is None:
            self._lingers = at + (CROWDED_LINGER_SECONDS if self._crowded else LINGER_SECONDS)
        if self._share.asks and at >= self._environment.held_until:
            return 0.0
        due = max(at, self._next, self._environment.held_until)
        if free < min(lanes.RECEIVE_AT_ONCE, settings().runs_per_environment):
            due = max(due, self._lingers)
        return due - at if due < self._until else None

    async def _take(self, free: int) -> None:
        """Receive messages for so many slots, ten at most, hidden for one lease.

        Receives without waiting: a long poll could outlast the runs here, and would be billed.
        """
        self._lingers = None
        most = min(free, lanes.RECEIVE_AT_ONCE, self._share.room or free)
        try:
            received = await asyncio.to_thread(lanes.receive, self._url, most, hidden_s=settings().lease_seconds)
            self._held, self._crowded = self._read(received), len(received) == most
        except DependencyDown as error:
            _log.warning("lane not asked", extra={"error": error.message, "lane": self._lane})
        self._share.asked(found=bool(self._held))
        if self._held:
            self._pause, self._next = FIRST_PAUSE_SECONDS, 0.0
            self._hold_until = now() + min(HOLD_SECONDS, settings().lease_seconds / 2)
        else:
            self._next = now() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)

    async def _look(self, slots: Slots) -> list[Delivery]:
        """Look at the lane; returns tasks that were handed to this environment by name, none without a slot.

        One whose message is held has that to begin with: it becomes the first of those that are.
        """
        takes = self._environment.held_until <= now() < self._last
        held = {one.message.task_id for one in self._held}
        report = self._environment.end_late
        taken = await self._share.refresh(slots.free, takes=takes, held=len(held), report=report)
        if now() >= self._drains:
            await self._share.drains(slots.free)
        named = {one.message.task_id for one in taken} & held
        self._held.sort(key=lambda one: one.message.task_id not in named)
        return [one for one in taken if one.message.task_id not in named]

    def _at_most(self, wait_s: float | None) -> float | None:
        """Wait no longer than until the next look."""
        if not self._last:
            return wait_s
        left = max(0.0, self._share.next - now())
        return left if wait_s is None else min(wait_s, left)

    async def _give_up(self) -> None:
        """Put messages of a lane that was paused meanwhile into it anew: nobody has had them."""
        held, self._held = self._held, []
        kept = await asyncio.to_thread(give_back_unread, held)
        try:
            await asyncio.to_thread(lanes.delete, self._url, [one.receipt for one in held if one not in kept])
        except DependencyDown as error:
            _log.warning("messages not deleted", extra={"error": error.message, "lane": self._lane})

    async def _give_back(self) -> None:
        held, self._held = self._held, []
        try:
            await asyncio.to_thread(lanes.hide, self._url, [(one.receipt, 0) for one in held])
        except DependencyDown as error:  # they come back after the lease
            _log.warning("messages not given back", extra={"error": error.message, "lane": self._lane})

    def _read(self, received: list[lanes.Received]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for one in received:
            try:
                message = lanes.parse(one.body)
            except lanes.BadMessage as error:  # it comes back until it is a dead letter
                _log.error("bad message", extra={"error": error.message, "lane": self._lane})
                continue
            deliveries.append(Delivery(message, self._lane, self._url, one.receipt, one.receives))
        return deliveries
