"""Pushes a run's events to its live watchers without ever holding up the run.

Each watcher has a follower of its own: a slow or dead connection delays only itself. A follower starts where the
registration says, reads the log for what it missed, and goes on with what the run stores.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from functions.worker.record.outbox import Outbox, Source
from shared import watchers
from shared.errors import SluiceError
from shared.logs import get_logger
from shared.tasks import events as event_log
from shared.tasks.events import Event
from shared.valkey import RedisError

type Look = Callable[[str], Awaitable[watchers.Watched]]

RECENT_EVENTS = 256
"""Newest events kept in memory, so that a follower which is up to date reads nothing."""
LAST_PUSH_SECONDS = 3.0
"""How long a run that ended or moved on waits for its followers."""
TRIES = 3

_log = get_logger("publisher")
_pushers = ThreadPoolExecutor(8, thread_name_prefix="push")
"""Threads of their own: a slow watcher must not take one from those that record runs."""


async def _look_alone(task_id: str) -> watchers.Watched:
    return await asyncio.to_thread(watchers.look, task_id)


class Publisher:
    """The live side of one run."""

    def __init__(self, task_id: str, look: Look | None = None, outbox: Outbox | None = None) -> None:
        """Start with no follower; ``look`` finds the watchers, by default for this run alone.

        ``outbox`` tells live listeners; without one they read the log.
        """
        self._task_id = task_id
        self._outbox = outbox
        self._untold: list[Event] = []
        self._look_again = False
        self._look_up = look or _look_alone
        self._recent: deque[Event] = deque(maxlen=RECENT_EVENTS)
        self._followers: dict[str, asyncio.Task[None]] = {}
        self._told: dict[str, int] = {}
        self._pushing: dict[str, Future[None]] = {}
        self._listed: set[str] = set()
        self._looking: asyncio.Task[bool] | None = None
        self._read = False
        self.listeners: tuple[str, ...] = ()
        self._news = asyncio.Condition()
        self._last = 0
        self._closed = False
        self._stopped = False

    @property
    def followed(self) -> bool:
        """Whether somebody was watching when last looked."""
        return any(not follower.done() for follower in self._followers.values())

    async def awaited(self) -> bool:
        """Look whether anybody follows the run or reads its log; yes if that cannot be known."""
        if not await self._look():
            return True
        return self.followed or self._read or bool(self.listeners)

    def writes(self, source: Source) -> None:
        """Note that there is new text; listeners get it before it is stored."""
        if self._outbox is not None:
            self._outbox.writes(source, self._task_id)

    async def publish(self, batch: Sequence[Event]) -> None:
        """Offer events that were just stored; returns at once."""
        self._recent.extend(batch)
        self._last = batch[-1].seq
        self._untold.extend(batch)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_on())
        else:
            self._look_again = True

    async def _look_on(self) -> bool:
        """Look, once more if something was stored meanwhile.

        A listener that the look did not find yet has read the log after it, and so what was stored before it. What was
        stored since neither of the two may have seen.
        """
        while True:
            self._look_again = False
            known = await self._look()
            if not self._look_again:
                return known

    async def _look(self) -> bool:
        """Find new watchers, tell the listeners and wake the followers; False without Valkey."""
        untold, self._untold = self._untold, []
        try:
            found, self._read, self.listeners = await self._look_up(self._task_id)
        except RedisError as error:
            _log.warning("watchers unknown", extra={"task_id": self._task_id, "error": str(error)})
            return False
        if untold and self.listeners and self._outbox is not None:
            self._outbox.tell(self._task_id, untold)
        self._listed = set(found)
        for connection, told in found.items():
            follower = self._followers.get(connection)
            if follower is None or follower.done():
                self._told[connection] = max(told, self._told.get(connection, 0))
                self._followers[connection] = asyncio.create_task(self._follow(connection))
        async with self._news:
            self._news.notify_all()
        return True

    async def _follow(self, connection: str) -> None:
        failures = 0
        while True:
            async with self._news:
                while self._last <= self._told[connection] and not self._closed:
                    await self._news.wait()
            if self._last <= self._told[connection] or self._over(connection):
                return
            try:
                await self._push(connection)
                failures = 0
            except watchers.Gone:
                return
            except (watchers.Unreachable, RedisError, SluiceError) as error:
                failures += 1
                if failures >= TRIES or self._stopped:
                    _log.info("watcher given up", extra={"task_id": self._task_id, "why": type(error).__name__})
                    return
                await asyncio.sleep(0.2 * failures)

    async def _push(self, connection: str) -> None:
        """Push what a watcher lacks, as far as there is time, and note how far it was told."""
        before = self._told[connection]
        try:
            for event in await self._after(before):
                if self._over(connection):
                    break
                data = watchers.message(self._task_id, event)
                self._pushing[connection] = pushing = _pushers.submit(watchers.push, connection, data)
                await asyncio.wrap_future(pushing)
                self._told[connection] = event.seq
        finally:
            # Also when a later push failed: whoever goes on from the note must not repeat these.
            told = self._told[connection]
            if told > before and connection in self._listed:
                await asyncio.to_thread(watchers.told, self._task_id, connection, told)

    def _over(self, connection: str) -> bool:
        return self._stopped or connection not in self._listed

    async def _after(self, told: int) -> list[Event]:
        recent = [event for event in self._recent if event.seq > told]
        if recent and recent[0].seq == told + 1:
            return recent
        page = await asyncio.to_thread(event_log.read, self._task_id, told)
        return page.events

    async def close(self) -> None:
        """Let the followers catch up for a moment, then stop them."""
        self._closed = True
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=LAST_PUSH_SECONDS)
        if not self._followers:
            return
        async with self._news:
            self._news.notify_all()
        _, late = await asyncio.wait(self._followers.values(), timeout=LAST_PUSH_SECONDS)
        # They stop after the push that they are in: it goes on in its thread, and whoever pushes the rest
        # (`watchers.finish`) would overtake and repeat it. It has a time limit; one that has not begun is taken back.
        self._stopped = True
        for pushing in self._pushing.values():
            pushing.cancel()
        if late:
            await asyncio.wait(late)
