"""What follows when a run comes to wait, and when it is woken: counters, running slots, messages.

None of it can lose the run: its row says what it is, and the sweeper repairs what is lost here.
"""

from shared.clock import now
from shared.errors import Contended, DependencyDown
from shared.limits import tiers
from shared.limits.admission import Gate
from shared.limits.lane import Lanes
from shared.logs import get_logger
from shared.tasks import days, lanes, parking, spend, table
from shared.tasks.items import row_key
from shared.tasks.model import Task
from shared.valkey import RedisError

_log = get_logger("waking")


def rests(gate: Gate, task: Task, used: tuple[int, int]) -> None:
    """Give back what a task that now waits held: its place in every count, its reservation, its running slot.

    ``used``: the tokens and micro-USD that nobody counted before (`days.uncounted`, before it was suspended).
    """
    try:
        if gate.rest(task.user, task.task_id, task.day, *used, spend.caps_of(task)):
            parking.unpark_next(gate, task.user, task.running_cap)
    except (RedisError, DependencyDown, Contended) as error:
        _log.warning("counters not settled", extra={"task_id": task.task_id, "error": str(error)})


def expects(book: Lanes, task: Task) -> None:
    """Have a task whose timer is on its way wait in its lane from then on: a full lane owes it a slot as any other."""
    if (delay_s := task.next_try_at - now()) > lanes.MAX_DELAY_SECONDS:
        return
    try:
        book.waits(task.lane, task.user, task.task_id, max(0.0, delay_s), 0)
    except RedisError as error:  # the queue's order decides
        _log.warning("not lined up", extra={"task_id": task.task_id, "error": str(error)})


def count_again(gate: Gate, task: Task) -> None:
    """Count a task that waited as an open one again, with what its row holds reserved."""
    try:
        limits = tiers.of_task(task)
        gate.adopt(task.user, task.task_id, task.day, *days.reserved(task), limits)
    except (RedisError, DependencyDown) as error:
        _log.warning("not counted again", extra={"task_id": task.task_id, "error": str(error)})


def send(gate: Gate, task: Task) -> bool:
    """Send a task that was just woken, or park it while its user is at the running cap; returns whether it was sent.

    The row was written before: whoever dies here leaves a queued task, which the sweeper sends.
    """
    count_again(gate, task)
    try:
        slot_s = parking.PARKED_SLOT_SECONDS
        if not gate.take_slot(task.user, task.task_id, task.running_cap, slot_s, lane=task.lane):
            return _park(gate, task)
    except (RedisError, DependencyDown):
        pass  # without Valkey replicas are the only bound
    try:
        parking.send(task)
    except (DependencyDown, Contended) as error:
        _log.warning("the task becomes due by itself", extra={"task_id": task.task_id, "error": error.message})
    return True


def _park(gate: Gate, task: Task) -> bool:
    try:
        parked = table.change(
            row_key(task.task_id),
            sets={"parked": task.user, "due_at": now() + 60},
            same={"status": "queued", "gen": task.gen},
        )
        # None: it was cancelled, or a worker had it before.
        return parked is not None and parking.look_again(gate, task)
    except (Contended, DependencyDown) as error:  # the sweeper sends it, and its worker parks it
        _log.warning("not parked", extra={"task_id": task.task_id, "error": error.message})
    return False
