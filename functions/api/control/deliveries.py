"""What came of a task's webhook, and sending it once more, for operators."""

from typing import Any

from functions.api.contract.problem import Problem
from shared import webhooks
from shared.tasks import owed, table
from shared.tasks.model import Task


def shown(task: Task) -> dict[str, Any] | None:
    """Return what came of a task's webhook so far; None if it asked for none."""
    if not task.params.get("webhook_url"):
        return None
    row = table.get(webhooks.outcome_key(task.task_id))
    return {"url": str(task.params["webhook_url"]), **webhooks.outcome(row)}


def check(task: Task) -> None:
    """Make sure that a task has a webhook to deliver again.

    Raises:
        Problem: 409, it has none.
    """
    if not owed.wants_webhook(task):
        raise Problem(409, "no_webhook", "the task asked for no webhook", "task_id")
    if not task.status.terminal:
        raise Problem(409, "not_ended", f"the task is {task.status}: its webhook tells of its end", "task_id")


def again(task: Task) -> None:
    """Have an ended task's webhook (`check`) delivered once more, from the first try on, under the same id.

    Raises:
        Contended, DependencyDown: try again.
    """
    fresh = {"status": "pending", "attempts": 0}
    removes = ("last_status", "last_error", "at")
    # Where nothing came of it yet, it is told twice at worst, as any webhook may be.
    key = webhooks.outcome_key(task.task_id)
    table.change(key, sets=fresh, removes=removes, condition="attribute_exists(#pk)")
    webhooks.enqueue(task)
