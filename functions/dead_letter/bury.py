"""What becomes of one dead message."""

from functools import cache
from typing import Any

from shared.clock import now
from shared.errors import DependencyDown, LeaseLost, NotFound
from shared.limits.admission import Gate
from shared.settings import settings
from shared.tasks import aftermath, events, items, lanes, settle, spend, store, table
from shared.tasks.claims import EARLY_SECONDS
from shared.tasks.model import Outcome, Status, Task

DAY_SECONDS = 86_400.0
BODY_CHARACTERS = 200_000
"""How much of an unreadable message is kept."""


@cache
def _gate() -> Gate:
    return Gate(load_spend=spend.load)


def bury(record: dict[str, Any]) -> str:
    """Fail the task of a dead message, unless the message is not what its task depends on; returns what was done.

    Raises:
        LeaseLost, Contended, DependencyDown: try again later, even if the task is failed by now: the sweeper does not
            know of a dead letter's webhook.
    """
    try:
        message = lanes.parse(record["body"])
    except lanes.BadMessage:
        _keep(record)
        return "unreadable, kept"
    try:
        task = store.get(message.task_id)
    except NotFound:
        return "no such task"
    if task.status.terminal and (task.error or {}).get("code") == "dead_letter":
        _finish(task)  # the burial may have died half-way; all of it may be done again
        return "buried before"
    if task.status.terminal or message.gen < task.gen or task.parked:
        return "not needed"
    if task.status is Status.PROCESSING and task.lease_until > now():
        return "running"  # its worker hides a message of its own, and the sweeper knows its lease
    if task.status is Status.WAITING:
        return "waiting"  # the sweeper knows when it is due, and sends a message of its own
    if task.status is Status.QUEUED:
        early = task.next_try_at > now() + EARLY_SECONDS
        if early or now() < _sent_at(task) + settings().untried_days * DAY_SECONDS:
            # Nobody took it since its message was sent: what a busy or paused lane gave back says nothing of it.
            lanes.send(
                task.lane, task.task_id, task.gen, user=task.user, delay_s=task.next_try_at - now(), trace=task.trace
            )
            return "came early, sent again" if early else "never tried, sent again"
    received = record.get("attributes", {}).get("ApproximateReceiveCount", "several")
    error = {
        "code": "dead_letter",
        "message": f"no worker could finish with this task's message; it was received {received} times",
        "type": "server_error",
        "last_error": task.last_error,
    }
    try:
        settle.end_unheld(task, Outcome(status=Status.FAILED, error=error))
    except LeaseLost:
        if store.get(message.task_id).status.terminal:
            return "not needed"
        raise
    _finish(task)
    return "failed"


def _sent_at(task: Task) -> float:
    """Return when a queued task's message was sent at the earliest, as far as its row says.

    It may be old and have been tried again, or have waited, not long ago; its items are kept for a life from then on.
    """
    kept = task.kept_until - settings().task_ttl_days * DAY_SECONDS
    return max(task.created, task.next_try_at, task.waiting_since, kept)


def _finish(task: Task) -> None:
    if not aftermath.finished(_gate(), task):
        raise DependencyDown("sqs")


def _keep(record: dict[str, Any]) -> None:
    """Keep an unreadable message where an operator finds it, instead of receiving it over and over."""
    at = now()
    item = items.item(
        {
            "pk": "UNREADABLE",
            "sk": str(record["messageId"]),
            # half a surrogate pair cannot be stored
            "body": str(record.get("body", ""))[:BODY_CHARACTERS].encode("utf-8", "replace").decode(),
            "queue": str(record.get("eventSourceARN", "")),
            "at": at,
            "ttl": int(events.expires(at)),
        }
    )
    table.put(table.put_op(item))
