"""What one stream hears of its task, kept for it until it has time to listen."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.live import Message

HEARD_MESSAGES = 200
"""Messages that wait for a stream whose client reads slowly; then they are dropped, and it reads the log."""


class Ear:
    """What one stream hears of its task. Made inside the event loop that reads it."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self._loop = asyncio.get_running_loop()
        self.closed = False
        self._heard: deque[Message | None] = deque()
        self._news = asyncio.Event()

    def hear(self, message: Message | None) -> None:
        """Take a message, from any thread; None: something may have been missed."""
        try:
            self._loop.call_soon_threadsafe(self._take, message)
        except RuntimeError:  # the loop is closed, and nobody reads any more
            return

    def _take(self, message: Message | None) -> None:
        last = self._heard[-1] if self._heard else None
        if last is not None and message is not None and message.supersedes(last):
            self._heard.pop()  # its client reads more slowly than text comes
        if len(self._heard) >= HEARD_MESSAGES:
            self._heard.clear()
            message = None
        self._heard.append(message)
        self._news.set()

    async def next(self, seconds: float) -> Message | None:
        """Return the next message; None when something may have been missed.

        Raises:
            TimeoutError: there was none for so long.
        """
        while not self._heard:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), seconds)
        return self._heard.popleft()

    def newest(self, message: Message | None) -> Message | None:
        """Return what has been heard since that says all that a message does, or the message."""
        while message is not None and self._heard and (later := self._heard[0]) is not None:
            if not later.supersedes(message):
                break
            message = self._heard.popleft()
        return message
