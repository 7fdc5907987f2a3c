"""What a model thought, as a client keeps it and sends it back: a reference to what is stored with the run.

OpenAI calls the field ``encrypted_content``. Here it holds no thoughts at all, only which run they belong to: it is
looked up when it comes back, must be the caller's own, and gives what the provider wants with its message again
(``reasoning_content``, ``thinking_blocks``, signatures of calls), as the provider sent it.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, NamedTuple

from functions.api.dialect import ids
from shared.errors import NotFound

PREFIX = "sluice2."
RECALLED = 64
"""Most reasoning items of one request whose runs are looked up: the newest ones. Each costs a read."""
_ORDINARY = frozenset({"role", "content", "tool_calls", "name", "tool_call_id"})


class Thoughts(NamedTuple):
    """What goes back to the provider: with the message, and with its calls by their ids."""

    message: dict[str, Any]
    calls: dict[str, dict[str, Any]]


def reference(item_id: str) -> str:
    """Return what stands for a reasoning item's thoughts."""
    return PREFIX + base64.urlsafe_b64encode(item_id.encode()).decode()


def task_id_of(item: dict[str, Any]) -> str | None:
    """Return the id of the run that a reasoning item is of; None for what this API has not made."""
    sealed, item_id = item.get("encrypted_content"), item.get("id")
    if isinstance(sealed, str) and sealed:
        if not sealed.startswith(PREFIX) or len(sealed) > len(PREFIX) + 2 * ids.ITEM_CHARACTERS:
            return None
        try:
            item_id = base64.b64decode(sealed.removeprefix(PREFIX), altchars=b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            return None
    try:
        kind, task_id, _ = ids.item_of(item_id if isinstance(item_id, str) else "")
    except NotFound:
        return None
    return task_id if kind == "rs" else None


def of_data(data: dict[str, Any]) -> Thoughts:
    """Return what a run's result holds of them; empty where its provider wants nothing back."""
    held, calls = data.get("extra"), data.get("tool_calls")
    message = {name: value for name, value in held.items() if name not in _ORDINARY} if isinstance(held, dict) else {}
    signed = {}
    for call in calls if isinstance(calls, list) else ():
        extra = call.get("extra") if isinstance(call, dict) else None
        if isinstance(extra, dict) and extra:
            signed[str(call.get("id"))] = extra
    return Thoughts(message, signed)


def read_again(items: Sequence[dict[str, Any]]) -> frozenset[int]:
    """Return the places of the reasoning items that matter: those behind the newest question, `RECALLED` at most.

    Providers read what belongs to the tool loop that is open, and leave out what is before it.
    """
    asked = max((n for n, item in enumerate(items) if item.get("role") == "user"), default=-1)
    places = [n for n, item in enumerate(items) if n > asked and _thinks(item)]
    return frozenset(places[-RECALLED:])


def _thinks(item: dict[str, Any]) -> bool:
    kind = item.get("type")
    return kind in ("reasoning", "item_reference") or (kind is None and "role" not in item)
