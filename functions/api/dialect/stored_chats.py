"""Chat completions that their client stored (``store: true``): found again, listed, described anew; their messages."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from functions.api.contract.problem import Problem
from functions.api.dialect import ids
from functions.api.dialect.chat_answer import completion_id, completion_of
from functions.api.door.identity import Caller, own_task
from functions.api.read.punctual import punctual
from shared.errors import NotFound
from shared.tasks import store, stored_chats
from shared.tasks.ids import made_at
from shared.tasks.model import Status, Task

NOTED_WITHIN_S = 0.05
"""A task is noted so soon after its id is made; others of that moment may be listed twice, none is left out."""
_STORED = "only completions made with store=true are kept as such"


def own(caller: Caller, wanted: str) -> Task:
    """Read the task of a caller's stored completion.

    Raises:
        Problem: 404, there is none of that id; of a run that is the caller's it says where its answer is.
    """
    task = find(caller, wanted)
    if task is None:
        raise _missing(wanted, f"{_STORED}.")
    where = f"What became of its run is at GET /result/{task.task_id}."
    if not stored_chats.is_stored(task):
        raise _missing(wanted, f"{_STORED}. {where}")
    if task.status is not Status.COMPLETE:
        raise _missing(wanted, f"it is {task.status}. {where}")
    return task


def find(caller: Caller, wanted: str) -> Task | None:
    """Read the task of a caller's completion, whatever became of it; None if there is none."""
    try:
        return punctual(own_task(caller, ids.chat_task_of(wanted)))
    except NotFound:
        return None


def _missing(wanted: str, why: str) -> Problem:
    shown = wanted.encode("ascii", "replace").decode()[:80]
    return Problem(404, "completion_not_found", f"Chat completion with id '{shown}' not found: {why}", "completion_id")


def shown(task: Task) -> dict[str, Any]:
    """Return a stored completion as OpenAI does: with what it was asked with."""
    params, options = task.params, task.params.get("options") or {}
    return {
        **completion_of(task),
        "metadata": params.get("metadata") or {},
        "request_id": task.task_id,
        "tool_choice": params.get("tool_choice"),
        "tools": params.get("tools"),
        **{name: options.get(name) for name in _ECHOED},
    }


_ECHOED = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "response_format")


def listed(
    caller: Caller, *, order: str, after: str | None, model: str | None, metadata: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield a caller's stored completions that have ended well, by when they were asked for.

    Raises:
        Problem: 400, there is no completion ``after``.
    """
    behind = _place_of(caller, after, newest_first=order == "desc") if after is not None else None
    for task in stored_chats.walk(caller.user, newest_first=order == "desc", behind=behind):
        described = task.params.get("metadata") or {}
        named = model is None or model in (task.model, task.model_used)
        if task.status is Status.COMPLETE and named and metadata.items() <= described.items():
            yield shown(task)


def _place_of(caller: Caller, completion_id: str, *, newest_first: bool) -> stored_chats.Place:
    """Return where a completion stands, or stood before it was deleted: its task's id tells when that was made.

    Raises:
        Problem: 400, this is the id of no completion.
    """
    if (task := find(caller, completion_id)) is not None:
        return stored_chats.Place(task.task_id, task.created)
    task_id = completion_id.removeprefix(ids.CHAT_PREFIX)
    made = made_at(task_id) if completion_id.startswith(ids.CHAT_PREFIX) else None
    if made is None:
        raise Problem(400, "invalid_request", f"Chat completion with id '{completion_id[:80]}' not found.", "after")
    return stored_chats.Place(task_id, made + (NOTED_WITHIN_S if newest_first else 0))


def messages(task: Task) -> list[dict[str, Any]]:
    """Return the messages that a completion was asked with, each with an id."""
    said = json.loads(store.message_of(task))
    return [_message(message, f"{completion_id(task)}-{n}") for n, message in enumerate(said)]


def _message(message: dict[str, Any], id_: str) -> dict[str, Any]:
    content = message.get("content")
    parts = content if isinstance(content, list) else None
    if parts is not None:
        content = "\n".join(part["text"] for part in parts if part["type"] == "text")
    return {"name": None, "refusal": None, **message, "id": id_, "content": content, "content_parts": parts}
