"""What is still to be done about a task that has ended, and until when it stays listed for that."""

from shared import traceparent
from shared.settings import settings
from shared.tasks import table
from shared.tasks.items import due_shard, row_key
from shared.tasks.model import Outcome, Task

GRACE_SECONDS = 30.0
"""How long after a task's end the sweeper leaves its webhook to who ended it."""
DEAD = "DEAD"
"""Partition of the ``due`` index that lists tasks which failed as dead letters, for ``make redrive``."""


def dead_letter(outcome: Outcome) -> bool:
    """Whether an outcome is that of a dead letter."""
    return outcome.error is not None and outcome.error.get("code") == "dead_letter"


def wants_webhook(task: Task) -> bool:
    """Whether somebody asked to be told of the task, and the deployment can."""
    return bool(task.params.get("webhook_url") and settings().queue_url_webhook)


def telling(task: Task) -> bool:
    """Whether something is to be sent of the task's end: its webhook, its trace."""
    return wants_webhook(task) or traceparent.exported(task)


def told(task: Task) -> None:
    """Note that what an ended task owes is on its way: nobody needs to look after the task any more.

    Raises:
        Contended, DependencyDown: the sweeper will enqueue it once more, under the same id.
    """
    if not task.may_leave_children:  # the sweeper looks after one with children until none of them is live
        leave_alone(task)


def leave_alone(task: Task) -> None:
    """Note that nobody needs to look after an ended task any more.

    Raises:
        Contended, DependencyDown: the sweeper looks once more, which does no harm.
    """
    table.change(
        row_key(task.task_id),
        removes=("due", "due_at"),
        same={"due": due_shard(task.task_id), "status": str(task.status)},
    )  # a dead letter, which stays listed for `make redrive`, or noted already
