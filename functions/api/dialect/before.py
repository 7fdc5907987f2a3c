"""What a request refers to: the response before, and items of earlier responses. All must be the caller's own."""

import time
from typing import Any

from functions.api.contract.problem import Problem
from functions.api.dialect import conversations, ids, thoughts
from functions.api.dialect.items import given
from functions.api.dialect.response import calls_of, output_of
from functions.api.door.identity import Caller, own_task
from functions.api.live.following import PAGE_BYTES
from functions.api.read.punctual import punctual
from shared.errors import NotFound
from shared.tasks import chains, events, settle
from shared.tasks.events import Page
from shared.tasks.ids import well_formed
from shared.tasks.model import Status, Task
from shared.tasks.sessions import ConversationTooLong

IMAGE_TOKENS = 1_000
"""About what an image or a page is to a model."""


def own_response(caller: Caller, response_id: str) -> Task:
    """Read the task of a caller's response.

    Raises:
        Problem: 404, also for one that was not to be stored and ended over an hour ago.
    """
    try:
        task = punctual(own_task(caller, ids.task_id_of(response_id)))
    except NotFound:
        task = None
    return _found(task, response_id)


def own_log(caller: Caller, response_id: str) -> Page:
    """Read a caller's response with the beginning of its log, in one query. See ``own_response`` for the errors."""
    try:
        task_id = ids.task_id_of(response_id)
        page = events.read(task_id, 0, most_bytes=PAGE_BYTES) if well_formed(task_id) else None
    except NotFound:
        page = None
    if page is None or not caller.owns(page.task.user):
        raise _missing(response_id)
    task = _found(punctual(page.task), response_id)
    return page if task is page.task else events.read(task.task_id, 0, most_bytes=PAGE_BYTES)


def _found(task: Task | None, response_id: str) -> Task:
    if task is None or faded(task):
        raise _missing(response_id)
    return task


def _missing(response_id: str) -> Problem:
    shown = response_id.encode("ascii", "replace").decode()[:80]
    return Problem(404, "response_not_found", f"Response with id '{shown}' not found.", "id")


def faded(task: Task) -> bool:
    """Whether a task's answer is no longer shown, because it was not to be stored."""
    if task.params.get("store", True) or task.ended_at is None:
        return False
    return time.time() > task.ended_at + settle.UNSTORED_SECONDS


def previous(caller: Caller, response_id: str) -> Task:
    """Read the task that a request goes on from.

    Raises:
        Problem: 400, there is none, it was not stored, has not ended, or ended without an answer.
    """
    try:
        task = own_task(caller, ids.task_id_of(response_id))
    except NotFound:
        task = None
    if task is None or task.user != caller.user or not task.params.get("store", True):
        message = f"Previous response with id '{response_id}' not found."
        raise Problem(400, "previous_response_not_found", message, "previous_response_id")
    if task.status is Status.COMPLETE:
        return task
    if task.status.terminal:
        message = f"Previous response with id '{response_id}' is {task.status}: there is no answer to go on from."
        raise Problem(400, "previous_response_failed", message, "previous_response_id")
    message = f"Previous response with id '{response_id}' has not ended yet; go on from it when it is completed."
    raise Problem(400, "previous_response_in_progress", message, "previous_response_id")


def open_calls(task: Task) -> frozenset[str]:
    """Return the ids of the calls that a complete response left to its client."""
    return frozenset(call["id"] for call in calls_of(task, settle.result_of(task) or {"response": ""}))


def answered_calls(caller: Caller, session_id: str, last: str | None) -> frozenset[str]:
    """Return the calls that were answered in the turns up to that of task ``last``; without it, in all of a session."""
    try:
        turns = chains.read(caller.user, session_id, last=last, before=time.time() + 1, whole=False)
    except ConversationTooLong:
        return frozenset()
    said = [message for turn in turns for message in turn.messages]
    return frozenset(str(message["tool_call_id"]) for message in said if message.get("role") == "tool")


class References:
    """Finds the items that a request refers to by id; each response is read once."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._output: dict[str, list[dict[str, Any]]] = {}
        self._given: set[str] = set()
        self._thoughts: dict[str, thoughts.Thoughts | None] = {}

    def thoughts(self, task_id: str) -> thoughts.Thoughts | None:
        """Return what the model of one of the caller's runs thought; None if it is gone, or another's."""
        if task_id not in self._thoughts:
            try:
                task = own_task(self._caller, task_id)
            except NotFound:
                task = None
            there = task is not None and task.status is Status.COMPLETE and not faded(task)
            result = settle.result_of(task, leave=("response",)) if task is not None and there else None
            self._thoughts[task_id] = thoughts.of_data((result or {}).get("data") or {}) if result else None
        return self._thoughts[task_id]

    def __call__(self, item_id: str, place: str) -> list[dict[str, Any]]:
        """Return the item of that id, or nothing if it was returned before under another number of its message.

        Raises:
            Problem: 400, there is none.
        """
        try:
            if giver := ids.giver_of(item_id):
                return self._given_item(item_id, *giver)
            kind, task_id, n = ids.item_of(item_id)
            output = self._output.get(task_id)
            if output is None:
                output = self._output[task_id] = self._read(task_id)
        except NotFound:
            shown = item_id.encode("ascii", "replace").decode()[:80]
            raise Problem(400, "invalid_request", f"Item with id '{shown}' not found.", place) from None
        if kind in ("msg", "rs", "cmp"):  # a run that was taken over shows the same message under several numbers
            wanted = {"msg": "message", "rs": "reasoning", "cmp": "compaction"}[kind]
            found = [item for item in output if item["type"] == wanted][:1]
            key = f"{kind}_{task_id}"
        else:
            called = [item for item in output if item["type"] == "function_call"]
            found = [item for item in called if item["id"] == item_id]
            if not found and item_id.endswith(f".{n}"):  # as versions before 0.2 told them apart
                found = called[n : n + 1]
            key = found[0]["id"] if found else item_id
        if not found and kind != "rs":
            raise Problem(400, "invalid_request", f"Item with id '{item_id[:80]}' not found.", place)
        fresh = key not in self._given
        self._given.add(key)
        return found if fresh else []

    def _given_item(self, item_id: str, task_id: str | None, conversation: str | None) -> list[dict[str, Any]]:
        """Return an item that the client gave once: a response's input, or added to a conversation.

        Raises:
            NotFound, Problem: there is none, or no such conversation.
        """
        place = f"given {ids.turn_of(item_id)}"
        if place not in self._output:
            self._output[place] = self._given_by(item_id, task_id, f"{conversations.PREFIX}{conversation}")
        found = [item for item in self._output[place] if item["id"] == item_id]
        if not found:
            raise NotFound("no such item")
        fresh = item_id not in self._given
        self._given.add(item_id)
        return found if fresh else []

    def _given_by(self, item_id: str, task_id: str | None, conversation_id: str) -> list[dict[str, Any]]:
        if task_id is None:
            conversations.own(self._caller, conversation_id)
            held = conversations.find(self._caller, conversation_id, item_id)
            return held.shown if held is not None else []
        task = own_task(self._caller, task_id)
        if faded(task):
            raise NotFound("no such item")
        return given(task)

    def _read(self, task_id: str) -> list[dict[str, Any]]:
        task = own_task(self._caller, task_id)
        if task.status is not Status.COMPLETE or faded(task):
            raise NotFound("no such item")
        return output_of(task, settle.result_of(task) or {"response": ""})
