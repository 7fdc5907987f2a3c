"""Puts dead letters back after a fix: a failed task stays failed, a new task runs in its place.

"Ends once" holds for the failed one, whose watchers have gone; the two rows name each other.
"""

import secrets
from collections.abc import Iterator

from shared.clock import day, now
from shared.tasks import events, items, listing, parking, settle, store, table
from shared.tasks.items import row_key
from shared.tasks.model import Task
from shared.tasks.owed import DEAD
from shared.tasks.ranges import under

MOST_AT_ONCE = 1000
"""Dead letters that one call puts back."""
MOST_SHOWN = 100


def redrive() -> Iterator[tuple[str, str]]:
    """Submit every dead-lettered task again, each once; yields (old id, new id).

    Raises:
        DependencyDown: the rest can be redriven later.
    """
    for task_id in listing.due(DEAD, before=now(), limit=MOST_AT_ONCE):
        old = store.get(task_id)
        at = now()
        new = Task(
            task_id=f"{old.task_id}-r{secrets.token_hex(3)}",
            user=old.user,
            lane=old.lane,
            agent=old.agent,
            model=old.model,
            created=at,
            day=day(at),
            tier=old.tier,
            session_id=old.session_id,
            key_id=old.key_id,
            message=old.message,
            excerpt=old.excerpt,
            params=old.params | {"redriven_from": old.task_id},
            **{name: getattr(old, name) for name in settle.CEILINGS},
        )
        ops = [
            table.put_op(
                items.task_row(new, due_at=at + store.UNSENT_GRACE_SECONDS), condition="attribute_not_exists(pk)"
            ),
            {"Update": _leave_list(old.task_id, new.task_id)},
        ]
        if old.message is None:
            ops.append(store.blob_op(new.task_id, "message", store.message_of(old), expires=events.expires(at)))
        try:
            table.transact(ops)
        except table.ConditionFailed:
            continue  # somebody else redrove it
        parking.send(new)
        yield old.task_id, new.task_id


def _leave_list(old_id: str, new_id: str) -> dict[str, object]:
    op = table.update_op(
        row_key(old_id),
        sets={"redriven_as": new_id},
        removes=("due", "due_at"),
        same={"due": DEAD},
    )
    update: dict[str, object] = op["Update"]
    return update


def unreadable() -> list[dict[str, str]]:
    """Return messages that no worker could read, as `dead_letter` kept them."""
    page = table.query_page(**under("UNREADABLE", Limit=MOST_SHOWN))
    return [{name: str(items.plain(row[name])) for name in ("sk", "body", "queue", "at")} for row in page["Items"]]
