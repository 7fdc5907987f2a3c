"""Calls that a person is to allow: what is asked, and how an answer is held against it.

An approval is a wait for a signal whose name holds the fingerprint of the call. An answer is that signal's payload:
``{"decision": "allow" | "deny", "reason"?, "arguments"?}``.
"""

import json
from dataclasses import dataclass
from typing import Any

from shared import wire
from shared.clock import now
from shared.errors import NotFound, TooLarge
from shared.tasks import events, inbox, store, table, waits
from shared.tasks.model import Status, Task, dumps
from shared.tasks.waits import Wait

KIND = "approval"
ALLOW = "allow"
INLINE_BYTES = 1024
"""Arguments up to this size stand in the row, larger ones in an item of their own."""
ARGUMENTS_BYTES = wire.ANSWER_BYTES
"""Most that arguments may take of an answer of Lambda's: what cannot be shown cannot be allowed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that is to be allowed. ``micro_usd`` is what the run has cost so far."""

    tool: str
    arguments: dict[str, Any]
    fingerprint: str
    editable: bool
    micro_usd: int


def name_of(fingerprint: str) -> str:
    """Return the name of the signal that answers."""
    return f"{KIND}:{fingerprint}"


def more_of(task: Task, asked: Asked) -> dict[str, Any]:
    """Return what the row says of an approval; arguments too large for it are put beside it.

    Raises:
        Contended, DependencyDown: try again.
        TooLarge: no answer could show them.
    """
    text = dumps(asked.arguments)
    size = len(text.encode())
    if (
        size * wire.MOST_PER_CHARACTER > ARGUMENTS_BYTES
        and (taken := wire.wire_bytes(asked.arguments)) > ARGUMENTS_BYTES
    ):
        why = f"the arguments of a call to be allowed may take {ARGUMENTS_BYTES} bytes of an answer; here it is {taken}"
        raise TooLarge(why)
    small = size <= INLINE_BYTES
    if not small:
        table.put(store.blob_op(task.task_id, _blob(asked.fingerprint), text, expires=events.expires(now())))
    return {
        "tool": asked.tool,
        "fingerprint": asked.fingerprint,
        "editable": asked.editable,
        "cost_usd": asked.micro_usd / 1_000_000,
        "arguments": asked.arguments if small else None,
    }


def _blob(fingerprint: str) -> str:
    return f"ask-{fingerprint}"


def pending(task: Task, *, fingerprint: str | None = None) -> list[dict[str, Any]]:
    """Return the approvals that a task waits for, as clients see them, with their arguments wherever they are.

    With a ``fingerprint`` only those of that one.
    """
    shown = in_row(task)
    if fingerprint is not None:
        shown = [one for one in shown if one["fingerprint"] == fingerprint]
    for one in shown:
        if apart(one):
            fill(task, one)
    return shown


def in_row(task: Task) -> list[dict[str, Any]]:
    """Return the same as far as the task's row says it: arguments that are kept apart are None."""
    if task.status is not Status.WAITING:
        return []
    return [one for one in store.public(task)["waiting_for"] if one["kind"] == KIND]


def apart(one: dict[str, Any]) -> bool:
    """Whether an approval's arguments are not in the row."""
    return "budget" not in one and one.get("arguments") is None


def fill(task: Task, one: dict[str, Any]) -> None:
    """Give an approval its arguments; they stay None if they were erased meanwhile."""
    try:
        one["arguments"] = json.loads(store.read_blob(task.task_id, _blob(one["fingerprint"])))
    except NotFound:
        return


def answer_id(wait: Wait) -> str:
    """Return the id of the signal that answers a wait: its own, though several are for the same call."""
    return f"{wait.name}#{wait.nth}"


def find(task: Task, fingerprint: str) -> Wait:
    """Return the wait that an answer is for: of several for the same call, the first that has none yet.

    A task that was woken by one answer goes on to take those that it asked for beside it.

    Raises:
        NotFound: nobody asks for it (any more).
    """
    name = name_of(fingerprint)
    same = sorted((one for one in waits.of_row(task) if one.name == name), key=lambda one: one.nth)
    if not same:
        raise NotFound("the task asks for no such approval (any more)")
    if len(same) == 1:
        return same[0]
    return next((one for one in same if not inbox.has(task.task_id, name, str(one.nth))), same[-1])
