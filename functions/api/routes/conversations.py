"""OpenAI's conversations: each is a session with a name of its own, used by `conversation` of a response."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem
from functions.api.contract.requests import Metadata, Strict
from functions.api.description.note import described
from functions.api.dialect import before, conversations
from functions.api.dialect.items import page_of, showable
from functions.api.dialect.messages import chat_messages
from functions.api.door.body import LargeBody, parse
from functions.api.door.identity import AnyCaller, Caller
from functions.api.routes.response_parts import After, Include, Limit, Order

router = APIRouter(prefix="/v1/conversations", tags=["OpenAI dialect"])

ITEMS = 20
"""Most items of one call; OpenAI's own bound."""

ConversationId = Annotated[str, Path(description="`conv_…`")]
ItemId = Annotated[str, Path()]


class ConversationRequest(Strict):
    """A conversation to begin."""

    items: Annotated[list[dict[str, Any]] | None, Field(max_length=ITEMS)] = None
    metadata: Metadata | None = None


class ConversationUpdate(Strict):
    """Other metadata for a conversation; null: none."""

    metadata: Metadata | None


class ItemsRequest(Strict):
    """Items to add to a conversation."""

    items: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=ITEMS)]


@router.post("", summary="Begin a conversation")
@described("ConversationView", 400, 401, error="OpenAIErrorBody", takes=ConversationRequest)
def create_conversation(request: Request, caller: AnyCaller, body: LargeBody) -> JSONResponse:
    """Begin a conversation, with items if there are any yet."""
    asked = parse(ConversationRequest, body or b"{}", request.headers.get("content-type"))
    messages = _messages(caller, asked.items) if asked.items else []
    made = conversations.create(caller, asked.metadata or {})
    if messages:
        conversations.add(caller, made.id, messages)
    return JSONResponse(made.public())


@router.get("/{conversation_id}", summary="Retrieve a conversation")
@described("ConversationView", 401, 404, error="OpenAIErrorBody")
def get_conversation(caller: AnyCaller, conversation_id: ConversationId) -> JSONResponse:
    """Return a conversation."""
    return JSONResponse(conversations.own(caller, conversation_id).public())


@router.post("/{conversation_id}", summary="Update a conversation")
@described("ConversationView", 400, 401, 404, error="OpenAIErrorBody", takes=ConversationUpdate)
def update_conversation(
    request: Request, caller: AnyCaller, conversation_id: ConversationId, body: LargeBody
) -> JSONResponse:
    """Replace a conversation's metadata."""
    asked = parse(ConversationUpdate, body, request.headers.get("content-type"))
    return JSONResponse(conversations.update(caller, conversation_id, asked.metadata or {}).public())


@router.delete("/{conversation_id}", summary="Delete a conversation")
@described("ConversationDeleted", 401, 404, error="OpenAIErrorBody")
def delete_conversation(caller: AnyCaller, conversation_id: ConversationId) -> JSONResponse:
    """Delete a conversation and its items; responses made in it stay."""
    conversations.delete(caller, conversation_id)
    return JSONResponse({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


@router.get("/{conversation_id}/items", summary="List a conversation's items")
@described("ItemList", 400, 401, 404, error="OpenAIErrorBody")
def list_items(
    caller: AnyCaller,
    conversation_id: ConversationId,
    limit: Limit = 20,
    order: Order = "desc",
    after: After = None,
    include: Include = None,
) -> JSONResponse:
    """List a conversation's items, the newest first if not asked otherwise."""
    conversations.own(caller, conversation_id)
    return JSONResponse(conversations.page(caller, conversation_id, limit=limit, order=order, after=after))


@router.post("/{conversation_id}/items", summary="Add items to a conversation")
@described("ItemList", 400, 401, 404, error="OpenAIErrorBody", takes=ItemsRequest)
def add_items(
    request: Request, caller: AnyCaller, conversation_id: ConversationId, body: LargeBody, include: Include = None
) -> JSONResponse:
    """Add items behind those that a conversation has."""
    asked = parse(ItemsRequest, body, request.headers.get("content-type"))
    conversations.own(caller, conversation_id)
    messages = _messages(caller, asked.items, conversations.open_calls(caller, conversation_id))
    added = conversations.add(caller, conversation_id, messages)
    return JSONResponse(page_of(added, limit=len(added), order="asc", after=None))


@router.get("/{conversation_id}/items/{item_id}", summary="Retrieve an item")
@described("ItemView", 401, 404, error="OpenAIErrorBody")
def get_item(
    caller: AnyCaller, conversation_id: ConversationId, item_id: ItemId, include: Include = None
) -> JSONResponse:
    """Return one item of a conversation."""
    conversations.own(caller, conversation_id)
    found = conversations.find(caller, conversation_id, item_id)
    if found is None:
        raise _no_item(item_id)
    return JSONResponse(found.item)


@router.delete("/{conversation_id}/items/{item_id}", summary="Delete an item")
@described("ConversationView", 401, 404, error="OpenAIErrorBody")
def delete_item(caller: AnyCaller, conversation_id: ConversationId, item_id: ItemId) -> JSONResponse:
    """Take an item out of a conversation, for good; returns the conversation. Later runs do not see the item."""
    found = conversations.own(caller, conversation_id)
    if not conversations.remove(caller, conversation_id, item_id):
        raise _no_item(item_id)
    return JSONResponse(found.public())


def _messages(
    caller: Caller, items: list[dict[str, Any]], open_calls: frozenset[str] = frozenset()
) -> list[dict[str, Any]]:
    """Return items as a conversation holds them; the outputs of their calls may be added later.

    Raises:
        Problem: one is none that agents can read, or no answer could show it; it is named.
    """
    own = before.References(caller)
    messages = chat_messages(items, open_calls=open_calls, resolve=own, param="items", may_wait=True)
    showable(messages, "items")
    return messages


def _no_item(item_id: str) -> Problem:
    shown = item_id.encode("ascii", "replace").decode()[:80]
    return Problem(404, "item_not_found", f"Item with id '{shown}' not found.", "item_id")
