"""Looks after waiting tasks: sends the timers that have come within SQS's reach, and repairs what was lost."""

import math
from collections import Counter

from functions.sweeper import keep
from functions.sweeper.shards import go_through
from shared import webhooks
from shared.clock import now
from shared.limits.admission import Gate
from shared.limits.lane import Lanes
from shared.tasks import events, kin, lanes, waits, waking
from shared.tasks.items import WAIT_SHARDS, Attributes, read_task, wait_shard_name
from shared.tasks.model import Status, Task


def ring(gate: Gate, stop_at: float) -> Counter[str]:
    """See to every waiting task that is due, until ``stop_at``; returns counts by what was done."""

    def see_to(row: Attributes) -> str:
        task = read_task(row)
        return _ring(gate, task) if task.status is Status.WAITING else "not waiting"

    return go_through([wait_shard_name(n) for n in range(WAIT_SHARDS)], see_to, stop_at)


def _ring(gate: Gate, task: Task) -> str:
    at = now()
    if task.untold:
        webhooks.tell_waiting(task)
    check = math.inf
    if kin.look_after_parent(gate, task):
        check = at + max(waits.CHECK_SECONDS, at - task.waiting_since)
    left = task.next_try_at - at
    if left > lanes.MAX_DELAY_SECONDS:
        told, due_at = "announced", waits.due(task, task.next_try_at, at)
        if due_at <= at:
            told, task.kept_until = "kept for longer", keep.keep(task.task_id, events.expires(task.next_try_at))
            due_at = waits.due(task, task.next_try_at, at)
        waits.looked_after(task, min(due_at, check), kept_until=task.kept_until)
        return told
    waits.send_timer(task, task.gen, task.next_try_at)
    waking.expects(Lanes(), task)
    waits.looked_after(task, max(at, task.next_try_at) + waits.REPAIR_SECONDS)
    return "timer sent"
