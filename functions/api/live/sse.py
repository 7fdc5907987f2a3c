"""Server-sent events, as clients really read them.

A block always has data: `openai`'s reader takes a block without any for an event, and `EventSource` drops it. A comment
is therefore never a block of its own: it ends with one line break, and the next block follows on it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Send

from shared.logs import get_logger
from shared.tasks.model import dumps_line

if TYPE_CHECKING:
    from functions.api.read.hold import Held

MEDIA_TYPE = "text/event-stream"
GRACE_SECONDS = 3.0
"""How long a stream that is over may take to say so. Its client may read slowly, or nothing at all."""
LOOK_SECONDS = 1.0
"""How often it is seen whether a stream's place was lost."""
KEEP_ALIVE = b": keep-alive\n"
STREAMING = "sluice.streaming"
"""Key of the ASGI scope that the streaming address sets."""

_log = get_logger("live")


def block(data: dict[str, Any], *, event: str = "", id_: str = "", retry_ms: int | None = None) -> bytes:
    """Encode one event, with one line of data."""
    lines = [f"id: {id_}"] if id_ else []
    lines += [f"event: {event}"] if event else []
    lines += [f"retry: {retry_ms}"] if retry_ms is not None else []
    return "\n".join([*lines, f"data: {dumps_line(data)}", "", ""]).encode()


def can_stream(request: Request) -> bool:
    """Tell whether an answer to this request reaches its client as it is written: not through the HTTP API."""
    return bool(request.scope.get(STREAMING, "aws.event" not in request.scope))


def response(blocks: AsyncGenerator[bytes], *, until: float, held: Held | None = None) -> StreamingResponse:
    """Answer with a stream of blocks that ends by itself ``until`` then (monotonic clock), or when ``held`` is lost."""
    return Lasting(blocks, until, held)


class Lasting(StreamingResponse):
    """A stream that is over in time whether or not its client reads it.

    A client that stays and takes nothing blocks whoever writes to it, and so keeps the code that looks at the clock
    from running. On Lambda that would keep an environment, and be billed, for the function's whole time.
    """

    def __init__(self, blocks: AsyncGenerator[bytes], until: float, held: Held | None) -> None:
        headers = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
        super().__init__(blocks, media_type=MEDIA_TYPE, headers=headers)
        self._blocks = blocks
        self._until = until
        self._held = held

    async def stream_response(self, send: Send) -> None:
        """Write the stream; a part of it only when its time is over."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(loop.time() + self._until - time.monotonic() + GRACE_SECONDS) as limit:
                watching = asyncio.create_task(self._watch(limit)) if self._held is not None else None
                try:
                    await super().stream_response(send)
                finally:
                    if watching is not None:
                        watching.cancel()
                    await self._blocks.aclose()  # what it holds is given back now, not when it is collected
        except TimeoutError:
            if not limit.expired():
                raise
            _log.warning("a stream was not read to its end")

    async def _watch(self, limit: asyncio.Timeout) -> None:
        while self._held is not None and not self._held.lost:  # noqa: ASYNC110 - it is lost in a thread
            await asyncio.sleep(LOOK_SECONDS)
        limit.reschedule(asyncio.get_running_loop().time() + GRACE_SECONDS)
