"""OpenAI's Responses: create, retrieve and cancel, whole or as a stream."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.api.control import cancel
from functions.api.description.note import described
from functions.api.dialect import before, runs
from functions.api.dialect.request import ResponsesRequest, checked
from functions.api.dialect.response import response_of
from functions.api.dialect.stream import ResponseStream, after, encode
from functions.api.dialect.turn import submission_of
from functions.api.door.body import LargeBody, decode
from functions.api.door.identity import AnyCaller, Caller
from functions.api.routes.agent import IdempotencyKey
from shared.tasks import store
from shared.tasks.events import Event, Page
from shared.tasks.ids import MAX_SEQ
from shared.tasks.model import Task

router = APIRouter(prefix="/v1", tags=["OpenAI dialect"])

_EXAMPLE = {"model": "gpt-4o-mini", "input": "Write a haiku about queues."}
_STREAM = {
    200: {"description": "The response object; with `stream`, its events.", "content": {"text/event-stream": {}}}
}
HOW = "Retrieve it with GET /v1/responses/{}, or make such requests with background=true."

ResponseId = Annotated[str, Path(description="`resp_…`")]


@router.post("/responses", summary="Create a response")
@described(
    "ResponseView",
    *(400, 401, 402, 403, 404, 409, 413, 429, 504),
    error="OpenAIErrorBody",
    also=_STREAM,
    takes=ResponsesRequest,
    example=_EXAMPLE,
)
def post_responses(
    request: Request,
    caller: AnyCaller,
    body: LargeBody,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run an agent on the input. The answer comes at once with `background`, as it is written with `stream`, or whole.

    A whole answer is held to its end at the streaming address; elsewhere for 25 s, then 504 names the response.
    """
    value = decode(body, request.headers.get("content-type"))
    asked = checked(ResponsesRequest, value)
    if asked.stream:
        runs.must_stream(request)
    caller = runs.acting(caller, asked.user)
    task, headers = runs.run(
        request,
        caller,
        lambda: submission_of(caller, asked),
        place="responses",
        body=value,
        key=idempotency_key,
    )
    if asked.stream:
        return _streamed(request, caller, task, None, headers)
    if asked.background:
        return JSONResponse(response_of(task), headers=headers)
    shown = f"resp_{task.task_id}"
    task = runs.answered(request, caller, task, headers, shown, HOW.format(shown))
    return JSONResponse(response_of(task), headers=headers)


@router.get("/responses/{response_id}", summary="Retrieve a response")
@described("ResponseView", 400, 401, 404, error="OpenAIErrorBody", also=_STREAM)
def get_response(
    request: Request,
    caller: AnyCaller,
    response_id: ResponseId,
    stream: Annotated[bool, Query(description="Its events from the first, or from `starting_after`.")] = False,
    starting_after: Annotated[
        int | None, Query(ge=0, le=MAX_SEQ, description="Number of the last event that you have.")
    ] = None,
) -> Response:
    """Return a response as it now is, or its events as they come."""
    if not stream:
        return JSONResponse(response_of(before.own_response(caller, response_id)))
    page = before.own_log(caller, response_id)
    runs.must_stream(request)
    return _streamed(request, caller, page.task, starting_after, {}, page)


@router.post("/responses/{response_id}/cancel", summary="Cancel a response")
@described("ResponseView", 401, 404, 409, error="OpenAIErrorBody")
def cancel_response(request: Request, caller: AnyCaller, response_id: ResponseId) -> JSONResponse:
    """Cancel a response; when it is running, wait for its worker to stop (a heartbeat, 25 s at most)."""
    headers: dict[str, str] = {}
    task = cancel.cancel(before.own_response(caller, response_id))
    if not task.status.terminal:
        task = runs.await_end(request, caller, task, headers)
    return JSONResponse(response_of(task), headers=headers)


def _streamed(
    request: Request,
    caller: Caller,
    task: Task,
    number: int | None,
    headers: dict[str, str],
    first: Page | None = None,
) -> Response:
    made = ResponseStream(task, lambda: task if task.status.terminal else store.get(task.task_id))

    def encoded(event: Event) -> str:
        blocks = after(made.take(event), number)
        if made.ended and number is not None and (past := made.past_the_end(number)):
            blocks.append(past)
        return "".join(encode(block) for block in blocks)

    return runs.server_sent(request, caller, task, encoded, headers, pieces=False, first=first)
