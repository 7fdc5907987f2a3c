"""OpenAI's stored chat completions: those made with ``store: true`` are listed, read, described anew and deleted."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem
from functions.api.contract.requests import Metadata, Strict
from functions.api.description.note import described
from functions.api.dialect import forget, stored_chats
from functions.api.dialect.items import page_from, page_of
from functions.api.door.body import RawBody, parse
from functions.api.door.identity import AnyCaller
from functions.api.routes.response_parts import After, Limit
from shared.tasks.stored_chats import describe

router = APIRouter(prefix="/v1/chat/completions", tags=["OpenAI dialect"])

CompletionId = Annotated[str, Path(description="`chatcmpl-…`")]
Order = Annotated[Literal["asc", "desc"], Query()]


class CompletionUpdate(Strict):
    """Other metadata for a stored completion; null: none."""

    metadata: Metadata | None


@router.get("", summary="List stored chat completions")
@described("StoredCompletions", 400, 401, error="OpenAIErrorBody")
def list_completions(
    request: Request,
    caller: AnyCaller,
    limit: Limit = 20,
    order: Order = "asc",
    after: After = None,
    model: Annotated[str | None, Query(max_length=256, description="Those of this model only.")] = None,
) -> JSONResponse:
    """List the completions that were made with `store: true` and are complete, the oldest first if not asked otherwise.

    `metadata[KEY]=VALUE` leaves out those that do not have it.
    """
    asked = {name[9:-1]: value for name, value in request.query_params.items() if name.startswith("metadata[")}
    found = stored_chats.listed(caller, order=order, after=after, model=model, metadata=asked)
    return JSONResponse(page_from(found, limit))


@router.get("/{completion_id}", summary="Retrieve a stored chat completion")
@described("StoredCompletion", 401, 404, error="OpenAIErrorBody")
def get_completion(caller: AnyCaller, completion_id: CompletionId) -> JSONResponse:
    """Return a completion that was made with `store: true`."""
    return JSONResponse(stored_chats.shown(stored_chats.own(caller, completion_id)))


@router.post("/{completion_id}", summary="Update a stored chat completion")
@described("StoredCompletion", 400, 401, 404, error="OpenAIErrorBody", takes=CompletionUpdate)
def update_completion(request: Request, caller: AnyCaller, completion_id: CompletionId, body: RawBody) -> JSONResponse:
    """Replace a stored completion's metadata."""
    asked = parse(CompletionUpdate, body, request.headers.get("content-type"))
    task = describe(stored_chats.own(caller, completion_id), asked.metadata or {})
    return JSONResponse(stored_chats.shown(task or stored_chats.own(caller, completion_id)))


@router.delete("/{completion_id}", summary="Delete a stored chat completion")
@described("CompletionDeleted", 401, 404, 409, error="OpenAIErrorBody")
def delete_completion(caller: AnyCaller, completion_id: CompletionId) -> JSONResponse:
    """Delete a stored completion with its task."""
    found = stored_chats.find(caller, completion_id)
    if found is not None and not found.status.terminal:
        message = f"The run of '{completion_id}' has not ended: cancel it first (POST /agent/{found.task_id}/cancel)."
        raise Problem(409, "response_in_progress", message, "completion_id", headers={"x-should-retry": "false"})
    forget.forget(stored_chats.own(caller, completion_id))
    return JSONResponse({"id": completion_id, "object": "chat.completion.deleted", "deleted": True})


@router.get("/{completion_id}/messages", summary="List a stored chat completion's messages")
@described("ItemList", 400, 401, 404, error="OpenAIErrorBody")
def list_messages(
    caller: AnyCaller, completion_id: CompletionId, limit: Limit = 20, order: Order = "asc", after: After = None
) -> JSONResponse:
    """List the messages that a stored completion was asked with, the first first if not asked otherwise."""
    messages = stored_chats.messages(stored_chats.own(caller, completion_id))
    return JSONResponse(page_of(messages, limit=limit, order=order, after=after))
