"""A session's turns one by one, from either end or from behind a turn, and a turn found by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from shared.clock import iso
from shared.tasks import sessions, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.tasks.sessions import Turn

AT_ONCE = 50
"""Turns that one request reads."""
LOOKED_AT = 1_000
"""Newest turns that are looked through for a name that does not say when its turn was written."""


class Place(NamedTuple):
    """Where a turn stands, or stood, in its session."""

    at: str
    """When it was written, as `clock.iso` writes it."""
    name: str


def walk(user: str, session_id: str, *, newest_first: bool, behind: Place | None = None) -> Iterator[Turn]:
    """Yield a session's turns with their messages, read as they are wanted; ``behind`` leaves out all up to that place.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    asked: dict[str, Any] = {"ScanIndexForward": not newest_first, "Limit": AT_ONCE}
    if behind is not None:
        asked["ExclusiveStartKey"] = sessions.turn_key(user, session_id, at=behind.at, name=behind.name)
    while True:
        page = _read(user, session_id, asked)
        for row in page["Items"]:
            yield sessions.of_row(row, with_chat=True)
        if "LastEvaluatedKey" not in page:
            return
        asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def find(user: str, session_id: str, name: str, *, at: float | None) -> Turn | None:
    """Return the turn of that name, written ``at`` (epoch seconds; None: nobody knows), or None.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    row = table.get(sessions.turn_key(user, session_id, at=iso(at), name=name)) if at is not None else None
    if row is None and at is None:
        asked = {"ScanIndexForward": False, "Limit": LOOKED_AT, "ProjectionExpression": "pk, sk"}
        keys = _read(user, session_id, asked)["Items"]
        key = next((key for key in keys if key["sk"]["S"].endswith(f"#{name}")), None)
        row = table.get(key) if key is not None else None
    return sessions.of_row(row, with_chat=True) if row is not None else None


def _read(user: str, session_id: str, asked: dict[str, Any]) -> Any:
    pk = sessions.turn_key(user, session_id, at="", name="")["pk"]
    return table.query_page(
        KeyConditionExpression="pk = :pk AND begins_with(sk, :turn)",
        ExpressionAttributeValues={":pk": pk, ":turn": {"S": "TURN#"}},
        ConsistentRead=True,
        **asked,
    )
