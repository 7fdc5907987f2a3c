"""A run's events as they happen, for `EventSource` and whoever else reads server-sent events."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response

from functions.api.contract.problem import Problem, invalid
from functions.api.description.note import described
from functions.api.door.identity import caller_of
from functions.api.live import sse
from functions.api.live.following import PAGE_BYTES, follow, life
from functions.api.live.sequence import End, KeepAlive, LogEvent, Place, place
from functions.api.read.hold import Held
from shared import tickets
from shared.errors import DependencyDown, NotFound
from shared.settings import settings
from shared.tasks import events
from shared.tasks.events import Page
from shared.tasks.ids import well_formed

BUSY_RETRY_MS = 5_000
"""When a client that found the door busy, or no service behind it, comes again."""
AGAIN_RETRY_MS = 200
"""When one comes again whose stream has lived as long as it may."""
ENDED_RETRY_MS = 60_000
"""When one comes again that does not know that the run has ended; `EventSource` knows no end of its own."""

_ANSWER = {"description": "Server-sent events; `data` of each is JSON.", "content": {"text/event-stream": {}}}
router = APIRouter(prefix="/result", tags=["live"])


@router.get("/{task_id}/stream", summary="Follow a task's events live")
@described("StreamedEvent", 400, 401, 404, 422, also={200: _ANSWER})
def get_stream(
    request: Request,
    task_id: str,
    after: Annotated[str, Query(description="Place behind which to begin: an `id` of the stream, or 0.")] = "",
    last_event_id: Annotated[str, Header(description="The same; `EventSource` sends it by itself.")] = "",
    ticket: Annotated[str, Query(description="Of `POST /stream-ticket?task_id=`, in place of a key.")] = "",
) -> Response:
    """Stream the events behind a place, then those that happen, as server-sent events.

    Each event of the log is one message with the `id` of its place; text may come in parts before it is stored, with
    `"partial": true`. The last message is `end`, or `again` (or `busy`) when the client is to come again.
    """
    if not sse.can_stream(request):
        where = f": {settings().stream_url}" if settings().stream_url else ""
        raise Problem(400, "not_streamable", f"this address cannot stream; use the streaming address{where}")
    try:
        begin = place(last_event_id or after or "0")
    except ValueError as error:
        raise invalid(str(error), "Last-Event-ID" if last_event_id else "after") from None
    try:
        user, page = _log(request, task_id, ticket, begin)
    except DependencyDown:
        return sse.response(_busy("a service that this needs is away"), until=time.monotonic())
    held = Held(user, {})
    if not held.go_on():
        return sse.response(_busy("too many requests are held open"), until=time.monotonic())
    until = time.monotonic() + life(request)
    return sse.response(_blocks(task_id, begin, page, until=until, held=held), until=until, held=held)


def _log(request: Request, task_id: str, ticket: str, begin: Place) -> tuple[str, Page]:
    """Return whose hold the stream is, if whoever asks may see the task, and what is stored behind the place.

    Raises:
        Problem: 401.
        NotFound: no such task, or somebody else's.
    """
    if ticket:
        viewer = tickets.follower(ticket, task_id)
        if viewer is None:
            raise Problem(401, "invalid_ticket", "this ticket is not known, of another task, or too old")
    else:
        viewer = caller_of(request).viewer
    if not well_formed(task_id):
        raise NotFound("no such task")
    page = events.read(task_id, begin.seq, most_bytes=PAGE_BYTES)
    if not viewer.owns(page.task.user):
        raise NotFound("no such task")
    return viewer.user, page


async def _busy(why: str) -> AsyncGenerator[bytes]:
    """Say to come again. A refusal by status would make `EventSource` give up for good."""
    yield sse.block({"reason": why}, event="busy", retry_ms=BUSY_RETRY_MS)


async def _blocks(task_id: str, begin: Place, page: Page, *, until: float, held: Held) -> AsyncGenerator[bytes]:
    yield sse.KEEP_ALIVE  # at once: the headers reach the client with it
    async with aclosing(follow(task_id, begin, until=until, held=held, first=page)) as items:
        async for item in items:
            yield _block(item)


def _block(item: LogEvent | KeepAlive | End) -> bytes:
    if isinstance(item, KeepAlive):
        return sse.KEEP_ALIVE
    if isinstance(item, LogEvent):
        shown = item.event.public() | ({} if item.whole else {"partial": True})
        return sse.block(shown, id_=str(item.place))
    if item.status is None:
        return sse.block({"after": str(item.place)}, event="again", retry_ms=AGAIN_RETRY_MS)
    return sse.block({"status": item.status, "last_seq": item.place.seq}, event="end", retry_ms=ENDED_RETRY_MS)
