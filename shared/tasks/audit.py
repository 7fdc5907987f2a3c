"""What operators did to users' tasks: who, what, when. Kept for a year, a partition a day."""

import secrets
from typing import Any

from shared.clock import iso, now
from shared.tasks import listing, table
from shared.tasks.items import item, plain, table_key
from shared.tasks.ranges import under

KEEP_SECONDS = 366 * 86_400


def note(operator: str, key_id: str, what: str, task_id: str, user: str) -> None:
    """Write down an act, before it is done: one that cannot be written down is not done."""
    at = now()
    key = table_key(f"AUDIT#{iso(at)[:10]}", f"{iso(at)}#{secrets.token_hex(4)}")
    values = {"operator": operator, "key_id": key_id, "what": what, "task_id": task_id, "user": user}
    table.put(table.put_op(key | item(values | {"ttl": int(at) + KEEP_SECONDS})))


def of_day(day: str, *, limit: int, cursor: str | None = None) -> tuple[list[dict[str, Any]], str | None]:
    """Return the acts of a UTC day, newest first, with a cursor for the next page.

    Raises:
        BadCursor: the cursor is not one of that day.
    """
    pk = f"AUDIT#{day}"
    start = listing.read_place(cursor, pk) if cursor else None
    page = table.query_page(**under(pk, after=start, ScanIndexForward=False, Limit=limit))
    acts = [
        {"at": row["sk"]["S"].split("#")[0]}
        | {name: plain(row[name]) for name in ("operator", "key_id", "what", "task_id", "user") if name in row}
        for row in page["Items"]
    ]
    more = page.get("LastEvaluatedKey")
    return acts, listing.write_cursor(more) if more else None
