"""Deleting one response: its task with all that belongs to it, and its turn of a conversation."""

from functions.api.contract.problem import Problem, retry_after
from functions.api.door.gate import gate
from shared.clock import iso
from shared.tasks import partitions, sessions, store
from shared.tasks.model import Task


def forget(task: Task, *, keep_turn: bool = False) -> None:
    """Delete a task that has ended, and unless ``keep_turn`` what its conversation remembers of it.

    Its row goes last, so that repeating it is harmless, and does the rest.

    Raises:
        Problem: 409, the run that started it is to read its end yet, or runs that it started are still to end.
        DependencyDown: DynamoDB or S3 is away; what is deleted so far stays deleted.
    """
    if task.parent is not None and not store.has_ended(task.parent):
        raise Problem(409, "parent_not_ended", f"the run {task.parent} that started it waits for its end", "task_id")
    if task.children:
        from shared.tasks import aftermath, kin  # here: most requests do without it

        if live := kin.end_children(gate(), task, aftermath.finished):
            why = f"{live} runs that it started have not ended yet; they were told to: try again"
            raise Problem(409, "children_not_ended", why, "task_id", headers=retry_after(5))
    if not keep_turn and task.session_id and task.ended_at is not None:
        sessions.delete_turn(task.user, task.session_id, at=iso(task.ended_at), name=task.task_id)
    partitions.delete(f"TASK#{task.task_id}")
