"""Deleting one response: its task with all that belongs to it, and its turn of a conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.api.erase import delete_partition
from shared.clock import iso
from shared.tasks import sessions

if TYPE_CHECKING:
    from shared.tasks.model import Task


def forget(task: Task) -> None:
    """Delete a task that has ended. Repeating it is harmless.

    Raises:
        DependencyDown: DynamoDB or S3 is away; what is deleted so far stays deleted.
    """
    if task.session_id and task.ended_at is not None:
        sessions.delete_turn(task.user, task.session_id, at=iso(task.ended_at), name=task.task_id)
    delete_partition(f"TASK#{task.task_id}")
