"""Submit, list and cancel tasks."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.requests import IDEMPOTENCY_KEY_CHARACTERS, PAGE_TASKS, AgentRequest, StatusName
from functions.api.description.note import TAKEN_ON, described
from functions.api.door.body import RawBody, parse
from functions.api.door.identity import AnyCaller, Subject, own_task
from functions.api.read import accepted
from functions.api.submit.repeats import idempotency_of
from functions.api.submit.submission import wanted_of
from functions.api.submit.taking import submit
from shared.tasks import listing
from shared.tasks.items import listed_under

router = APIRouter(tags=["tasks"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=IDEMPOTENCY_KEY_CHARACTERS,
        pattern=r"^[ -~]+$",
        description="Makes a repeat safe for a day.",
    ),
]
_EXAMPLE = {
    "message": "What is 17 * 23?",
    "agent": "tools",
    "session_id": "homework",
    "metadata": {"class": "4b"},
}


@router.post(
    "/agent",
    status_code=202,
    summary="Submit a message",
)
@described(
    "Accepted",
    *(401, 402, 403, 409, 413, 422, 429),
    also=TAKEN_ON,
    takes=AgentRequest,
    example=_EXAMPLE,
)
def post_agent(
    request: Request,
    caller: AnyCaller,
    body: RawBody,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Take a message on and answer at once; the run itself is watched through its task."""
    asked = parse(AgentRequest, body, request.headers.get("content-type"))
    idempotency = idempotency_of(idempotency_key, asked.model_dump(exclude_unset=True), place="agent")
    wanted = wanted_of(asked)
    receipt = submit(caller.acting_for(asked.user_id), wanted, idempotency=idempotency, trace=request.state.trace)
    return accepted.taken_on(request, receipt)


@router.get("/agent", summary="List tasks")
@described("TaskList", 401, 403, 404, 422)
def list_agent(
    caller: Subject,
    limit: Annotated[int, Query(ge=1, le=PAGE_TASKS)] = 20,
    cursor: Annotated[str | None, Query(max_length=2048, description="From `next_cursor`.")] = None,
    status: Annotated[StatusName | None, Query()] = None,
    batch_id: Annotated[
        str | None, Query(max_length=64, description="The lines of a batch, which else are left out.")
    ] = None,
) -> JSONResponse:
    """List the caller's tasks, newest first. The index lags behind by a moment."""
    from functions.api.read import show  # here: it takes all that a task can show with it

    where = caller.user
    if batch_id is not None:
        from shared.bulk import store as batches  # here: few lists are of batches

        where = listed_under(where, batches.load(where, batch_id).batch_id)
    found, more = listing.list_tasks(where, limit=limit, cursor=cursor, status=status)
    return JSONResponse({"tasks": [show.summary(item) for item in found], "next_cursor": more})


@router.post(
    "/agent/{task_id}/cancel",
    status_code=202,
    summary="Cancel a task",
)
@described(
    "Accepted",
    *(401, 403, 404, 409, 422),
    also={
        200: {"model": "Accepted", "description": "It has ended: cancelled, or as it was before."},
        202: {"description": "Its worker was asked to stop; it ends within a heartbeat."},
    },
)
def cancel_agent(caller: Subject, task_id: str) -> JSONResponse:
    """Cancel a task: at once while it is queued, else through its worker. Repeating it is harmless."""
    from functions.api.control import cancel  # here: it takes all of a task's end with it

    task = cancel.cancel(own_task(caller, task_id))
    return JSONResponse(accepted.state(task), 200 if task.status.terminal else 202)
