"""Which of a user's runs are chat completions that their client wants to find again (``store: true``).

Each has a small item beside its row, which lists it: the list of all of a user's runs may hold a million others. The
item goes with the task, as everything under its key does.
"""

from collections.abc import Iterator
from itertools import batched
from typing import Any, NamedTuple

from shared.clock import iso
from shared.tasks import events, items, table
from shared.tasks.items import attribute, row_key
from shared.tasks.model import Task, dumps
from shared.tasks.ranges import OF_USER, under

AT_ONCE = 25
"""Completions whose rows are read in one request."""


def is_stored(task: Task) -> bool:
    """Whether a run is a chat completion that is to be found again."""
    return task.params.get("dialect") == "chat" and task.params.get("store") is True


def note(task: Task) -> None:
    """List a completion, before its row is there: of a row that never comes the list shows nothing."""
    key = _key(task.user, Place(task.task_id, task.created))
    table.put(table.put_op(key | {"ttl": attribute(int(events.expires(task.created)))}))


class Place(NamedTuple):
    """Where a completion stands, or stood, among its user's."""

    task_id: str
    created: float
    """Epoch seconds."""


def _key(user: str, place: Place) -> dict[str, Any]:
    where = {"by_user": {"S": f"CHATS#{user}"}, "created": {"S": iso(place.created)}}
    return row_key(place.task_id, "CHAT") | where


def walk(user: str, *, newest_first: bool, behind: Place | None) -> Iterator[Task]:
    """Yield a user's stored completions by when they were asked for; ``behind`` leaves out all up to that place.

    They are read as they are wanted. Those whose task is gone are left out.

    Raises:
        NewerVersion: a newer version of Sluice wrote one.
    """
    start = _key(user, behind) if behind is not None else None
    asked = under(f"CHATS#{user}", index=OF_USER, after=start, ScanIndexForward=not newest_first, Limit=AT_ONCE)
    for page in batched(table.query(**asked), AT_ONCE, strict=False):
        keys = [{"pk": one["pk"], "sk": {"S": "TASK"}} for one in page]
        rows = {row["pk"]["S"]: row for row in table.get_many(keys)}
        yield from (items.read_task(rows[key["pk"]["S"]]) for key in keys if key["pk"]["S"] in rows)


def describe(task: Task, metadata: dict[str, str]) -> Task | None:
    """Give a completion other metadata and return it; None if it is gone.

    Raises:
        Contended, DependencyDown: DynamoDB is away, or others write the row.
    """
    key, params = items.row_key(task.task_id), dumps(task.params | {"metadata": metadata})
    row = table.change(key, sets={"params": params}, same={"status": str(task.status)})
    return items.read_task(row) if row is not None else None
