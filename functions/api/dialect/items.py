"""Chat messages as items, as OpenAI lists the input of a response and a conversation."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from functions.api.contract.problem import Problem
from functions.api.dialect import ids
from functions.api.dialect.content import response_content
from shared import wire
from shared.tasks import store
from shared.tasks.model import Task, dumps

PAGE_ITEMS = 100


def items_of(messages: Sequence[dict[str, Any] | None], name: str, *, answered: bool = False) -> list[dict[str, Any]]:
    """Return messages as items; ``name`` makes their ids.

    ``answered``: the last one is what the run of that name answered, and has the ids that its response shows.
    """
    items: list[dict[str, Any]] = []
    for n, message in enumerate(messages):
        if message is None:  # taken out
            continue
        answer = answered and n == len(messages) - 1
        role, content = message["role"], message.get("content")
        if role == "tool":
            output = content if isinstance(content, str) else response_content(content, said=False)
            item = {"type": "function_call_output", "id": f"fco_{name}.{n}", "call_id": message["tool_call_id"]}
            items.append({**item, "output": output, "status": "completed"})
            continue
        if content or (content is not None and not message.get("tool_calls")):  # an empty text is one, too
            parts = response_content(content, said=role == "assistant")
            item_id = ids.message_id(name) if answer else f"itm_{name}.{n}"
            message_item = {"type": "message", "id": item_id, "role": role, "status": "completed"}
            items.append({**message_item, "content": parts})
        for m, call in enumerate(message.get("tool_calls") or ()):
            if call is None:
                continue
            function = call["function"]
            items.append(
                {
                    "type": "function_call",
                    "id": ids.call_id(name, call["id"]) if answer else f"itc_{name}.{n}.{m}",
                    "call_id": call["id"],
                    "name": function["name"],
                    "arguments": function["arguments"],
                    "status": "completed",
                }
            )
    return items


def showable(messages: Sequence[dict[str, Any]], param: str) -> None:
    """See that each of some messages can be shown again: what is accepted can be fetched.

    Raises:
        Problem: 413, one is too large for that, as Lambda writes it.
    """
    for message in messages:
        if len(dumps(message)) * wire.MOST_PER_CHARACTER <= wire.ALONE_BYTES:
            continue
        size = wire.wire_bytes(message)
        if size > wire.ALONE_BYTES:
            why = f"a message that takes {size} bytes of an answer cannot be shown again; {wire.ALONE_BYTES} can"
            raise Problem(413, "too_large", why, param)


def given(task: Task) -> list[dict[str, Any]]:
    """Return the items that a response was asked with."""
    message = store.message_of(task)
    said = json.loads(message) if task.params.get("input_json") else [{"role": "user", "content": message}]
    return items_of(said, task.task_id)


def page_of(items: Sequence[dict[str, Any]], *, limit: int, order: str, after: str | None) -> dict[str, Any]:
    """Return a page of items as OpenAI does: at most ``limit``, and no more than an answer holds.

    Raises:
        Problem: there is no item ``after``.
    """
    ordered = list(items) if order == "asc" else list(reversed(items))
    if after is not None:
        place = next((n for n, item in enumerate(ordered) if item["id"] == after), None)
        if place is None:
            raise no_item(after)
        ordered = ordered[place + 1 :]
    return page_from(ordered, limit)


def page_from(items: Iterable[dict[str, Any]], limit: int) -> dict[str, Any]:
    """Return the first of some items as a page as OpenAI does: at most ``limit``, and no more than an answer holds.

    No more of them are asked for than it takes to know whether there are more.
    """
    page: list[dict[str, Any]] = []
    taken, more = 0, False
    for item in items:
        taken += wire.wire_bytes(item)
        more = len(page) == limit or (bool(page) and taken > wire.ANSWER_BYTES)
        if more:
            break
        page.append(item)
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": more,
    }


def no_item(item_id: str) -> Problem:
    """Return what is wrong with the ``after`` of a list: there is no such item in it."""
    return Problem(400, "invalid_request", f"Item with id '{item_id[:80]}' not found.", "after")
