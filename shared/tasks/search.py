"""Everybody's tasks, for operators: by what their rows say, newest first.

Days are partitions of an index that holds keys alone; a user's tasks have one of their own. A search reads rows beside
it and leaves out what does not fit, so many at a time: its cost is bounded by what one page looks at, not by what is
stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from shared.clock import epoch, iso
from shared.tasks import listing
from shared.tasks.items import Attributes
from shared.tasks.listing import BadCursor, Listed
from shared.tasks.ranges import FEED, OF_USER

LOOKED_AT_ONCE = 500
"""Tasks that one page of a search looks at."""
DAYS_AT_ONCE = 62
"""Days that one page of a search asks for: empty ones cost a query each."""
DAY_SECONDS = 86_400

Kind = Literal["status", "agent", "model", "lane", "error", "session_id"]
EXACT: tuple[Kind, ...] = ("status", "agent", "model", "lane", "error", "session_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is searched for; None: anything. ``since`` and ``until`` are epoch seconds of the submit."""

    since: float
    until: float
    user: str | None = None
    status: str | None = None
    agent: str | None = None
    model: str | None = None
    lane: str | None = None
    error: str | None = None
    """The code of a failed task's error, or of the last failure of one that is tried again."""
    session_id: str | None = None
    text: str | None = None
    """A part of how the message begins, whatever its case."""

    @property
    def everything(self) -> bool:
        """Whether nothing is left out but by its time."""
        return self.text is None and all(getattr(self, name) is None for name in EXACT)

    def fits(self, summary: dict[str, Any]) -> bool:
        """Tell whether a task is searched for."""
        code = (summary.get("error") or summary.get("last_error") or {}).get("code")
        shown = {**summary, "error": code}
        if any(getattr(self, name) not in (None, shown.get(name)) for name in EXACT):
            return False
        return self.text is None or self.text.casefold() in str(summary.get("message", "")).casefold()


def search(wanted: Wanted, *, limit: int, cursor: str | None = None) -> tuple[list[dict[str, Any]], str | None]:
    """Return summaries of tasks, newest first, with a cursor for the next page (None at the end).

    A page may be short, or empty, and still have a cursor.

    Raises:
        BadCursor: the cursor is not one of this search.
    """
    found: list[dict[str, Any]] = []
    looked_at = days = 0
    start: Attributes | None = None
    begun = cursor is None
    fits = None if wanted.everything else wanted.fits
    for where in _partitions(wanted):
        if not begun:
            try:
                start, begun = _resume(where, str(cursor)), True
            except BadCursor:
                continue
        days += 1
        more, start, seen = listing.one_page(
            where, limit=limit - len(found), start=start, wanted=fits, most=LOOKED_AT_ONCE - looked_at
        )
        found += more
        looked_at += seen
        full = len(found) == limit or looked_at >= LOOKED_AT_ONCE or days >= DAYS_AT_ONCE
        if full:
            return found, _cursor(where, start, wanted)
    if not begun:
        raise BadCursor("not a cursor of this search", param="cursor")
    return found, None


def _partitions(wanted: Wanted) -> Iterator[Listed]:
    since, until = iso(wanted.since), iso(wanted.until)
    if wanted.user is not None:
        yield Listed(OF_USER, wanted.user, since, until)
        return
    at = wanted.until
    while True:
        day = iso(at)[:10]
        if day < since[:10]:
            return
        yield Listed(FEED, day, since, until)
        at = epoch(f"{day}T00:00:00.000Z") - 1


def _cursor(where: Listed, start: Attributes | None, wanted: Wanted) -> str | None:
    """Name the place behind a page: within a partition, or at the beginning of the next."""
    if start is not None:
        return listing.write_cursor(start)
    if where.index != FEED or where.value <= iso(wanted.since)[:10]:
        return None
    return listing.write_cursor({"after": where.value})


def _resume(where: Listed, cursor: str) -> Attributes | None:
    """Return where to go on in a partition.

    Raises:
        BadCursor: the cursor leads to another one.
    """
    before = iso(epoch(f"{where.value}T00:00:00.000Z") + DAY_SECONDS)[:10] if where.index == FEED else ""
    if before and cursor == listing.write_cursor({"after": before}):
        return None
    return listing.read_cursor(where, cursor)
