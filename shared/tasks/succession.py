"""Runs of one conversation go one after the other, in the order of their submission.

Who is last in a session's line is known to Valkey, in one round trip. Only a run that finds another in front of it pays
for more: it is parked, and noted in the row of the one before, which wakes it when it ends. Both sides of that note are
conditional writes on one row, so either the end sees the note or the note sees the end. Where Valkey is away or lost
its data, runs of a session may overlap; nothing else changes.
"""

from typing import Any

from shared import aws
from shared.limits import names
from shared.limits.scripts import script
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import store, table
from shared.tasks.ids import PREFIX
from shared.tasks.items import read_task, row_key, values_of
from shared.tasks.model import TERMINAL, Task
from shared.valkey import RedisError

KEPT_IN_LINE = 100
"""Tasks that a session's line remembers; of those before them it takes for granted that they have ended."""
KEEP_SECONDS = 7 * 86_400
"""How long a session's line is remembered after its last submit; who is in front may run for days."""

_log = get_logger("succession")


def join(task: Task) -> str | None:
    """Put a task at the end of its session's line; returns the open task in front of it, if there is one."""
    # A conversation that began with a run, and is named like it, has that one in front of all others.
    first = task.session_id if task.session_id.startswith(PREFIX) and task.session_id != task.task_id else ""
    keys = [names.user_keys(task.user).entries, names.session_key(task.user, task.session_id)]
    try:
        return str(script("session_join")(keys, [task.task_id, first, KEEP_SECONDS, KEPT_IN_LINE])) or None
    except RedisError as error:
        _log.warning("the session's order is not kept", extra={"task_id": task.task_id, "error": str(error)})
        return None


def leave(task: Task) -> None:
    """Take back what ``join`` did: the task was not written."""
    try:
        script("session_leave")([names.session_key(task.user, task.session_id)], [task.task_id])
    except RedisError as error:
        _log.warning("a task that was not written is in line", extra={"task_id": task.task_id, "error": str(error)})


def follow(task: Task) -> bool:
    """Have a parked task woken when the one in front of it ends; False when that has ended, or is gone.

    One that ended while it waited itself was not in the way: whoever it waited for still is.

    Raises:
        Contended, DependencyDown: not noted; the sweeper does it.
    """
    assert task.after is not None  # noqa: S101 - for the type checker
    before, passed = task.after, task.task_id
    while (front := _note(before, task.task_id, passed)) is not None:
        if not front:
            return False  # it is gone
        ended = read_task(front)
        if not ended.status.terminal:
            other = front["follower"]["S"]
            if not store.has_ended(other):
                break  # another follows it already: Valkey had forgotten the line. The sweeper looks again.
            passed = other
            continue
        if not ended.after:
            return False
        before, passed = ended.after, ended.task_id
    if before != task.after:
        _move(task, before)
    return True


def _note(before: str, follower: str, passed: str) -> dict[str, Any] | None:
    """Note who follows a task, also instead of one that was ``passed``; returns the row that refuses, {} for none."""
    op = table.update_op(
        row_key(before),
        sets={"follower": follower},
        condition="attribute_exists(pk) AND NOT (#status IN (:complete, :failed, :cancelled)) "
        "AND (attribute_not_exists(#follower) OR #follower = :s_follower OR #follower = :passed)",
        values={str(status): str(status) for status in TERMINAL} | {"passed": passed},
    )
    try:
        table.update(op)
    except table.ConditionFailed as refusal:
        return dict(refusal.items[0] or {})
    return None


def _move(task: Task, before: str) -> None:
    """Write whom a parked task waits for by now. Whoever dies before this follows anew, and finds the same."""
    moved = table.change(
        row_key(task.task_id),
        sets={"after": before, "parked": f"AFTER#{before}"},
        same={"status": "queued", "after": task.after},
    )
    if moved is not None:  # else it was woken, or ended, meanwhile
        task.after = before


def follower_of(task: Task) -> str | None:
    """Return who waits for a task that has just ended."""
    with table.calling():
        answer: Any = aws.dynamodb().get_item(
            TableName=settings().table_name,
            Key=row_key(task.task_id),
            ProjectionExpression="follower",
            ConsistentRead=True,
        )
    follower: str | None = values_of(answer.get("Item", {})).get("follower")
    return follower
