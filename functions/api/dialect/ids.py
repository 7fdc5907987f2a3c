"""Ids of responses, of their items and of conversations: made from the task's, so that each leads back to it."""

import hashlib
import re

from shared.errors import NotFound
from shared.tasks.sessions import RESPONSE_PREFIX

PREFIX = RESPONSE_PREFIX
CHAT_PREFIX = "chatcmpl-"
ITEM_CHARACTERS = 96
"""Longest id of an item."""
DIGEST_BYTES = 6
"""Of the digest of a call's id in that of its item; twice as many characters."""
_GIVEN = re.compile(r"(?:itm|itc|fco)_((?:([0-9a-f]{32})-)?.{1,64}?)\.\d{1,4}(?:\.\d{1,4})?")
_ITEM = re.compile(r"(msg|fc|rs|cmp)_(.+?)(?:\.(?:(\d{1,4})|[0-9a-f]{12}))?")


def response_id(task_id: str) -> str:
    """Return the id of a task's response."""
    return f"{PREFIX}{task_id}"


def task_id_of(response_id: str) -> str:
    """Return the id of a response's task.

    Raises:
        NotFound: no response has such an id.
    """
    return _behind(PREFIX, response_id, "Response")


def chat_task_of(completion_id: str) -> str:
    """Return the id of a chat completion's task.

    Raises:
        NotFound: no completion has such an id.
    """
    return _behind(CHAT_PREFIX, completion_id, "Chat completion")


def _behind(prefix: str, shown_id: str, what: str) -> str:
    if not shown_id.startswith(prefix):
        raise NotFound(f"{what} with id '{shown_id[:80]}' not found.")
    return shown_id.removeprefix(prefix)


def message_id(task_id: str, n: int = 0) -> str:
    """Return the id of a response's nth message; number 0 is the one that answers."""
    return f"msg_{task_id}.{n}" if n else f"msg_{task_id}"


def call_id(task_id: str, call_id: str) -> str:
    """Return the id of the item with a function call: the same while it is written and ever after.

    Versions before 0.2 counted: ``fc_….0``.
    """
    digest = hashlib.blake2b(call_id.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
    return f"fc_{task_id}.{digest}"


def reasoning_id(task_id: str, n: int = 0) -> str:
    """Return the id of the item with what a model thought."""
    return f"rs_{task_id}.{n}" if n else f"rs_{task_id}"


def compaction_id(task_id: str) -> str:
    """Return the id of a compaction's item."""
    return f"cmp_{task_id}"


def item_of(item_id: str) -> tuple[str, str, int]:
    """Return an item's kind (``msg``, ``fc``, ``rs``, ``cmp``), its task's id and its number, 0 where it has none.

    Raises:
        NotFound: no item has such an id.
    """
    found = _ITEM.fullmatch(item_id) if len(item_id) <= ITEM_CHARACTERS else None
    if found is None:
        raise NotFound(f"Item with id '{item_id[:80]}' not found.")
    return found[1], found[2], int(found[3] or 0)


def giver_of(item_id: str) -> tuple[str | None, str | None] | None:
    """Return where an item that a client once gave is kept: the id of its task, or the name of its conversation.

    None: it is no such item.
    """
    found = _GIVEN.fullmatch(item_id) if len(item_id) <= ITEM_CHARACTERS else None
    if found is None:
        return None
    return (None, found[2]) if found[2] else (found[1], None)


def turn_of(item_id: str) -> str | None:
    """Return the name of the turn that an item stands in, a task's id or that of a client's addition; None: no item."""
    given = _GIVEN.fullmatch(item_id) if len(item_id) <= ITEM_CHARACTERS else None
    if given is not None:
        return given[1]
    try:
        return item_of(item_id)[1]
    except NotFound:
        return None
