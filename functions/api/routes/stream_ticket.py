"""The way into the WebSocket API for clients that cannot send a header with it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from functions.api.described import described
from functions.api.errors import unavailable
from functions.api.identity import AUTHENTICATED, Subject
from shared import tickets
from shared.settings import settings

router = APIRouter(tags=["live"], dependencies=AUTHENTICATED)


@router.post("/stream-ticket", summary="Get a WebSocket ticket")
@described("Ticket", 401, 403, 422)
def post_stream_ticket(caller: Subject) -> JSONResponse:
    """Return a ticket for one connection within a minute; connect to `url` with `?ticket=` and subscribe to tasks."""
    if not settings().ws_url:
        raise unavailable("this deployment has no WebSocket API", 3600)
    shown = {"ticket": tickets.issue(caller.viewer), "url": settings().ws_url, "expires_in_s": tickets.TICKET_SECONDS}
    return JSONResponse(shown)
