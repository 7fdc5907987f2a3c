"""A submitted task's place in its session's line: behind whichever run of the session is not done."""

from functions.api.contract.problem import Problem
from shared.errors import Contended, DependencyDown
from shared.limits.admission import Ask, Gate
from shared.logs import get_logger
from shared.tasks import parking, succession
from shared.tasks.model import Task
from shared.tasks.succession import leave
from shared.valkey import RedisError

__all__ = ["follow", "join", "leave"]

log = get_logger("api")


def join(gate: Gate, task: Task, ask: Ask, on_busy: str) -> None:
    """Put a task in its session's line; behind another it is parked, without a running slot.

    Raises:
        Problem: 409, another is under way and this one is not to wait.
    """
    task.after = succession.join(task)
    if task.after is None:
        return
    if on_busy == "reject":
        leave(task)
        gate.undo(ask)
        parking.hand_on(gate, task)
        why = f"the run {task.after} of this session is not done; `on_busy` says what to do then"
        raise Problem(409, "session_busy", why, "session_id")
    gate.release_slot(task.user, task.task_id)
    parking.hand_on(gate, task)
    task.parked = True


def follow(gate: Gate, task: Task) -> None:
    """Have a written task woken by the one before it, or at once if that has ended; else the sweeper does."""
    try:
        if not succession.follow(task):
            parking.wake(gate, task.task_id)
    except (DependencyDown, Contended, RedisError) as error:
        log.warning("the sweeper sees to its turn", extra={"task_id": task.task_id, "error": str(error)})
