"""Taking one item out of a turn that a session remembers, for good.

An item's place in its turn is part of its id, so the places of the others stay: null stands where a message was. What
a run sees is without it (`sessions.Turn.messages`). A turn of which nothing is left is deleted.
"""

import zlib
from typing import Any

from shared.errors import Contended
from shared.tasks import blobs, conversation, sessions, store, table
from shared.tasks.conversation import TURN_CHARACTERS
from shared.tasks.items import Attributes, attribute, plain
from shared.tasks.model import dumps
from shared.tasks.sessions import Kept, Turn

TRIES = 5
"""How often a turn that others change at the same time is read again."""


def take_out(user: str, session_id: str, turn: Turn, n: int, call: int | None = None) -> None:
    """Take message ``n`` out of a turn, or only its tool call ``call``; harmless if it is gone already.

    Raises:
        Contended: others change the turn all the time.
    """
    key = sessions.turn_key(user, session_id, at=turn.at, name=turn.task_id)
    for _ in range(TRIES):
        row = table.get(key)
        if row is None:
            return
        kept = _without(sessions.of_row(row, with_chat=True).kept, n, call)
        if not conversation.standing(kept):
            sessions.delete_items([key])
            return
        if _written(row, turn, kept):
            return
    raise Contended("this turn is being changed; try again")


def _without(kept: Kept, n: int, call: int | None) -> Kept:
    message = kept[n] if n < len(kept) else None
    if message is None:
        return kept
    left: dict[str, Any] | None = dict(message)
    calls: list[Any] = list(message.get("tool_calls") or ())
    if call is not None:
        calls[call : call + 1] = [None]
        left = message | {"tool_calls": calls}
    elif any(calls):  # what the model said beside its calls
        left = message | {"content": None}
    else:
        left = None
    if left is not None and not left.get("content") and not any(left.get("tool_calls") or ()):
        left = None
    return [*kept[:n], left, *kept[n + 1 :]]


def _written(row: Attributes, turn: Turn, kept: Kept) -> bool:
    """Write a turn anew; False when it was changed since ``row`` was read."""
    chat = dumps(kept)
    said = conversation.standing(kept)
    answers = [message.get("content") for message in said if message["role"] == "assistant"]
    answer = next((text for text in reversed(answers) if isinstance(text, str)), "")
    texts = {"user": conversation.last_user_text(said)[:TURN_CHARACTERS], "assistant": answer[:TURN_CHARACTERS]}
    item = {name: value for name, value in row.items() if name not in ("text", "z", "s3", "chat", "rev")}
    item |= blobs.pack(dumps(texts), f"tasks/{turn.task_id}/turn")
    if "NULL" in row.get("chat", {}):
        table.put(store.blob_op(turn.task_id, "chat", chat, expires=float(plain(row["ttl"]))))
        item["chat"] = {"NULL": True}
    else:
        item["chat"] = attribute(zlib.compress(chat.encode(), 6))
    before = plain(row["rev"]) if "rev" in row else 0
    unchanged = "attribute_exists(#pk) AND " + ("#rev = :rev" if before else "attribute_not_exists(#rev)")
    values = {"rev": before} if before else {}
    return table.placed(table.put_op(item | {"rev": attribute(before + 1)}, condition=unchanged, values=values))
