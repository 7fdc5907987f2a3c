"""OpenAI's conversations: a name and metadata for a session, whose turns are the conversation's items."""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from functions.api.contract.problem import Problem
from functions.api.dialect import ids
from functions.api.dialect.items import items_of, no_item, page_from
from shared.clock import iso, now
from shared.errors import NotFound
from shared.tasks import conversations, events, partitions, sessions, store, table, turn_items, turn_pages
from shared.tasks.ids import well_formed
from shared.tasks.items import attribute, plain
from shared.tasks.model import dumps
from shared.tasks.ranges import under
from shared.tasks.sessions import Turn

if TYPE_CHECKING:
    from functions.api.door.identity import Caller

PREFIX = "conv_"
ID_CHARACTERS = 64
LATEST = 253_402_300_799
"""The last second that has a text; an invented id may name a later one."""
_ADDED = re.compile(r"[0-9a-f]{32}-([0-9a-f]{12})([0-9a-f]{6})?")
"""Name of a turn that `add` made. It leads to its conversation, and says when it was made (12 digits of epoch
milliseconds, then 6 at random); versions before 0.2 wrote twelve at random."""


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
    """Begin a conversation without items."""
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
    """Delete every conversation of a user's by name; returns how many. Their sessions are deleted with the tasks'."""
    pk = f"CONV#{user}"
    for row in table.query(**under(pk)):
        sessions.delete(user, row["sk"]["S"])
    return partitions.delete(pk)


def add(caller: Caller, conversation_id: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add messages to a conversation; returns them as items.

    Raises:
        TooLarge: they are too many for one call.
    """
    ms = int(now() * 1000)
    at, name = ms / 1000, f"{conversation_id.removeprefix(PREFIX)}-{ms:012x}{secrets.token_hex(3)}"
    sessions.add(caller.user, conversation_id, name, messages, at=at, expires=events.expires(at))
    return items_of(messages, name)


def page(caller: Caller, conversation_id: str, *, limit: int, order: str, after: str | None) -> dict[str, Any]:
    """Return a page of a conversation's items; ``after``: the id of the item before it.

    Raises:
        Problem: the conversation has no item ``after``.
    """
    return page_from(_in_order(caller, conversation_id, order, after), limit)


def _in_order(caller: Caller, conversation_id: str, order: str, after: str | None) -> Iterator[dict[str, Any]]:
    newest_first = order != "asc"
    behind: turn_pages.Place | None = None
    if after is not None:
        behind, shown = _place_of(caller, conversation_id, after)
        names = [item["id"] for item in shown]
        if after in names:
            n = names.index(after)
            yield from reversed(shown[:n]) if newest_first else shown[n + 1 :]
        else:  # it was deleted, and nothing says where it stood among the others of its turn
            yield from reversed(shown) if newest_first else shown
    for turn in turn_pages.walk(caller.user, conversation_id, newest_first=newest_first, behind=behind):
        shown = _shown(turn)
        yield from reversed(shown) if newest_first else shown


def _place_of(caller: Caller, conversation_id: str, item_id: str) -> tuple[turn_pages.Place, list[dict[str, Any]]]:
    """Return where the turn of an item stands, or stood before it was deleted, and what is left of its items.

    Raises:
        Problem: 400, no item of that id was ever here.
    """
    name = ids.turn_of(item_id)
    at = _made_at(name) if name is not None and _is_of(caller, conversation_id, name) else None
    turn = turn_pages.find(caller.user, conversation_id, name, at=at) if name is not None else None
    if turn is not None:
        return turn_pages.Place(turn.at, turn.task_id), _shown(turn)
    if name is None or at is None:
        raise no_item(item_id)
    return turn_pages.Place(iso(at), name), []


def _is_of(caller: Caller, conversation_id: str, name: str) -> bool:
    """Whether a turn of that name can only be, or have been, in a conversation."""
    if _ADDED.fullmatch(name):
        return name.startswith(f"{conversation_id.removeprefix(PREFIX)}-")
    try:
        task = store.get(name) if well_formed(name) else None
    except NotFound:
        return False
    return task is not None and (task.user, task.session_id) == (caller.user, conversation_id)


class Found(NamedTuple):
    """An item of a conversation, its turn, and all items of that."""

    item: dict[str, Any]
    turn: Turn
    shown: list[dict[str, Any]]


def find(caller: Caller, conversation_id: str, item_id: str) -> Found | None:
    """Return a conversation's item of that id, or None; the id says which turn it is in, mostly when that was made."""
    name = ids.turn_of(item_id)
    if name is None:
        return None
    turn = turn_pages.find(caller.user, conversation_id, name, at=_made_at(name))
    shown = _shown(turn) if turn is not None else []
    item = next((item for item in shown if item["id"] == item_id), None)
    return Found(item, turn, shown) if turn is not None and item is not None else None


def _made_at(name: str) -> float | None:
    """Return when a turn was made, epoch seconds; None if nothing says so any more."""
    if added := _ADDED.fullmatch(name):
        return min(int(added[1], 16) / 1000, LATEST) if added[2] else None
    try:
        return store.get(name).ended_at if well_formed(name) else None
    except NotFound:
        return None


def _shown(turn: Turn) -> list[dict[str, Any]]:
    return items_of(turn.kept, turn.task_id, answered=_is_runs(turn))


def _is_runs(turn: Turn) -> bool:
    """Whether a run's end made a turn, and not `add`."""
    return not turn.task_id.startswith("itm") and _ADDED.fullmatch(turn.task_id) is None  # versions before 0.2: itm…


def remove(caller: Caller, conversation_id: str, item_id: str) -> bool:
    """Take an item out of a conversation, for good; False if it holds none of that id.

    Raises:
        Contended: others change the same turn all the time.
    """
    found = find(caller, conversation_id, item_id)
    if found is None:
        return False
    turn_items.take_out(caller.user, conversation_id, found.turn, *_place(found.turn, item_id))
    return True


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
    """Return the ids of the calls with which a session ends, less those whose outputs were added behind them."""
    answered: set[str] = set()
    for turn in turn_pages.walk(caller.user, session_id, newest_first=True):
        for message in reversed(turn.messages):
            if message.get("role") != "tool":
                return frozenset(call["id"] for call in message.get("tool_calls") or ()) - answered
            answered.add(str(message.get("tool_call_id")))
    return frozenset()
