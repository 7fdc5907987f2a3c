"""A session's turns page by page, one by one from either end or from behind a turn, and a turn found by its name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from shared import wire
from shared.clock import iso
from shared.settings import settings
from shared.tasks import sessions, table
from shared.tasks.listing import BadCursor
from shared.tasks.ranges import under
from shared.tasks.sessions import Turn

AT_ONCE = 50
"""Turns that one request reads."""
LOOKED_AT = 1_000
"""Newest turns that are looked through for a name that does not say when its turn was written."""
FRAME_BYTES = 100
"""What the names of a turn's fields take in an answer."""
_CURSOR = re.compile(r"[0-9TZ:.\-+]{10,40}#[\x21-\x7e]{1,256}")


class Place(NamedTuple):
    """Where a turn stands, or stood, in its session."""

    at: str
    """When it was written, as `clock.iso` writes it."""
    name: str


@dataclass(frozen=True, slots=True)
class TurnPage:
    """Turns, oldest first, and where the ones before them are; None at the beginning."""

    turns: list[Turn]
    cursor: str | None


def page(user: str, session_id: str, *, limit: int, most_bytes: int, cursor: str | None = None) -> TurnPage:
    """Return the newest turns that fit an answer, oldest of them first; ``cursor`` goes on before an earlier page.

    Raises:
        BadCursor: the cursor is none.
        Gone: a turn's texts are no longer there.
    """
    limit = min(limit, settings().session_turns)
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise BadCursor("not a cursor of this conversation", param="cursor")
    if limit < 1:
        return TurnPage([], None)
    high = f"TURN#{cursor}" if cursor is not None else "TURN#~"
    at_once = limit + 1  # one more may be the cursor's own
    asked = under(sessions.partition(user, session_id), between=("TURN#", high), ConsistentRead=True, Limit=at_once)
    found = table.query_page(**asked, ScanIndexForward=False)
    rows = [row for row in found["Items"] if row["sk"]["S"] != high]
    turns: list[Turn] = []
    taken = 0
    for row in rows[:limit]:
        turn = sessions.of_row(row, with_chat=False)
        taken += wire.wire_bytes([turn.task_id, turn.at, turn.user, turn.assistant]) + FRAME_BYTES
        if turns and taken > most_bytes:
            break
        turns.append(turn)
    more = len(turns) < len(rows) or "LastEvaluatedKey" in found
    return TurnPage(turns[::-1], f"{turns[-1].at}#{turns[-1].task_id}" if turns and more else None)


def walk(user: str, session_id: str, *, newest_first: bool, behind: Place | None = None) -> Iterator[Turn]:
    """Yield a session's turns with their messages, read as they are wanted; ``behind`` leaves out all up to there."""
    start = sessions.turn_key(user, session_id, at=behind.at, name=behind.name) if behind is not None else None
    asked = _turns(user, session_id, after=start, ScanIndexForward=not newest_first, Limit=AT_ONCE)
    for row in table.query(**asked):
        yield sessions.of_row(row, with_chat=True)


def find(user: str, session_id: str, name: str, *, at: float | None) -> Turn | None:
    """Return the turn of that name, written ``at`` (epoch seconds; None: nobody knows), or None."""
    row = table.get(sessions.turn_key(user, session_id, at=iso(at), name=name)) if at is not None else None
    if row is None and at is None:
        asked = _turns(user, session_id, ScanIndexForward=False, Limit=LOOKED_AT, ProjectionExpression="pk, sk")
        keys = table.query_page(**asked)["Items"]
        key = next((key for key in keys if key["sk"]["S"].endswith(f"#{name}")), None)
        row = table.get(key) if key is not None else None
    return sessions.of_row(row, with_chat=True) if row is not None else None


def _turns(user: str, session_id: str, **more: Any) -> dict[str, Any]:
    return under(sessions.partition(user, session_id), begins="TURN#", ConsistentRead=True, **more)
