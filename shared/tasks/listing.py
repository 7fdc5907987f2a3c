"""Lists of tasks: a user's own with their cursors, the parked ones, and those that the sweeper looks after."""

import base64
import binascii
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import batched
from typing import Any

from shared.errors import SluiceError
from shared.tasks import table
from shared.tasks.items import Attributes, plain
from shared.tasks.model import dumps
from shared.tasks.ranges import DUE, OF_USER, PARKED, Index, under

LIST_PAGE = table.READ_AT_ONCE
"""Tasks read at a time when a list is filtered."""
LOOKED_AT_ONCE = 1_000
"""Tasks that one filtered page looks at: a user with a million must not hold the API for as long as that takes."""
SUMMARY = (
    "task_id",
    "user",
    "status",
    "agent",
    "model",
    "lane",
    "session_id",
    "created",
    "started_at",
    "ended_at",
    "next_try_at",
    "reason",
    "micro_usd",
    "input_tokens",
    "output_tokens",
    "lost_micro_usd",
    "lost_input_tokens",
    "lost_output_tokens",
    "parked",
    "key_id",
    "parent",
)
"""What of a task's row a list shows as it is."""
EXCERPT_CHARACTERS = 200
"""How much of a task's message a list shows."""


class BadCursor(SluiceError):
    """A list cursor that this caller was not given."""

    code = "invalid_cursor"


@dataclass(frozen=True, slots=True)
class Listed:
    """One partition of an index whose keys lead to tasks, and from when to when (ISO texts, both included)."""

    index: Index
    value: str
    since: str = "0"
    until: str = "~"

    @property
    def name(self) -> str:
        """The attribute that holds the value."""
        return self.index.partition


def list_tasks(
    user: str, *, limit: int, cursor: str | None = None, status: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a user's tasks, newest first, with a cursor for the next page (None at the end).

    With a ``status`` at most ``LOOKED_AT_ONCE`` tasks are looked at: a page may then be short, or empty, and still have
    a cursor.

    Raises:
        BadCursor: the cursor is not one of this user's.
    """
    wanted = None if status is None else (lambda summary: summary.get("status") == status)
    where = of_user(user)
    start = read_cursor(where, cursor) if cursor else None
    found, start, _ = one_page(where, limit=limit, start=start, wanted=wanted, most=LOOKED_AT_ONCE)
    return found, write_cursor(start) if start else None


def of_user(user: str) -> Listed:
    """Return where a user's tasks are listed."""
    return Listed(OF_USER, user)


def one_page(
    where: Listed,
    *,
    limit: int,
    start: Attributes | None,
    wanted: Callable[[dict[str, Any]], bool] | None,
    most: int,
) -> tuple[list[dict[str, Any]], Attributes | None, int]:
    """Return up to ``limit`` summaries from ``start`` on, newest first, where to go on, and how many were looked at.

    The index holds keys alone, which never change, so that a task's later writes do not pay for it; the rows are read
    beside it, as they are now.
    """
    found: list[dict[str, Any]] = []
    looked_at = 0
    while len(found) < limit and looked_at < most:
        at_once = min(LIST_PAGE, limit - len(found) if wanted is None else LIST_PAGE)
        times = where.since, where.until
        asked = under(where.value, between=times, index=where.index, after=start, Limit=at_once)
        keys = table.query_page(**asked, ScanIndexForward=False)
        looked_at += len(keys["Items"])
        rows = {row["pk"]["S"]: row for row in table.get_many([_row_key(one) for one in keys["Items"]])}
        for n, one in enumerate(keys["Items"], 1):
            row = rows.get(one["pk"]["S"])
            summary = None if row is None else summary_of(row)
            if summary is None or (wanted is not None and not wanted(summary)):
                continue  # it was erased since the index was read, or is another
            found.append(summary)
            if len(found) == limit:
                more = n < len(keys["Items"]) or "LastEvaluatedKey" in keys
                last = {name: one[name] for name in ("pk", "sk", where.name, "created")}
                return found, last if more else None, looked_at
        start = keys.get("LastEvaluatedKey")
        if start is None:
            break
    return found, start, looked_at


def _row_key(one: Attributes) -> Attributes:
    return {"pk": one["pk"], "sk": one["sk"]}


def summary_of(row: Attributes) -> dict[str, Any]:
    """Return what a list shows of a row; of one that a newer version wrote, what is known by name."""
    summary = {name: plain(row[name]) for name in SUMMARY if name in row}
    text = row.get("excerpt", row.get("message"))
    if text is not None:
        summary["message"] = str(plain(text))[:EXCERPT_CHARACTERS]
    for name in ("error", "last_error", "waiting_for"):
        if name in row:
            summary[name] = json.loads(plain(row[name]))
    return summary


def write_cursor(key: Any) -> str:
    """Return a place in a list as a text for clients."""
    return base64.urlsafe_b64encode(dumps(key).encode()).decode().rstrip("=")


def cursor_behind(where: Listed, summary: dict[str, Any]) -> str:
    """Return the place behind a task of a list, of which ``one_page`` gave the summary."""
    key = {"pk": f"TASK#{summary['task_id']}", "sk": "TASK", where.name: where.value, "created": summary["created"]}
    return write_cursor({name: {"S": value} for name, value in key.items()})


def read_cursor(where: Listed, cursor: str) -> Attributes:
    """Read it back.

    Raises:
        BadCursor: it is no place in this list.
    """
    key = _read(cursor)
    if key.get(where.name) != {"S": where.value} or set(key) != {"pk", "sk", where.name, "created"}:
        raise BadCursor("not a cursor of this list", param="cursor")
    return key


def read_place(cursor: str, pk: str) -> Attributes:
    """Read back a place in a partition of the table itself.

    Raises:
        BadCursor: it is none in this one.
    """
    key = _read(cursor)
    if key.get("pk") != {"S": pk} or set(key) != {"pk", "sk"}:
        raise BadCursor("not a cursor of this list", param="cursor")
    return key


def _read(cursor: str) -> Attributes:
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        texts = all(set(each) == {"S"} and isinstance(each["S"], str) and each["S"] for each in key.values())
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise BadCursor("not a cursor of this list", param="cursor") from error
    if not texts:
        raise BadCursor("not a cursor of this list", param="cursor")
    found: Attributes = key
    return found


def parked_tasks(user: str, *, limit: int) -> list[str]:
    """Return the ids of a user's parked tasks, oldest first."""
    page = table.query_page(**under(user, index=PARKED, Limit=limit))
    return [plain(item["pk"]).removeprefix("TASK#") for item in page["Items"]]


def live(shard: str) -> Iterator[list[str]]:
    """Return the ids of all live tasks, and of ended ones whose webhook is due, a page at a time.

    The latest due come first: while the pages are read, a claim moves a waiting task to an earlier time, so that it is
    met then, and perhaps twice. One that is given back just then may be missed.
    """
    found = table.query(**under(shard, index=DUE, ScanIndexForward=False, Limit=table.READ_AT_ONCE))
    for page in batched(found, table.READ_AT_ONCE, strict=False):
        yield [plain(item["pk"]).removeprefix("TASK#") for item in page]


def due(shard: str, *, before: float, limit: int) -> dict[str, float]:
    """Return ids of live tasks whose ``due_at`` has passed, most overdue first, with when each was due."""
    found = table.due(shard, before=before, limit=limit)
    return {plain(item["pk"]).removeprefix("TASK#"): float(plain(item["due_at"])) for item in found}
