"""The environment's connections to pages, shared among owners and among their runs (`shared.limits.shares`).

A run alone may use all of them. When another wants one, it has its share at once; those of who has more come free by
themselves, and go to the owner that has fewest, and of its runs to the one that has fewest. Runs below their share are
let in above the capacity, but an owner's many runs leave a part of that to other owners.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import NamedTuple

import httpx2

from shared.limits.shares import OVERDRAFT, fair_share
from shared.traceparent import HEADER, OUTGOING

MOST = OVERDRAFT + 1
"""Most connections, as a multiple of the capacity: what is above `OVERDRAFT` times is for owners below their share."""


class Run(NamedTuple):
    """Whose connection it is."""

    owner: str
    task_id: str


NOBODY = Run("", "")
RUN: ContextVar[Run] = ContextVar("run", default=NOBODY)
"""Which run asks, in its asyncio task and those that it starts."""


class Pool:
    """Places for requests. Bound to one event loop."""

    def __init__(self, capacity: int) -> None:
        """Have so many, and up to `MOST` times as many for owners and runs below their share."""
        self._capacity = capacity
        self._uses: Counter[Run] = Counter()
        self._waiting: dict[Run, list[asyncio.Future[None]]] = {}

    async def take(self, run: Run) -> None:
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

    def leave(self, run: Run) -> None:
        """Give a place back; whoever waits and has fewest gets it."""
        self._uses[run] -= 1
        if not self._uses[run]:
            del self._uses[run]
        while (next_run := self._next()) is not None:
            place = self._waiting[next_run][0]
            self._forget(next_run, place)
            if not place.done():  # cancelled, and not yet told
                self._uses[next_run] += 1
                place.set_result(None)

    def _next(self) -> Run | None:
        there = [run for run in self._waiting if self._may(run)]
        owners = self._by_owner()
        return min(there, key=lambda run: (owners[run.owner], self._uses[run]), default=None)

    def _forget(self, run: Run, place: asyncio.Future[None]) -> None:
        places = self._waiting.get(run, [])
        if place in places:
            places.remove(place)
            if not places:
                del self._waiting[run]

    def _by_owner(self) -> Counter[str]:
        uses: Counter[str] = Counter()
        for run, used in self._uses.items():
            uses[run.owner] += used
        return uses

    def _may(self, run: Run) -> bool:
        total = self._uses.total()
        if total < self._capacity:
            return True
        there = self._uses.keys() | self._waiting.keys() | {run}
        share = fair_share(self._capacity, len({one.owner for one in there}))
        if self._by_owner()[run.owner] < share and len({one.owner for one in there}) > 1:
            return total < MOST * self._capacity
        mine = fair_share(share, sum(one.owner == run.owner for one in there))
        return self._uses[run] < mine and total < OVERDRAFT * self._capacity

    @asynccontextmanager
    async def place(self, run: Run) -> AsyncIterator[None]:
        """Hold a place for as long as this lasts."""
        await self.take(run)
        try:
            yield
        finally:
            self.leave(run)


class SharedTransport(httpx2.AsyncBaseTransport):
    """A transport whose requests hold a place each, from before they connect until their answer is closed."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, capacity: int) -> None:
        self._inner = inner
        self._pool = Pool(capacity)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request when its run has a place for it."""
        run = RUN.get()
        if (place := OUTGOING.get()) is not None:
            request.headers.setdefault(HEADER, place)
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
