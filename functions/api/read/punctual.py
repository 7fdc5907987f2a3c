"""A task that waits longer than its ``timeout_s`` has ended when its client looks, whoever else should have seen it."""

from functions.api.door.gate import gate
from shared.errors import Contended, DependencyDown
from shared.logs import get_logger
from shared.tasks import store
from shared.tasks.model import Task


def punctual(task: Task) -> Task:
    """Return a task as it is once it has ended that should have."""
    if not task.params.get("timeout_s") or task.status.terminal:
        return task
    from shared.tasks import overdue  # here: most requests do without it

    try:
        return store.get(task.task_id) if overdue.expire(gate(), task) else task
    except (Contended, DependencyDown) as error:  # somebody sees to it a little later
        get_logger("api").warning("not ended", extra={"task_id": task.task_id, "error": str(error)})
        return task
