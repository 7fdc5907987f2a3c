"""A model call whose text its agent reads while it is written. It is a step like any other: recorded at its end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Self

from sluice.types import ModelReply


class ModelStream:
    """One call under way. Iterate over its pieces of text, then take the whole ``reply()``; or only that."""

    def __init__(self, make: Callable[[Callable[[str], None]], Coroutine[Any, Any, ModelReply]]) -> None:
        """Begin at once, so that steps keep their order; ``make`` is given who hears the pieces."""
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._heard = False
        loop = asyncio.get_running_loop()
        self._call: asyncio.Task[ModelReply] = asyncio.Task(self._go(make), loop=loop, eager_start=True)
        self._call.add_done_callback(_seen)

    async def _go(self, make: Callable[[Callable[[str], None]], Coroutine[Any, Any, ModelReply]]) -> ModelReply:
        try:
            reply = await make(self._hear)
            if not self._heard and reply.content:  # recorded before: it comes in one piece
                self._hear(reply.content)
            return reply
        finally:
            self._pieces.put_nowait(None)

    def _hear(self, piece: str) -> None:
        self._heard = True
        self._pieces.put_nowait(piece)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """Return the next piece.

        Raises:
            StopAsyncIteration: there is none.
            ModelError, BudgetExhausted: as of ``Context.model``.
        """
        piece = await self._pieces.get()
        if piece is None:
            self._pieces.put_nowait(None)  # whoever asks again is told the same
            await self._call
            raise StopAsyncIteration
        return piece

    async def reply(self) -> ModelReply:
        """Wait for the whole reply. Whoever does not, and returns, has the call cut off and charged."""
        return await self._call


def _seen(call: asyncio.Task[ModelReply]) -> None:
    """Look at a failure that nobody may wait for."""
    if not call.cancelled():
        call.exception()
