"""Cancelling, and what follows when that ends a task at once."""

from functions.api.door.gate import gate
from shared.tasks import settle
from shared.tasks.model import Status, Task


def cancel(task: Task) -> Task:
    """Cancel a task, as it was just read; returns it as it now is. Idempotent.

    Raises:
        NotFound: it is gone.
        Contended: it changed hands too often to catch.
    """
    after = settle.cancel(task.task_id, task.user)
    if after.status is Status.CANCELLED and not task.status.terminal:
        from shared.tasks import aftermath  # here: most requests do without it

        aftermath.finished(gate(), after)
    return after
