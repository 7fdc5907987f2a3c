"""Who is behind a WebSocket connection or an `EventSource`: a browser sends no header with them, but a ticket.

A ticket is 256 random bits, stored hashed. One for the WebSocket is good for one connection within a minute; one for a
task's stream, which `EventSource` opens again by itself, for that task's events for an hour.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared import aws
from shared.clock import now
from shared.errors import NotFound
from shared.settings import settings
from shared.tasks import items, table
from shared.tasks.items import Attributes, plain, table_key

TICKET_SECONDS = 60
FOLLOW_SECONDS = 3600
CONNECTION_SECONDS = 3 * 3600
TICKET_CHARACTERS = 128
"""Longest text looked up as a ticket."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose things somebody may see: a user their own, a trusted service (``serves``) also those of its users."""

    user: str
    serves: bool = False

    def owns(self, user: str) -> bool:
        """Tell whether a thing of ``user`` is the viewer's."""
        return user == self.user or (self.serves and user.startswith(f"{self.user}/"))


def _ticket_key(ticket: str) -> Attributes:
    return table_key(f"TICKET#{hashlib.sha256(ticket.encode()).hexdigest()}", "TICKET")


def _follow_key(ticket: str) -> Attributes:
    return _ticket_key(ticket) | {"sk": {"S": "FOLLOW"}}


def _connection_key(connection: str) -> Attributes:
    return table_key(f"CONN#{connection}", "CONN")


def issue(viewer: Viewer) -> str:
    """Make a ticket for somebody."""
    return _issue(_ticket_key, viewer, TICKET_SECONDS)


def issue_for(viewer: Viewer, task_id: str) -> str:
    """Make a ticket for a task's stream."""
    return _issue(_follow_key, viewer, FOLLOW_SECONDS, task_id=task_id)


def _issue(key: Callable[[str], Attributes], viewer: Viewer, seconds: float, **more: str) -> str:
    ticket = secrets.token_urlsafe(32)
    until = now() + seconds
    held = _held(viewer) | more | {"until": until, "ttl": int(until) + 60}
    table.put(table.put_op(key(ticket) | items.item(held)))
    return ticket


def follower(ticket: str, task_id: str) -> Viewer | None:
    """Return whose ticket for a task's stream it is; None when there is none, or it is old or of another task."""
    if not 0 < len(ticket) <= TICKET_CHARACTERS or not ticket.isascii():
        return None
    row = table.get(_follow_key(ticket))
    if row is None or plain(row["until"]) < now() or plain(row["task_id"]) != task_id:
        return None
    return _viewer(row)


def redeem(ticket: str) -> Viewer | None:
    """Use a ticket up and return whose it was; None when there is none, it is old or was used."""
    if not 0 < len(ticket) <= TICKET_CHARACTERS or not ticket.isascii():
        return None
    mine = secrets.token_hex(8)  # whose use it is: a write that is repeated, as its answer was lost, knows its own
    row = table.change(
        _ticket_key(ticket),
        sets={"used": mine},
        condition="attribute_exists(#until) AND attribute_not_exists(#used)",
    )
    if row is None or plain(row["until"]) < now():
        return None
    return _viewer(row)


def connect(connection: str, viewer: Viewer) -> None:
    """Remember whose connection it is."""
    item = items.item(_held(viewer) | {"ttl": int(now()) + CONNECTION_SECONDS})
    table.put(table.put_op(_connection_key(connection) | item))


def viewer_of(connection: str) -> Viewer:
    """Return whose connection it is.

    Raises:
        NotFound: it is not known (any more).
    """
    row = table.get(_connection_key(connection))
    if row is None:
        raise NotFound("unknown connection")
    return _viewer(row)


def disconnect(connection: str) -> None:
    """Forget a connection."""
    with table.calling():
        aws.dynamodb().delete_item(TableName=settings().table_name, Key=_connection_key(connection))


def _held(viewer: Viewer) -> dict[str, Any]:
    return {"user": viewer.user} | ({"serves": True} if viewer.serves else {})


def _viewer(row: Attributes) -> Viewer:
    return Viewer(plain(row["user"]), serves="serves" in row)
