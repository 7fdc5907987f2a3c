"""A run's events as they happen: replayed from any place in the log, then live, as one sequence.

What is yielded equals the log, whatever is lost, doubled or late on the way. Live messages are only a quicker way to
what the log has, or is about to have: numbers show gaps, and a gap is read from the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request

from functions.api.live.ear import Ear
from functions.api.live.listener import listener
from functions.api.live.sequence import Cursor, End, KeepAlive, LogEvent, Place
from shared.errors import DependencyDown
from shared.live import Message
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import events
from shared.tasks.events import Page
from shared.valkey import RedisError

if TYPE_CHECKING:
    from functions.api.read.hold import Held

KEEP_ALIVE_SECONDS = 15.0
"""Longest silence. API Gateway gives up after five minutes of it, proxies often after one."""
LOOK_SECONDS = 15.0
"""How often the log is read though nothing was heard: a message may be lost."""
DEAF_LOOK_SECONDS = 1.0
"""How often it is read while nothing can be heard."""
RENEW_SECONDS = 20.0
"""How often a registration is renewed; it lapses after `shared.live.LISTEN_SECONDS`."""
HEAR_FIRST_SECONDS = 0.03
"""How long the first read of the log waits for the subscription, whose second read it saves. What is stored already
goes out then, however slow Valkey is, and the log is read again once something can be heard."""

PAGE_BYTES = 1_000_000
"""How much of a log is read and written at a time."""
HOLD_SECONDS = 2.0
"""How often a stream's hold is renewed (`held.LEASE_S`)."""
PIECES_PER_SECOND = 400
"""Pieces of text of all streams of the environment, at most: the more there are at once, the more text one piece holds.
On Lambda an environment has one stream, for which this is no limit."""
MARGIN_SECONDS = 5.0
"""Left of the function's own time when a stream, or a request that is held, ends by itself."""

_log = get_logger("live")


def life(request: Request) -> float:
    """Return how long a stream, or a request that is held, may last at the streaming address, s."""
    context = request.scope.get("aws.context")
    left = context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS if context is not None else float("inf")
    return max(0.0, min(settings().stream_seconds, left))


async def follow(
    task_id: str,
    after: Place,
    *,
    until: float,
    pieces: bool = True,
    held: Held | None = None,
    first: Page | None = None,
) -> AsyncGenerator[LogEvent | KeepAlive | End]:
    """Yield what comes after a place, and an `End`. The caller has seen to it that the task is the client's.

    Args:
        task_id: an existing task.
        after: where the client is.
        until: longest life of the stream, on the monotonic clock.
        pieces: whether text may come before it is stored; without them every `LogEvent` is a whole event of the log.
        held: a hold that was begun; it is renewed for as long as this lives, whether or not the client reads, then
            ended. When its place is owed to another owner, the stream ends as with its longest life.
        first: what was just read of the log behind ``after``: it goes out at once, before anything is waited for.

    An outage of DynamoDB or Valkey delays what is yielded; a task that has been erased meanwhile raises `NotFound`.
    """
    stream = _Stream(task_id, after, until, pieces, first)
    keeping = asyncio.create_task(stream.keep(held)) if held is not None else None
    try:
        async for item in stream.run():
            yield item
    finally:
        if keeping is not None:
            keeping.cancel()
        await stream.close(held)


class _Stream:
    def __init__(self, task_id: str, after: Place, until: float, pieces: bool, first: Page | None) -> None:
        self._task_id = task_id
        self._first = first
        self._cursor = Cursor(after)
        self._until = until
        self._pieces = pieces
        self._ear = Ear(task_id)
        self._listener = listener()
        self._renew_at = 0.0
        self._piece_at = 0.0
        self._read_for = 0
        self._ended: str | None = None
        self._last = 0
        """Number of the run's last event, once it has ended."""
        self._displaced = False
        self._beginning: asyncio.Task[None] | None = None

    async def run(self) -> AsyncGenerator[LogEvent | KeepAlive | End]:
        quiet_since = time.monotonic()
        for item in self._taken(self._first) if self._first is not None else ():
            yield item
        if self._ended is None:  # of a run that has ended nothing more will be heard
            await self._begin_to_listen()
        look = self._ended is None
        while True:
            if look:
                for item in await self._read():
                    quiet_since = time.monotonic()
                    yield item
            if self._ended is not None:
                yield End(self._ended, min(self._cursor.place, Place(self._last), key=lambda place: place.seq))
                return
            at = time.monotonic()
            if at >= self._until or self._displaced:
                yield End(None, self._cursor.place)
                return
            if at - quiet_since >= KEEP_ALIVE_SECONDS:
                quiet_since = at
                yield KeepAlive()
            await self._go_on_listening(at)
            rest = LOOK_SECONDS if self._listener.well else DEAF_LOOK_SECONDS
            try:
                message = await self._ear.next(max(0.0, min(rest, self._until - at)))
            except TimeoutError:
                look = True
                continue
            if self._pieces and message is not None and message.piece is not None and not message.events:
                await asyncio.sleep(self._piece_at - time.monotonic())  # one in the past: at once
                self._piece_at = time.monotonic() + self._listener.streams / PIECES_PER_SECOND
                message = self._ear.newest(message)
            new, look = self._heard(message)
            for item in new:
                quiet_since = time.monotonic()
                yield item

    async def _begin_to_listen(self) -> None:
        self._beginning = asyncio.create_task(self._listen(self._listener.add))
        done, _ = await asyncio.wait([self._beginning], timeout=HEAR_FIRST_SECONDS)
        if not done:
            self._beginning.add_done_callback(lambda _: self._ear.hear(None))  # read again

    async def _go_on_listening(self, at: float) -> None:
        if self._beginning is not None:
            if not self._beginning.done():
                return
            self._beginning.result()
            self._beginning = None
        if at >= self._renew_at:
            await self._listen(self._listener.renew)

    async def keep(self, held: Held) -> None:
        """Renew the hold; when its place is owed to another, let the stream end."""
        while not self._displaced:
            await asyncio.sleep(HOLD_SECONDS)
            self._displaced = not await asyncio.to_thread(held.go_on)
        self._ear.hear(None)

    async def close(self, held: Held | None) -> None:
        if self._beginning is not None:
            self._beginning.cancel()  # its thread goes on, and finds the ear closed
        await asyncio.shield(asyncio.to_thread(self._leave, held))

    def _leave(self, held: Held | None) -> None:
        self._listener.remove(self._ear)
        if held is not None:
            held.end()

    async def _listen(self, how: object) -> None:
        assert callable(how)  # noqa: S101 - for the type checker
        self._renew_at = time.monotonic() + RENEW_SECONDS
        try:
            await asyncio.to_thread(how, self._ear)
        except RedisError as error:
            self._renew_at = time.monotonic() + DEAF_LOOK_SECONDS
            _log.info("nothing can be heard", extra={"task_id": self._task_id, "error": str(error)})

    async def _read(self) -> Sequence[LogEvent]:
        try:
            page: Page = await asyncio.to_thread(
                events.read, self._task_id, self._cursor.place.seq, most_bytes=PAGE_BYTES
            )
        except DependencyDown as error:
            _log.warning("log not read", extra={"task_id": self._task_id, "error": error.message})
            await asyncio.sleep(DEAF_LOOK_SECONDS)
            self._ear.hear(None)  # read again
            return ()
        return self._taken(page)

    def _taken(self, page: Page) -> Sequence[LogEvent]:
        new = [item for event in page.events if (item := self._cursor.take(event)) is not None]
        if page.full:
            self._ear.hear(None)
        elif page.task.status.terminal:
            if self._cursor.place.seq >= page.task.last_seq or not page.events:  # what is missing has expired
                self._ended = str(page.task.status)
                self._last = page.task.last_seq
            else:
                self._ear.hear(None)
        return new

    def _heard(self, message: Message | None) -> tuple[Iterator[LogEvent], bool]:
        """Return what a message brings, and whether the log has to be read."""
        if message is None or not (message.events or message.piece):
            return iter(()), True
        new: list[LogEvent] = []
        try:
            new += [item for event in message.events if (item := self._cursor.take(event)) is not None]
        except LookupError:
            return iter(new), True
        if message.piece is not None and self._pieces:
            try:
                item = self._cursor.take_piece(message.piece)
            except LookupError:
                # Once: what lies before it may be still on its way into the log.
                again = self._read_for < message.piece.seq
                self._read_for = message.piece.seq
                return iter(new), again
            new += [item] if item is not None else []
        return iter(new), False
