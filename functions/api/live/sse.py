"""Server-sent events, as clients really read them.

A block always has data: `openai`'s reader takes a block without any for an event, and `EventSource` drops it. A comment
is therefore never a block of its own: it ends with one line break, and the next block follows on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

from shared.tasks.model import dumps

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from starlette.requests import Request

KEEP_ALIVE = b": keep-alive\n"
STREAMING = "sluice.streaming"
"""Key of the ASGI scope that the streaming address sets."""


def block(data: dict[str, Any], *, event: str = "", id_: str = "", retry_ms: int | None = None) -> bytes:
    """Encode one event. JSON has no raw line break, so one ``data`` line is enough."""
    lines = [f"id: {id_}"] if id_ else []
    lines += [f"event: {event}"] if event else []
    lines += [f"retry: {retry_ms}"] if retry_ms is not None else []
    return "\n".join([*lines, f"data: {dumps(data)}", "", ""]).encode()


def can_stream(request: Request) -> bool:
    """Tell whether an answer to this request reaches its client as it is written: not through the HTTP API."""
    return bool(request.scope.get(STREAMING, "aws.event" not in request.scope))


def response(blocks: AsyncIterable[bytes]) -> StreamingResponse:
    """Answer with a stream of blocks."""
    headers = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
    return StreamingResponse(blocks, media_type="text/event-stream", headers=headers)
