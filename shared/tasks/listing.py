"""Lists of tasks: a user's own with their cursors, the parked ones, and those that the sweeper looks after."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from shared.errors import SluiceError
from shared.tasks import table
from shared.tasks.items import attribute, plain
from shared.tasks.model import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator

LIST_PAGE = 100
"""Tasks read at a time when a list is filtered."""
LOOKED_AT_ONCE = 1_000
"""Tasks that one filtered page looks at: a user with a million must not hold the API for as long as that takes."""
SUMMARY = (
    "task_id",
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
)
"""What the ``by_user`` index holds of a task."""


class BadCursor(SluiceError):
    """A list cursor that this caller was not given."""

    code = "invalid_cursor"


def list_tasks(
    user: str, *, limit: int, cursor: str | None = None, status: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a user's tasks, newest first, with a cursor for the next page (None at the end).

    With a ``status`` at most ``LOOKED_AT_ONCE`` tasks are looked at: a page may then be short, or empty, and still have
    a cursor.

    Raises:
        BadCursor: the cursor is not one of this user's.
        DependencyDown: DynamoDB is away.
    """
    found: list[dict[str, Any]] = []
    start = _read_cursor(user, cursor) if cursor else None
    looked_at = 0
    while len(found) < limit and looked_at < LOOKED_AT_ONCE:
        asked: dict[str, Any] = {
            "IndexName": "by_user",
            "KeyConditionExpression": "by_user = :user",
            "ExpressionAttributeValues": {":user": {"S": user}},
            "ScanIndexForward": False,
            "Limit": limit - len(found) if status is None else LIST_PAGE,
        }
        if start:
            asked["ExclusiveStartKey"] = start
        page = table.query_page(**asked)
        looked_at += len(page["Items"])
        for item in page["Items"]:
            summary = {name: plain(item[name]) for name in SUMMARY if name in item}
            if status is None or summary.get("status") == status:
                found.append(summary)
                if len(found) == limit:
                    last = {name: item[name] for name in ("pk", "sk", "by_user", "created")}
                    more = item is not page["Items"][-1] or "LastEvaluatedKey" in page
                    return found, _cursor(last) if more else None
        start = page.get("LastEvaluatedKey")
        if start is None:
            break
    return found, _cursor(start) if start else None


def _cursor(key: Any) -> str:
    return base64.urlsafe_b64encode(dumps(key).encode()).decode().rstrip("=")


def _read_cursor(user: str, cursor: str) -> Any:
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        owner, names = key["by_user"]["S"], set(key)
        texts = all(set(value) == {"S"} and isinstance(value["S"], str) and value["S"] for value in key.values())
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, RecursionError) as error:
        raise BadCursor("not a cursor of this list", param="cursor") from error
    if owner != user or names != {"pk", "sk", "by_user", "created"} or not texts:
        raise BadCursor("not a cursor of this list", param="cursor")
    return key


def parked_tasks(user: str, *, limit: int) -> list[str]:
    """Return the ids of a user's parked tasks, oldest first."""
    page = table.query_page(
        IndexName="parked",
        KeyConditionExpression="parked = :user",
        ExpressionAttributeValues={":user": {"S": user}},
        Limit=limit,
    )
    return [plain(item["pk"]).removeprefix("TASK#") for item in page["Items"]]


def live(shard: str) -> Iterator[list[str]]:
    """Return the ids of all live tasks, and of ended ones whose webhook is due, a page at a time.

    The latest due come first: while the pages are read, a claim moves a waiting task to an earlier time, so that it is
    met then, and perhaps twice. One that is given back just then may be missed.
    """
    asked: dict[str, Any] = {
        "IndexName": "due",
        "KeyConditionExpression": "due = :shard",
        "ExpressionAttributeValues": {":shard": {"S": shard}},
        "ScanIndexForward": False,
        "Limit": table.READ_AT_ONCE,
    }
    while True:
        page = table.query_page(**asked)
        yield [plain(item["pk"]).removeprefix("TASK#") for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            return
        asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def unsent_or_overdue(shard: str, *, before: float, limit: int) -> list[str]:
    """Return ids of live tasks whose ``due_at`` has passed, most overdue first."""
    page = table.query_page(
        IndexName="due",
        KeyConditionExpression="due = :shard AND due_at <= :before",
        ExpressionAttributeValues={":shard": {"S": shard}, ":before": attribute(before)},
        Limit=limit,
    )
    return [plain(item["pk"]).removeprefix("TASK#") for item in page["Items"]]
