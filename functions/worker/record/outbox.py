"""What an environment's runs tell live listeners, gathered: a few round trips a second to Valkey, however many runs.

Nothing waits for it and nothing depends on it: who misses a message finds its text in the log.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Protocol

from shared import live
from shared.logs import get_logger
from shared.tasks.events import Event
from shared.valkey import RedisError

PIECES_SECONDS = 0.03
"""Least time between two pieces of one run's text."""
PIECES_PER_SECOND = 800
"""Pieces of all runs of the environment: the more runs are streamed at once, the more text one piece holds."""
KEPT_MESSAGES = 5000
"""Messages that wait for Valkey; further ones are dropped."""

_log = get_logger("outbox")


class Source(Protocol):
    """A run that writes text."""

    def listeners(self) -> tuple[str, ...]:
        """Return who listens."""

    def piece(self) -> Event | None:
        """Return the text that may be told now, or None."""


class Outbox:
    """Sends messages one trip at a time. Bound to one event loop."""

    def __init__(self, send: Callable[[list[tuple[str, str]]], None] = live.publish) -> None:
        """Start empty; ``send`` blocks, and runs in a thread."""
        self._send = send
        self._messages: list[tuple[str, str]] = []
        self._writing: dict[Source, str] = {}
        self._sender: asyncio.Task[None] | None = None
        self._now = asyncio.Event()

    def tell(self, task_id: str, events: Iterable[Event] = ()) -> None:
        """Tell a task's listeners of events that are stored; without any, to read the log."""
        if len(self._messages) < KEPT_MESSAGES:
            self._messages.append((task_id, live.encode(task_id, list(events))))
        self._now.set()
        self._go()

    def writes(self, source: Source, task_id: str) -> None:
        """Note that a run has new text; it is asked for it soon."""
        self._writing[source] = task_id
        self._go()

    def _go(self) -> None:
        if self._sender is None or self._sender.done():
            # In a context of its own: what is logged on the way is not one run's.
            self._sender = asyncio.create_task(self._run(), context=Context())

    async def _run(self) -> None:
        while self._messages or self._writing:
            if not self._messages:
                await self._pause(max(PIECES_SECONDS, len(self._writing) / PIECES_PER_SECOND))
            self._now.clear()
            batch, self._messages = self._messages, []
            writing, self._writing = self._writing, {}
            for source, task_id in writing.items():
                piece = source.piece()
                if piece is not None and source.listeners():
                    batch.append((task_id, live.encode(task_id, piece=piece)))
            if not batch:
                continue
            try:
                await asyncio.to_thread(self._send, batch)
            except RedisError as error:
                _log.warning("listeners not told", extra={"messages": len(batch), "error": str(error)})

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until something is stored."""
        try:
            await asyncio.wait_for(self._now.wait(), seconds)
        except TimeoutError:
            return
