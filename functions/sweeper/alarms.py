"""Looks after waiting tasks: sends the timers that have come within SQS's reach, and repairs what was lost.

Waiting tasks stand in partitions of their own of the ``due`` index, by when they must be looked at, so that a sweep
meets those whose turn it is and no other, however many wait.
"""

from __future__ import annotations

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import randrange
from typing import TYPE_CHECKING

from functions.sweeper import keep
from shared import webhooks
from shared.clock import now
from shared.errors import Contended, DependencyDown, NewerVersion
from shared.logs import get_logger
from shared.tasks import events, kin, lanes, listing, table, waits
from shared.tasks.items import WAIT_SHARDS, read_task, row_key, wait_shard_name
from shared.tasks.model import Status

if TYPE_CHECKING:
    from shared.limits.admission import Gate
    from shared.tasks.items import Attributes
    from shared.tasks.model import Task

AT_ONCE = 8
"""Tasks seen to at the same time."""

_log = get_logger("alarms")


def ring(gate: Gate, stop_at: float) -> Counter[str]:
    """See to every waiting task that is due, until ``stop_at``; returns counts by what was done."""
    done: Counter[str] = Counter()
    first = randrange(WAIT_SHARDS)  # noqa: S311 - whose turn comes first when there is no time for all
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="alarm") as pool:
        for n in range(WAIT_SHARDS):
            shard = wait_shard_name((first + n) % WAIT_SHARDS)
            while now() < stop_at:
                ids = listing.unsent_or_overdue(shard, before=now(), limit=table.READ_AT_ONCE)
                rows = table.get_many([row_key(task_id) for task_id in ids]) if ids else []
                seen = list(pool.map(partial(_see_to, gate), rows))
                done.update(seen)
                if len(ids) < table.READ_AT_ONCE or set(seen) <= {"away"}:
                    break
    return done


def _see_to(gate: Gate, row: Attributes) -> str:
    try:
        task = read_task(row)
        return _ring(gate, task) if task.status is Status.WAITING else "not waiting"
    except NewerVersion:
        return "of a newer version"
    except (DependencyDown, Contended) as error:
        _log.warning("not seen to", extra={"pk": row["pk"]["S"], "error": error.message})
        return "away"
    except (KeyError, ValueError, TypeError):  # a damaged row must not keep the others from being looked after
        _log.exception("row not understood", extra={"pk": row["pk"]["S"]})
        return "unreadable"


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
    waits.looked_after(task, max(at, task.next_try_at) + waits.REPAIR_SECONDS)
    return "timer sent"
