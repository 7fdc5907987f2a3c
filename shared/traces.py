"""The way of an ended run to the operator's collector: a message in the queue of webhooks (docs/traces.md)."""

from shared import traceparent, webhooks
from shared.clock import now
from shared.tasks.model import Task

KIND = "trace"
"""Type of such a message, among those of webhooks."""
OWNER = "#traces"
"""Whose deliveries exports are: nobody's name begins so. They have one owner's share, whoever's runs they tell of."""


def enqueue(task: Task) -> None:
    """Have an ended run exported, if there is a collector and its trace is recorded."""
    if traceparent.exported(task):
        at = now()
        what = {"task_id": task.task_id, "type": KIND, "url": "", "owner": OWNER}
        webhooks.send(what, attempt=1, first=at, due=at)
