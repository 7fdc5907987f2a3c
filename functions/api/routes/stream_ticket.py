"""The way to live events for clients that cannot send a header: to the WebSocket API, or to one task's stream."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import unavailable
from functions.api.description.note import described
from functions.api.door.identity import Caller, Subject, own_task
from functions.api.live.sse import can_stream
from shared import tickets
from shared.settings import settings

router = APIRouter(tags=["live"])


@router.post("/stream-ticket", summary="Get a ticket for live events")
@described("Ticket", 401, 403, 404, 422)
def post_stream_ticket(
    request: Request,
    caller: Subject,
    task_id: Annotated[str | None, Query(description="Task whose stream the ticket is for.")] = None,
) -> JSONResponse:
    """Return a ticket for one WebSocket connection within a minute; connect to `url` with `?ticket=` and subscribe.

    With `task_id` it is one for that task's stream, for an hour; `url` is then whole, for `new EventSource(url)`.
    """
    if task_id is not None:
        return JSONResponse(_of_task(request, caller, task_id))
    if not settings().ws_url:
        raise unavailable("this deployment has no WebSocket API", 3600)
    shown = {"ticket": tickets.issue(caller.viewer), "url": settings().ws_url, "expires_in_s": tickets.TICKET_SECONDS}
    return JSONResponse(shown)


def _of_task(request: Request, caller: Caller, task_id: str) -> dict[str, str | int]:
    base = settings().stream_url.rstrip("/")
    if not base and not can_stream(request):
        raise unavailable("this deployment has no streaming address", 3600)
    base = base or str(request.base_url).rstrip("/")
    task = own_task(caller, task_id)
    ticket = tickets.issue_for(caller.viewer, task.task_id)
    url = f"{base}/result/{task.task_id}/stream?ticket={ticket}"
    return {"ticket": ticket, "url": url, "expires_in_s": tickets.FOLLOW_SECONDS}
