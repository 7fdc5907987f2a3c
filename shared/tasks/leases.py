"""The worker's side of a task that it has claimed: keep it, write to it, give it back.

``lease_no`` fences: every claim raises it, and every later write names it in its condition, so a worker that lost its
lease can write nothing, however late it wakes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.clock import now
from shared.errors import Contended, DependencyDown, LeaseLost
from shared.settings import settings
from shared.tasks import events, lanes, records, table
from shared.tasks.items import read_task, row_key
from shared.tasks.model import Status, Task

RESEND_AFTER_SECONDS = 900.0
"""A queued task's message counts as lost after this; doubles with every sweep. 15 minutes is SQS's longest delay."""
OVERDUE_LEASE_SECONDS = 30.0
"""How long after a lapsed lease the sweeper waits for the queue to bring the message back by itself."""
RUNNING_CHECK_SECONDS = 300.0
"""How often the sweeper looks after a task whose lease it found alive. Claims and heartbeats leave alone when a task is
due: moving that in the index would cost twice what the write itself does, for every run and every 20 s."""

GIVEN_BACK = ("lease_until", "lease_owner", "sweeps", "unsent", "waiting_since")
"""Attributes that a task loses when it is given back."""


class CancelRequested(Exception):
    """The task's owner wants it cancelled: it is not to wait for another try."""


def held(lease_no: int) -> dict[str, Any]:
    """Return what a row says while the worker of a lease still holds it."""
    return {"status": str(Status.PROCESSING), "lease_no": lease_no}


def heartbeat(task_id: str, lease_no: int, task: Task | None = None) -> tuple[float, bool]:
    """Extend a lease; returns when it now ends and whether its owner asked to cancel.

    With a ``task`` the row learns how far its run is. No index learns of it: see ``RUNNING_CHECK_SECONDS``.

    Raises:
        LeaseLost: another took the task, or it ended.
        Contended: this worker is writing the row right now; the next beat will do.
    """
    until = now() + settings().lease_seconds
    told = records.progress(task) if task is not None else {}
    op = table.update_op(
        row_key(task_id),
        sets={"lease_until": until, **told},
        removes=("last_error",) if told.get("attempt") == 0 else (),
        same=held(lease_no),
    )
    try:
        row = table.update(op)
    except table.ConditionFailed as refusal:
        raise LeaseLost(f"task {task_id} is no longer ours") from refusal
    return until, "cancel_requested" in row


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """How a task goes back into the queue. ``reason`` is shown to its owner."""

    delay_s: float
    reason: str
    lane: str | None = None
    attempt: int | None = None
    last_error: dict[str, Any] | None = None
    deferral: bool = False
    continuation: bool = False
    park: bool = False
    suspend: bool = False
    """It only waits now, if nothing came meanwhile: see `shared.tasks.waits.suspend`."""


def requeue(task: Task, how: Requeue, log: Sequence[events.Event] = ()) -> bool:
    """Give a task back: the new message first, then the row; the caller then deletes the old message.

    Whatever dies in between, a message remains. Returns False when SQS refused: the row is queued all the same and
    the sweeper sends the message as soon as it is due.

    Raises:
        LeaseLost: the task is no longer ours; nothing was changed (the extra message is harmless).
        Contended, DependencyDown: nothing was changed.
    """
    gen = task.gen + 1
    lane = how.lane or task.lane
    sent = how.park
    if not how.park:
        try:
            lanes.send(lane, task.task_id, gen, user=task.user, delay_s=how.delay_s, trace=task.trace)
            sent = True
        except DependencyDown:
            sent = False
    at = now()
    next_try_at = at + how.delay_s
    sets: dict[str, Any] = {
        "status": "queued",
        "gen": gen,
        "lane": lane,
        "reason": how.reason,
        "next_try_at": next_try_at,
        "due_at": next_try_at + RESEND_AFTER_SECONDS if sent else next_try_at,
    }
    if lane != task.lane and task.first_lane is None:
        sets["first_lane"] = task.lane
    if not sent:
        sets["unsent"] = True  # beside the reason, which stays the one that its owner is to know
    sets |= carried(task)
    sets["attempt"] = task.attempt if how.attempt is None else how.attempt
    if (last_error := how.last_error or task.last_error) is not None:
        sets["last_error"] = last_error
    if how.park:
        sets |= {"parked": task.user, "due_at": at + 60}
    adds = {"deferrals": 1} if how.deferral else {"continuations": 1} if how.continuation else {}
    ops: list[dict[str, Any]] = []
    if log:
        op, sets["last_seq"] = events.append_op(task, log, expires=events.expires(at))
        ops.append(op)
    row = table.update_op(
        row_key(task.task_id),
        sets=sets,
        adds=adds,
        removes=tuple(name for name in (*GIVEN_BACK, "last_error") if name not in sets),
        same=held(task.lease_no),
        condition="attribute_not_exists(#cancel_requested)",
    )
    try:
        fenced_write([row, *ops], written=lambda old: old.gen == gen and old.lease_no == task.lease_no)
    except LeaseLost as lost:
        found = lost.row
        ours = found is not None and (found.status, found.lease_no) == (Status.PROCESSING, task.lease_no)
        if ours and found.cancel_requested:  # not ended meanwhile: it is this worker that ends it
            raise CancelRequested from lost
        raise
    task.unwritten.clear()
    return sent


def carried(task: Task) -> dict[str, Any]:
    """Return what a worker knows better than the row: what the log says, and calls that were cut but cost."""
    waits: dict[str, Any] = {"waiting_for": task.waiting_for} if task.waiting_for else {}
    return (
        records.state(task, None)
        | waits
        | {
            "waited_s": task.waited_s,
            "started_at": task.started_at or task.run_started or now(),
            "last_seq": task.last_seq,
        }
    )


def fenced_write(ops: list[dict[str, Any]], *, written: Callable[[Task], bool]) -> None:
    """Write a transaction whose first operation carries the lease condition.

    ``written`` tells from the row whether this very write had been done: its answer may have been lost.

    Raises:
        LeaseLost: the condition did not hold; carries the row.
        Contended, DependencyDown: nothing was written.
    """
    try:
        if len(ops) == 1:
            table.update(ops[0])
        else:
            table.transact(ops)
    except table.ConditionFailed as refusal:
        was_written(refusal, written)


def was_written(refusal: table.ConditionFailed, written: Callable[[Task], bool]) -> None:
    """Raise what the refusal of a `fenced_write` means, unless the row tells that it had been ``written``."""
    if 0 in refusal.unseen:  # a heartbeat writes it, say: nobody looked whose the lease is
        raise Contended("another writer holds the row") from refusal
    item = refusal.items.get(0)
    row = read_task(item) if item else None
    if row is None or not written(row):
        raise LeaseLost("the lease is gone", row=row) from refusal


@dataclass(frozen=True, slots=True)
class Fenced:
    """A write as ``fenced_write`` takes it, and what is noted once it is done."""

    ops: list[dict[str, Any]]
    written: Callable[[Task], bool]
    note: Callable[[], None]


def fenced_writes(writes: Sequence[Fenced]) -> list[Exception | None]:
    """Do several in as few requests as hold them; returns, by position, what ``fenced_write`` would have raised."""
    together = [n for n, write in enumerate(writes) if len(write.ops) > 1]
    failed: dict[int, Exception | None] = dict(
        zip(together, table.transact_each([writes[n].ops for n in together]), strict=True)
    )
    for n, write in enumerate(writes):
        try:
            if n not in failed:
                table.update(write.ops[0])
            elif (error := failed[n]) is not None:
                raise error
            failed[n] = None
        except table.ConditionFailed as refusal:
            try:
                was_written(refusal, write.written)
                failed[n] = None
            except Exception as lost:
                failed[n] = lost
        except Exception as error:
            failed[n] = error
    return [failed[n] for n in range(len(writes))]
