"""What came of a task's webhook, beside the task: item ``TASK#<id>`` / ``WEBHOOK``.

The webhook of a wait has one of its own, ``WEBHOOK#<wait>``. That of a budget's alert stands beside the alert, whose
partition takes the place of the task's id, and who is told that of the wait. That of a schedule's firing stands beside
what is told, in the same way.
"""

from dataclasses import dataclass

from shared import webhooks
from shared.clock import now
from shared.tasks import events, table
from shared.tasks.items import Attributes, plain

OTHERS = ("ALERT#", "FIRING#")
"""How the partitions begin of what is no task's: alerts (`shared.alerts.model`), news (`shared.schedules.telling`)."""
FINAL = frozenset({"delivered", "given_up", "refused"})


@dataclass(frozen=True, slots=True)
class Try:
    """The newest try: ``waiting`` for the next, ``delivered``, ``given_up`` after a day or a 410, or ``refused``."""

    status: str
    attempts: int
    last_status: int | None
    last_error: str | None


def _key(task_id: str, wait: str) -> Attributes:
    key = webhooks.outcome_key(task_id, wait)
    return key | {"pk": {"S": task_id}} if task_id.startswith(OTHERS) else key


def is_done(task_id: str, attempt: int, *, wait: str = "") -> bool:
    """Tell whether this try has been recorded, or none is wanted any more: its message is a repeat."""
    row = table.get(_key(task_id, wait))
    return row is not None and (plain(row["attempts"]) >= attempt or plain(row["status"]) in FINAL)


def write(task_id: str, done: Try, *, wait: str = "") -> None:
    """Record a try. A delivery is always recorded; a failure does not hide a delivery or a later try.

    Raises:
        Contended, DependencyDown: it could not be written.
    """
    at = now()
    known = {"last_status": done.last_status, "last_error": done.last_error}
    sets = {"status": done.status, "attempts": done.attempts, "at": at, "ttl": int(events.expires(at))}
    later = "attribute_not_exists(#attempts) OR (#attempts < :attempts AND NOT #status = :delivered)"
    always = done.status == "delivered"
    table.change(
        _key(task_id, wait),
        sets=sets | {name: value for name, value in known.items() if value is not None},
        removes=tuple(name for name, value in known.items() if value is None),
        condition="" if always else later,
        values=None if always else {"attempts": done.attempts, "delivered": "delivered"},
    )
