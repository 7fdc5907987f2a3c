"""An environment's part in sharing its lane's slots among owners: what it looks up, hands over and gives back.

It looks twice a second, for as long as it holds runs (`shared.limits.lane`): is the lane paused, does a task wait that
nobody takes, do owners of runs here owe a slot, is some task past its ``timeout_s``. Nothing depends on it: when Valkey
is away the queue's order and the pollers decide, and the environment asks the queue every second itself.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable

from functions.worker.lane.deliveries import Delivery
from shared.clock import now
from shared.errors import DependencyDown, NewerVersion, NotFound
from shared.limits.admission import Gate
from shared.limits.lane import Lanes, Look
from shared.limits.shares import owner_of
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import lanes, overdue, store
from shared.tasks.model import Status, Task
from shared.valkey import RedisError

LOOK_SECONDS = 0.5
"""How often an environment with runs looks at its lane."""
BLIND_SECONDS = 1.0
"""How often it asks the queue when Valkey cannot say whether somebody waits."""
HELD_SECONDS = 1.0
"""A run that has held its slot for less gives none back: short ones come free by themselves."""
PAUSED_DELAY_SECONDS = 2.0
"""How long a message that is given back to a paused lane stays hidden."""

_log = get_logger("share")


class Share:
    """One invocation's look at its lane. Bound to its event loop."""

    def __init__(self, lane: str, url: str, book: Lanes) -> None:
        """Name the lane, by its queue too; nothing is looked up yet."""
        self.lane = lane
        self._url = url
        self._book = book
        self._id = secrets.token_hex(8)
        self._look = Look()
        self.next = now() + LOOK_SECONDS
        """When to look again, epoch seconds."""
        self._asked_at = 0.0
        self._offers: list[str] = []
        self._free = 0
        """Slots that were free at the last look."""
        self.asks = False
        """Whether the queue is to be asked now, whatever else says when."""
        self.queue_empty = False
        """Whether it had nothing when it was last asked because of that."""

    def due(self, free: int) -> bool:
        """Tell whether to look now, with so many slots free: it is time, or one came free that somebody waits for."""
        return now() >= self.next or self.curious(free)

    def curious(self, free: int) -> bool:
        """Tell whether a slot came free since the last look that is somebody's already, or that somebody waited for."""
        if self.paused or free <= 0:
            return False
        return bool(self._offers) or (self._look.due > 0 and free > self._free)

    @property
    def paused(self) -> bool:
        """Whether nothing is to be started."""
        return self._look.paused

    @property
    def room(self) -> int | None:
        """How many more runs the lane may have, as far as is known."""
        return self._look.room

    @property
    def owed(self) -> bool:
        """Whether the next slot that comes free is likely somebody's by name: nothing is received for it before."""
        return bool(self._look.owing)

    async def refresh(
        self, slots: int, *, takes: bool, held: int, report: Callable[[list[str]], None]
    ) -> list[Delivery]:
        """Look, with so many slots free; returns tasks to start in them now, none unless it ``takes`` any.

        ``held`` messages wait for the same slots: a task that is owed one comes before them. ``report`` sees to tasks
        past their deadline.
        """
        slots_to_fill = slots if takes else 0
        free = max(0, slots_to_fill - held)
        if self._offers and not takes:
            self._offers.clear()  # whom they were handed to may be taken by others when they count no longer as running
        if self._offers and slots > 0 and not self.paused:
            offered, self._offers = self._offers[:slots], self._offers[slots:]
            return await asyncio.to_thread(self._deliveries, offered)
        self.next, self._free = now() + LOOK_SECONDS, slots
        try:
            look = await asyncio.to_thread(
                self._book.look, self.lane, slots_to_fill, held=held, queue_empty=self.queue_empty
            )
        except RedisError:
            self._look = Look()
            self.asks = free > 0 and now() - self._asked_at >= BLIND_SECONDS
            return []
        self._look = look
        self.asks = free > 0 and look.due > 0 and not look.picks
        if look.late:
            report(list(look.late))
        return await asyncio.to_thread(self._deliveries, list(look.picks))

    async def drains(self, free: int) -> None:
        """Tell the scaler that this invocation takes no more work, or soon will not, whatever slots it has free."""
        try:
            await asyncio.to_thread(self._book.drains, self.lane, self._id, free)
        except RedisError as error:
            _log.warning("the scaler is not told", extra={"error": str(error)})

    def asked(self, *, found: bool) -> None:
        """Note that the queue was asked."""
        self.queue_empty = self.asks and not found
        self.asks = False
        self._asked_at = now()

    async def stopped(self) -> bool:
        """Look before anything is started: whether the lane is paused."""
        try:
            return await asyncio.to_thread(self._book.is_paused, self.lane)
        except RedisError:
            return False

    async def gives_back(self, task: Task) -> bool:
        """Tell whether a run that is about to begin a step is to leave its slot to another owner's task instead."""
        owner = owner_of(task.user)
        if owner not in self._look.owing or now() - (task.run_started or now()) < HELD_SECONDS:
            return False
        try:
            next_one = await asyncio.to_thread(self._book.give_back, self.lane, task.user, task.task_id)
        except RedisError:
            return False
        if next_one is None:  # others were quicker
            self._look = Look(self._look.paused, self._look.room, self._look.due, owing=self._look.owing - {owner})
            return False
        self._offers.append(next_one)
        return True

    def _deliveries(self, task_ids: Iterable[str]) -> list[Delivery]:
        """Make deliveries of tasks that were handed out by name; their messages are met, and found done, later."""
        made: list[Delivery] = []
        for task_id in task_ids:
            try:
                task = store.get(task_id)
                if _may_begin(task) and task.lane == self.lane:
                    made.append(Delivery(lanes.Message(task_id, task.gen), self.lane, self._url, ""))
                    continue
            except NotFound:
                continue  # it is just being submitted: it waits again in a moment, until its admission is forgotten
            except NewerVersion:
                pass
            except DependencyDown as error:
                _log.warning("task not read", extra={"task_id": task_id, "error": error.message})
                continue
            except Exception:  # a damaged row: the runs here go on, and its message leads to what becomes of it
                _log.exception("row not understood", extra={"task_id": task_id})
            try:
                self._book.leave(task_id)
            except RedisError as error:
                _log.warning("task not forgotten", extra={"task_id": task_id, "error": str(error)})
        return made


def _may_begin(task: Task) -> bool:
    """Tell whether a task waits for nothing but a slot."""
    if task.status is Status.WAITING:
        return task.next_try_at <= now()
    return task.status is Status.QUEUED and not task.parked


def end_late(gate: Gate, task_ids: list[str]) -> None:
    """End the tasks among these that still wait though their ``timeout_s`` is over."""
    for task_id in task_ids:
        overdue.expire_by_id(gate, task_id)


def give_back_unread(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """Put messages of a paused lane into it anew, so that none is counted as received; returns those that were not.

    Whoever calls this deletes the others.
    """
    kept: list[Delivery] = []
    for one in deliveries:
        message = one.message
        try:
            # Whose task it is cannot be read from the message; the group only matters beside a flood.
            lanes.send(one.lane, message.task_id, message.gen, user=message.task_id, delay_s=PAUSED_DELAY_SECONDS)
        except DependencyDown as error:
            _log.warning("message not given back", extra={"task_id": message.task_id, "error": error.message})
            kept.append(one)
    return kept


def refills(lane: str) -> bool:
    """Tell whether environments of a lane take more by themselves."""
    return settings().refill_seconds > 0 and lane != ALONE


ALONE = "quarantine"
"""Lane whose runs share an environment with nobody."""
