"""Parked tasks and running slots: who gets a slot that comes free, and how its message is sent.

A parked task is queued without a message, since its user has as many runs at once as allowed, or its session is busy.
"""

from shared.errors import Contended, DependencyDown, NewerVersion, NotFound
from shared.limits.admission import Gate
from shared.logs import get_logger
from shared.tasks import lanes, listing, store
from shared.tasks.model import Task
from shared.valkey import RedisError

_log = get_logger("parking")

UNPARK_AT_ONCE = 3
"""Parked tasks looked at when a slot comes free."""
PARKED_SLOT_SECONDS = 900
"""How long a slot lasts for a task that waits in a lane; the claim and each heartbeat renew it."""


def unpark_next(gate: Gate, user: str, running_cap: int) -> int:
    """Give free running slots to a user's oldest parked tasks and send them; returns how many.

    Raises:
        RedisError, DependencyDown, Contended: some are still parked; the sweeper sees to them.
    """
    sent = 0
    for task_id in listing.parked_tasks(user, limit=UNPARK_AT_ONCE):
        if not gate.take_slot(user, task_id, running_cap, PARKED_SLOT_SECONDS):
            break
        sent += unpark(gate, user, task_id)
    return sent


def look_again(gate: Gate, task: Task) -> bool:
    """Have a task that was just parked for want of a slot go on if one came free before its row said so; says whether.

    Whoever freed that looked for parked tasks, and did not find this one. Costs a round trip to Valkey. Never raises:
    the sweeper sees to what is still parked.
    """
    try:
        if gate.take_slot(task.user, task.task_id, task.running_cap, PARKED_SLOT_SECONDS):
            return unpark(gate, task.user, task.task_id)
    except (RedisError, DependencyDown, Contended) as error:
        _log.warning("the sweeper sees to its slot", extra={"task_id": task.task_id, "error": str(error)})
    return False


def hand_on(gate: Gate, task: Task) -> None:
    """Give a running slot that was taken for this task, and is free again, to the user's oldest parked task.

    Another request may have parked one meanwhile. Never raises: the sweeper sees to what is still parked.
    """
    if task.running_cap <= 0 or task.parked:
        return
    try:
        unpark_next(gate, task.user, task.running_cap)
    except (RedisError, DependencyDown, Contended) as error:
        _log.warning("the sweeper sees to a free slot", extra={"task_id": task.task_id, "error": str(error)})


def wake(gate: Gate, task_id: str) -> bool:
    """Let a task go on whose session is free now; False when it does not wait for that any more.

    Raises:
        RedisError, DependencyDown, Contended: it still waits; the sweeper sees to it.
    """
    try:
        task = store.get(task_id)
    except (NotFound, NewerVersion):
        return False
    if not task.after:
        return False
    if gate.take_slot(task.user, task_id, task.running_cap, PARKED_SLOT_SECONDS):
        return unpark(gate, task.user, task_id)
    parked = store.park_for_slot(task)
    if parked:
        look_again(gate, task)
    return parked


def unpark(gate: Gate, user: str, task_id: str) -> bool:
    """Send a parked task that was just given a running slot; False when it is not parked any more.

    Its row is read after the slot was taken: a task that had ended before gives it back here, one that ends later does
    so itself.

    Raises:
        DependencyDown, Contended: it is still parked, or waits for the sweeper to send it.
    """
    try:
        task = store.get(task_id)
    except (NotFound, NewerVersion):
        gate.release_slot(user, task_id)  # a newer version's worker takes it again with its next heartbeat
        return False
    if task.status.terminal:
        gate.release_slot(user, task_id)
        return False
    if not store.unpark(task):
        return False
    gate.take_slot(user, task_id, 0, 0, lane=task.lane)  # it has a slot: what is noted is that it waits in its lane
    if not send(task):
        raise DependencyDown("sqs")
    return True


def send(task: Task) -> bool:
    """Send the message of a queued task whose row stands; False when SQS refused it, and the sweeper sends it.

    Raises:
        DependencyDown, Contended: SQS refused it, and nor could that be noted: the task becomes due by itself.
    """
    try:
        lanes.send(task.lane, task.task_id, task.gen, user=task.user, trace=task.trace)
    except DependencyDown:
        _log.warning("SQS refused a message; the sweeper will send it", extra={"task_id": task.task_id})
        store.mark_unsent(task)
        return False
    return True
