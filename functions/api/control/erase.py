"""Erasing what belongs to a user: schedules, files, batches, tasks with events, steps and large values, conversations.

What is left, and why: the day's spending (two totals, which hold the ceilings; they expire by themselves), digests of
idempotency keys (a day), and tasks that a worker is just running: these are asked to stop and erased by the next call.
Large values are found through the items that name them. One whose transaction was refused (its worker had lost the
lease) is named by none and goes with the bucket's lifecycle, ``BlobDays`` after it was written.
"""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from functions.api.control.cancel import cancel
from functions.api.dialect import conversations
from shared import credentials
from shared.errors import Contended, NotFound
from shared.tasks import listing, partitions, sessions, store
from shared.tasks.items import listed_under

LONGEST_S = 15.0
"""One call works no longer than this; the caller repeats it while ``more`` is true."""
PAGE = 25
"""Tasks looked at together, and the most items of one DynamoDB batch."""


@dataclass(slots=True)
class Erasure:
    """What was done."""

    tasks: int = 0
    sessions: int = 0
    items: int = 0
    cancelled: int = 0
    more: bool = False

    def public(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def erase(user: str, *, longest_s: float = LONGEST_S) -> Erasure:
    """Erase a user's data, for ``longest_s`` seconds at most. Repeating it is harmless.

    Raises:
        DependencyDown: DynamoDB or S3 is away; what is erased so far stays erased.
    """
    until = time.monotonic() + longest_s
    done, cursor, known = Erasure(), None, set[str]()
    _erase_schedules(user, done)  # first: they make new tasks
    done.items += partitions.delete(f"FILES#{user}")
    done.items += partitions.delete(f"CREDENTIALS#{user}")
    credentials.forget(user)
    done.items += partitions.delete(f"ALERTS#{user}")
    _erase_batches(user, until, done)
    if done.more:
        return done
    while True:
        found, cursor = listing.list_tasks(user, limit=PAGE, cursor=cursor)
        for summary in found:
            # The conversation first: it can only be found through its tasks.
            session = str(summary.get("session_id", "default"))
            if session and session not in known:
                known.add(session)
                turns = sessions.delete(user, session)
                done.items += turns
                done.sessions += turns > 0
            _erase_task(user, str(summary["task_id"]), done)
            if time.monotonic() >= until:
                done.more = True
                return done
        if cursor is None:
            # Again: a run that ended meanwhile has put another turn.
            for session in known:
                done.items += sessions.delete(user, session)
            done.items += conversations.forget_all(user)
            return done


def _erase_schedules(user: str, done: Erasure) -> None:
    """Delete schedules one by one, as each also counts for the service that its user may belong to."""
    from shared.schedules import store as schedules  # here: few users have any

    start = None
    while True:
        found, start = schedules.page(user, limit=PAGE, start=start)
        for one in found:
            with suppress(NotFound):
                schedules.delete(user, one.schedule_id)
                done.items += 1 + partitions.delete(f"FIRING#{one.schedule_id}")
        if start is None:
            done.items += partitions.delete(f"SCHEDULES#{user}")
            return


def _erase_batches(user: str, until: float, done: Erasure) -> None:
    """Erase batches with the tasks of their lines: each batch last, as these can only be found through it."""
    from shared.bulk import model  # here: few users have any
    from shared.bulk import store as batches

    while True:
        found, more = batches.page(user, limit=PAGE, after=None)
        for batch in found:
            if not batch.ended and not batches.stop(batch):
                done.more = True  # somebody is just at it
                return
            cursor = None
            while True:
                where = listed_under(user, batch.batch_id)
                lines, cursor = listing.list_tasks(where, limit=PAGE, cursor=cursor)
                for line in lines:
                    _erase_task(user, str(line["task_id"]), done)
                    if time.monotonic() >= until:
                        done.more = True
                        return
                if cursor is None:
                    break
            if done.more:
                return
            done.items += partitions.delete(f"BATCH#{batch.batch_id}")
            sessions.delete_items([model.key_of(user, batch.batch_id)])
        if not more:
            done.items += partitions.delete(f"BATCHES#{user}")
            return


def _erase_task(user: str, task_id: str, done: Erasure) -> None:
    try:
        task = store.get(task_id)
        if task.user != user:
            return
        if not task.status.terminal:
            task = cancel(task)
            done.cancelled += 1
            if not task.status.terminal:
                done.more = True
                return
    except NotFound:  # its row is gone, the index has not noticed yet
        return
    except Contended:
        done.more = True
        return
    done.items += partitions.delete(f"TASK#{task_id}")
    done.tasks += 1
