"""OpenAI's conversations: a name and metadata for a session, whose turns are the conversation's items."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.api.contract.problem import Problem
from functions.api.dialect.items import items_of
from shared.clock import now
from shared.errors import NotFound
from shared.settings import settings
from shared.tasks import conversations, events, sessions, table, turn_items
from shared.tasks.items import attribute, plain
from shared.tasks.model import dumps

if TYPE_CHECKING:
    from functions.api.door.identity import Caller
    from shared.tasks.sessions import Turn

PREFIX = "conv_"
ID_CHARACTERS = 64
_ADDED = re.compile(r"[0-9a-f]{32}-[0-9a-f]{12}")
"""Name of a turn that `add` made: it leads to its conversation."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation."""

    id: str
    created: float
    metadata: dict[str, str]

    def public(self) -> dict[str, Any]:
        """Return it as OpenAI does."""
        shown = {"id": self.id, "object": "conversation", "created_at": int(self.created)}
        return {**shown, "metadata": self.metadata}


def _gone(conversation_id: str) -> Problem:
    shown = conversation_id.encode("ascii", "replace").decode()[:80]
    return Problem(404, "conversation_not_found", f"Conversation with id '{shown}' not found.", "conversation")


def create(caller: Caller, metadata: dict[str, str]) -> Conversation:
    """Begin a conversation without items.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    made = Conversation(f"{PREFIX}{uuid.uuid4().hex}", now(), metadata)
    _write(caller, made)
    return made


def _write(caller: Caller, made: Conversation) -> None:
    row = {"made_at": attribute(made.created), "metadata": {"S": dumps(made.metadata)}}
    row["ttl"] = attribute(int(events.expires(now())))
    table.put(table.put_op(conversations.key(caller.user, made.id) | row))


def own(caller: Caller, conversation_id: str) -> Conversation:
    """Read a conversation of the caller's.

    Raises:
        Problem: 404, there is none of that id.
        DependencyDown: DynamoDB is away.
    """
    ok = conversation_id.startswith(PREFIX) and len(conversation_id) <= ID_CHARACTERS and conversation_id.isascii()
    row = table.get(conversations.key(caller.user, conversation_id)) if ok else None
    if row is None:
        raise _gone(conversation_id)
    return Conversation(conversation_id, float(plain(row["made_at"])), json.loads(row["metadata"]["S"]))


def update(caller: Caller, conversation_id: str, metadata: dict[str, str]) -> Conversation:
    """Give a conversation other metadata. See ``own`` for the errors."""
    found = own(caller, conversation_id)
    changed = Conversation(found.id, found.created, metadata)
    _write(caller, changed)
    return changed


def delete(caller: Caller, conversation_id: str) -> None:
    """Forget a conversation and its items; the responses made in it stay. See ``own`` for the errors."""
    own(caller, conversation_id)
    sessions.delete(caller.user, conversation_id)
    sessions.delete_items([conversations.key(caller.user, conversation_id)])


def forget_all(user: str) -> int:
    """Delete every conversation of a user's by name; returns how many. Their sessions are deleted with the tasks'.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    found = list(
        table.query(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"CONV#{user}"}},
            ProjectionExpression="pk, sk",
        )
    )
    for row in found:
        sessions.delete(user, row["sk"]["S"])
    sessions.delete_items([{"pk": row["pk"], "sk": row["sk"]} for row in found])
    return len(found)


def add(caller: Caller, conversation_id: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add messages to a conversation; returns them as items.

    Raises:
        TooLarge: they are too many for one call.
        DependencyDown: DynamoDB is away.
    """
    at, name = now(), f"{conversation_id.removeprefix(PREFIX)}-{uuid.uuid4().hex[:12]}"
    sessions.add(caller.user, conversation_id, name, messages, at=at, expires=events.expires(at))
    return items_of(messages, name)


def items(caller: Caller, conversation_id: str) -> list[dict[str, Any]]:
    """Return a conversation's items, oldest first, as far as a session is read.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    return [item for _, found in _turns(caller, conversation_id) for item in found]


def _turns(caller: Caller, conversation_id: str) -> list[tuple[Turn, list[dict[str, Any]]]]:
    turns = sessions.read(caller.user, conversation_id, limit=settings().session_turns, with_chat=True)
    return [(turn, items_of(turn.kept, turn.task_id, answered=_is_runs(turn))) for turn in turns]


def _is_runs(turn: Turn) -> bool:
    """Whether a run's end made a turn, and not `add`."""
    return not turn.task_id.startswith("itm") and _ADDED.fullmatch(turn.task_id) is None  # versions before 0.2: itm…


def remove(caller: Caller, conversation_id: str, item_id: str) -> bool:
    """Take an item out of a conversation, for good; False if it holds none of that id.

    Raises:
        Contended: others change the same turn all the time.
        DependencyDown: DynamoDB or S3 is away.
    """
    for turn, found in _turns(caller, conversation_id):
        if any(item["id"] == item_id for item in found):
            turn_items.take_out(caller.user, conversation_id, turn, *_place(turn, item_id))
            return True
    return False


def _place(turn: Turn, item_id: str) -> tuple[int, int | None]:
    """Return where an item stands in its turn: the number of its message, and of its call."""
    for n in range(len(turn.kept)):
        alone = [message if place == n else None for place, message in enumerate(turn.kept)]
        shown = items_of(alone, turn.task_id, answered=_is_runs(turn))
        if any(item["id"] == item_id for item in shown):
            calls = [m for m, call in enumerate((alone[n] or {}).get("tool_calls") or ()) if call is not None]
            called = [item["id"] for item in shown if item["type"] == "function_call"]
            return n, calls[called.index(item_id)] if item_id in called else None
    raise NotFound("no such item")


def open_calls(caller: Caller, session_id: str) -> frozenset[str]:
    """Return the ids of the calls that the newest turn of a session left to its client.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    turns = sessions.read(caller.user, session_id, limit=1, with_chat=True)
    said = turns[-1].messages if turns else []
    return frozenset(call["id"] for call in said[-1].get("tool_calls") or ()) if said else frozenset()
