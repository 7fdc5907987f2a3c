"""The rest of OpenAI's Responses: delete one, list its input, count an input's tokens."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem
from functions.api.description.note import described
from functions.api.dialect import before, forget
from functions.api.dialect.items import PAGE_ITEMS, given, page_of
from functions.api.dialect.request import ResponsesRequest, checked
from functions.api.dialect.turn import submission_of
from functions.api.door.body import LargeBody, decode
from functions.api.door.identity import AnyCaller
from functions.api.routes.responses import ResponseId
from functions.api.submit.submission import FRAME_BYTES
from shared.tasks.model import dumps

router = APIRouter(prefix="/v1", tags=["OpenAI dialect"])

BYTES_A_TOKEN = 4
"""An English text has about four bytes a token; what is counted is an estimate, as only the provider knows."""

Limit = Annotated[int, Query(ge=1, le=PAGE_ITEMS)]
Order = Annotated[Literal["asc", "desc"], Query()]
After = Annotated[str | None, Query(max_length=128, description="Id of the item before the page.")]
Include = Annotated[list[str] | None, Query(description="Of no effect: items come whole.")]


@router.post("/responses/input_tokens", summary="Count an input's tokens")
@described("InputTokens", 400, 401, 404, error="OpenAIErrorBody", takes=ResponsesRequest)
def count_input_tokens(request: Request, caller: AnyCaller, body: LargeBody) -> JSONResponse:
    """Estimate the tokens of what a model would read, by its size; nothing is run or charged."""
    asked = checked(ResponsesRequest, decode(body, request.headers.get("content-type")))
    wanted = submission_of(caller, asked)
    told: list[Any] = [wanted.params.get(name) for name in ("instructions", "tools", "options")]
    size = wanted.text_bytes + len(dumps(told).encode()) + FRAME_BYTES
    tokens = -(-size // BYTES_A_TOKEN) + before.IMAGE_TOKENS * len(wanted.inline)
    if asked.previous_response_id is not None:  # the provider counted what came before
        tokens += before.previous(caller, asked.previous_response_id).usage.tokens
    return JSONResponse({"object": "response.input_tokens", "input_tokens": tokens})


@router.delete("/responses/{response_id}", summary="Delete a response")
@described("ResponseDeleted", 401, 404, 409, error="OpenAIErrorBody")
def delete_response(caller: AnyCaller, response_id: ResponseId) -> JSONResponse:
    """Delete a response that has ended, with its task and its turn of a conversation."""
    task = before.own_response(caller, response_id)
    if not task.status.terminal:
        message = f"Response '{response_id}' has not ended: cancel it first."
        raise Problem(409, "response_in_progress", message, "id", headers={"x-should-retry": "false"})
    forget.forget(task)
    return JSONResponse({"id": response_id, "object": "response", "deleted": True})


@router.get("/responses/{response_id}/input_items", summary="List a response's input")
@described("ItemList", 400, 401, 404, error="OpenAIErrorBody")
def list_input_items(
    caller: AnyCaller,
    response_id: ResponseId,
    limit: Limit = 20,
    order: Order = "desc",
    after: After = None,
    include: Include = None,
) -> JSONResponse:
    """List the items that a response was asked with, those that answered its predecessor's calls first."""
    items = given(before.own_response(caller, response_id))
    return JSONResponse(page_of(items, limit=limit, order=order, after=after))
