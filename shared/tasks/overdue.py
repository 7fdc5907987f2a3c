"""Tasks that wait, for a worker or parked, longer than their ``timeout_s``: whoever sees one ends it.

A run under way is ended by its worker. One that waits nobody holds: so workers look for them (`Look.late`), the sweeper
does, and a client that asks for one sees its end.
"""

from shared.clock import now
from shared.errors import Contended, DependencyDown, LeaseLost, NewerVersion, NotFound
from shared.limits.admission import Gate
from shared.logs import get_logger
from shared.tasks import aftermath, settle, store
from shared.tasks.model import Outcome, Status, Task

ERROR = {"code": "timeout", "message": "the run took longer than its timeout_s", "type": "timeout"}

_log = get_logger("overdue")


def is_late(task: Task) -> bool:
    """Tell whether a task waits though it must have ended."""
    asked = float(task.params.get("timeout_s") or 0)
    return task.status is Status.QUEUED and asked > 0 and now() >= task.created + asked


def expire(gate: Gate, task: Task) -> bool:
    """End a task that is late, as it was just read; False when it is not, or changed meanwhile.

    Raises:
        Contended, DependencyDown: nothing was written.
    """
    if not is_late(task):
        return False
    try:
        settle.end_unheld(task, Outcome(status=Status.FAILED, error=ERROR))
    except LeaseLost:
        return False
    _log.info("ended while it waited", extra={"task_id": task.task_id, "code": ERROR["code"]})
    aftermath.finished(gate, task)
    return True


def expire_by_id(gate: Gate, task_id: str) -> bool:
    """Do the same for a task that may be late; never raises for it: it is looked at again."""
    try:
        return expire(gate, store.get(task_id))
    except (NotFound, NewerVersion):
        return False
    except (Contended, DependencyDown) as error:
        _log.warning("not ended", extra={"task_id": task_id, "error": str(error)})
        return False
