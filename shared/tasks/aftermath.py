"""What follows the end of a task: counters, the user's next parked task, the webhook, live watchers.

None of it can fail the task, which has ended; the sweeper repairs what is lost here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared import traces, watchers, webhooks
from shared.errors import Contended, DependencyDown, NewerVersion, NotFound
from shared.logs import get_logger
from shared.tasks import days, lanes, listing, settle, store, succession
from shared.valkey import RedisError

if TYPE_CHECKING:
    from shared.limits.admission import Gate
    from shared.tasks.model import Task

UNPARK_AT_ONCE = 3
"""Parked tasks looked at when a slot comes free."""
PARKED_SLOT_SECONDS = 900
"""How long a slot lasts for a task that waits in a lane; the claim and each heartbeat renew it."""

_log = get_logger("aftermath")


def finished(gate: Gate, task: Task, *, watched: bool = True) -> bool:
    """See to what follows a task that just ended; returns what ``announce`` returns.

    ``watched`` is false for whoever looked after the end, and found that nobody watches.
    Whoever calls this may die half-way. The webhook is durable (`settle.WEBHOOK_GRACE_SECONDS`), counters are found
    open by the sweeper, and so are watchers, by the counters that are settled last.
    """
    announced = announce(task)
    told = watchers.finish(task.task_id) if watched else True
    try:
        others_wait = gate.settle(task.user, task.task_id, task.day, *days.uncounted(task))
        if not told:
            gate.look_again(task.user, task.task_id, task.day)
        if (task.session_id or task.parent) and (follower := succession.follower_of(task)):
            _next_in_line(gate, task, follower)
        if others_wait:
            unpark_next(gate, task.user, task.running_cap)
    except (RedisError, DependencyDown, Contended) as error:
        _log.warning("counters not settled", extra={"task_id": task.task_id, "error": str(error)})
    if task.batch:
        from shared.bulk import pokes  # here: few tasks are lines of a batch

        pokes.ended(task)
    if task.parent or task.may_leave_children:
        from shared.tasks import kin  # here: few tasks have relatives

        kin.relatives(gate, task)
    return announced


def announce(task: Task) -> bool:
    """Enqueue an ended task's webhook, if it asked for one, and its trace, if there is a collector.

    A second time does no harm, as the ids are the same. Returns False when SQS refused. Unless it is a dead
    letter the sweeper enqueues it then.
    """
    if not settle.owes_telling(task):
        return True
    try:
        webhooks.enqueue(task)
        traces.enqueue(task)
    except DependencyDown as error:
        _log.error("webhook not enqueued", extra={"task_id": task.task_id, "error": error.message})
        return False
    try:
        settle.webhook_enqueued(task)
    except (DependencyDown, Contended) as error:
        _log.warning("webhook not noted", extra={"task_id": task.task_id, "error": error.message})
    return True


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


def _next_in_line(gate: Gate, ended: Task, follower: str) -> None:
    """Let who waited for a task go on; if that waited itself until its end, they wait for the same now."""
    if ended.after:
        try:
            behind = store.get(follower)
        except (NotFound, NewerVersion):
            return
        if behind.after and succession.follow(behind):
            return
    wake(gate, follower)


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
    return store.park_for_slot(task)


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
    try:
        lanes.send(task.lane, task_id, task.gen, user=user, trace=task.trace)
    except DependencyDown:
        store.mark_unsent(task)
        raise
    return True
