"""The environment's connections to pages, shared among its runs (`shared.limits.shares`).

A run alone may use all of them. When another wants one, it has its share at once; those of who has more come free by
themselves, and go to the run that has fewest.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import httpx2

from shared.limits.shares import first, may_take

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

RUN: ContextVar[str] = ContextVar("run", default="")
"""Which run asks, in its asyncio task and those that it starts."""


class Pool:
    """Places for requests. Bound to one event loop."""

    def __init__(self, capacity: int) -> None:
        """Have so many, and as many again for runs below their share."""
        self._capacity = capacity
        self._uses: Counter[str] = Counter()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    async def take(self, run: str) -> None:
        """Take a place; waits for one."""
        if run not in self._waiting and self._may(run):
            self._uses[run] += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run, []).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave(run)  # it had just been given one
            else:
                self._forget(run, place)
            raise

    def leave(self, run: str) -> None:
        """Give a place back; whoever waits and has fewest gets it."""
        self._uses[run] -= 1
        if not self._uses[run]:
            del self._uses[run]
        while (next_run := first([one for one in self._waiting if self._may(one)], self._uses)) is not None:
            place = self._waiting[next_run][0]
            self._forget(next_run, place)
            if not place.done():  # cancelled, and not yet told
                self._uses[next_run] += 1
                place.set_result(None)

    def _forget(self, run: str, place: asyncio.Future[None]) -> None:
        places = self._waiting.get(run, [])
        if place in places:
            places.remove(place)
            if not places:
                del self._waiting[run]

    def _may(self, run: str) -> bool:
        there = len(self._uses.keys() | self._waiting.keys() | {run})
        return may_take(self._uses[run], self._uses.total(), there, self._capacity)

    @asynccontextmanager
    async def place(self, run: str) -> AsyncIterator[None]:
        """Hold a place for as long as this lasts."""
        await self.take(run)
        try:
            yield
        finally:
            self.leave(run)


class SharedTransport(httpx2.AsyncBaseTransport):
    """A transport whose requests hold a place each, from before they connect until their answer is closed."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, capacity: int) -> None:
        """Wrap another transport."""
        self._inner = inner
        self._pool = Pool(capacity)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request when its run has a place for it."""
        run = RUN.get()
        await self._pool.take(run)
        try:
            answer = await self._inner.handle_async_request(request)
        except BaseException:
            self._pool.leave(run)
            raise
        if answer.is_closed:  # it came in one piece
            self._pool.leave(run)
            return answer
        assert isinstance(answer.stream, httpx2.AsyncByteStream)  # noqa: S101 - for the type checker
        answer.stream = _Stream(answer.stream, lambda: self._pool.leave(run))
        return answer

    async def aclose(self) -> None:
        """Close what is open."""
        await self._inner.aclose()


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, closed: Callable[[], None]) -> None:
        self._inner = inner
        self._closed: Callable[[], None] | None = closed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._inner.aclose()
        finally:
            closed, self._closed = self._closed, None
            if closed is not None:
                closed()
