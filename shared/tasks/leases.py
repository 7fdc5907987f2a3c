"""The worker's side of a task's life: claim it, keep it, give it back.

``lease_no`` fences: every claim raises it, and every later write names it in its condition, so a worker that lost its
lease can write nothing, however late it wakes. The row is the lock; messages only say where to look.
"""

from __future__ import annotations

import os
import secrets
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.clock import now
from shared.errors import DependencyDown, LeaseLost, NewerVersion
from shared.settings import settings
from shared.tasks import events, lanes, table
from shared.tasks.items import Attributes, read_task, row_key
from shared.tasks.model import ITEM_VERSION, Status, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OWNER = f"{os.environ.get('AWS_LAMBDA_FUNCTION_NAME', 'local')}/{os.getpid()}-{uuid.uuid4().hex[:12]}"
"""Names this environment: in the ends that it writes, and with a claim's own part behind it in the rows it holds."""
EARLY_SECONDS = 2.0
"""A message may come this much before ``next_try_at`` (clocks and SQS's whole seconds) and still be taken."""
RESEND_AFTER_SECONDS = 900.0
"""A queued task's message counts as lost after this; doubles with every sweep. 15 minutes is SQS's longest delay."""
OVERDUE_LEASE_SECONDS = 30.0
"""How long after a lapsed lease the sweeper waits for the queue to bring the message back by itself."""


class CancelRequested(Exception):
    """The task's owner wants it cancelled: it is not to wait for another try."""


class Refusal(StrEnum):
    """Why a message does not lead to a run."""

    GONE = "gone"
    TERMINAL = "terminal"
    OLD = "old_generation"
    PARKED = "parked"
    LEASED = "leased"
    EARLY = "early"
    NEWER = "newer_version"
    """A newer version of Sluice wrote the row: a worker of that version is to have it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that must not run now: delete it, or hide it for ``hide_s`` seconds when that is above 0."""

    why: Refusal
    hide_s: float = 0.0


def new_owner() -> str:
    """Name one claim, through all its repeats: ``function/pid-environment-claim``."""
    return f"{OWNER}-{secrets.token_hex(4)}"


def claim(task_id: str, gen: int, *, owner: str | None = None) -> Task | Refused:
    """Take a task for this environment, in one write (two when it takes over from a crashed worker).

    An answer may be lost and the write repeated, by botocore or by the caller, who then names the same ``owner`` again:
    a claim does not stand in its own way.

    Raises:
        Contended: another writer holds the row right now.
        DependencyDown: DynamoDB is away.
    """
    at = now()
    owner = owner or new_owner()
    try:
        return _take(
            task_id,
            owner,
            at,
            gen,
            condition="#status = :queued AND #gen <= :gen AND attribute_not_exists(#parked) AND #next_try_at <= :soon",
            values={"queued": "queued", "gen": gen, "soon": at + EARLY_SECONDS},
            adds={"lease_no": 1},
        )
    except table.ConditionFailed as refusal:
        row = refusal.items[0]
    if row is None:
        return Refused(Refusal.GONE)
    try:
        task = read_task(row)
    except NewerVersion:
        return Refused(Refusal.NEWER)
    ours = _wrote(owner, row)
    if ours and task.lease_until > at:
        return task
    verdict = _judge(task, gen, at)
    if verdict is not None:
        return verdict
    try:
        taken = _take(
            task_id,
            owner,
            at,
            max(gen, task.gen),
            condition="#status = :processing AND #lease_no = :lease_no AND #lease_until = :lease_until",
            values={"processing": "processing", "lease_no": task.lease_no, "lease_until": task.lease_until},
            adds={"lease_no": 1, "crashes": 0 if ours else 1},
        )
    except table.ConditionFailed as refusal:
        row = refusal.items[0]
        if row is None or not _wrote(owner, row):
            return Refused(Refusal.LEASED, settings().lease_seconds)  # its owner woke up, or another took it
        taken = read_task(row)
    taken.taken_from = None if ours else task.lease_owner
    return taken


def _wrote(owner: str, row: Attributes) -> bool:
    return row.get("lease_owner") == {"S": owner}  # it goes when the lease is given up, whoever does that


def _judge(task: Task, gen: int, at: float) -> Refused | None:
    """Say why a task cannot be taken, or None when its lease has lapsed."""
    if task.status.terminal:
        return Refused(Refusal.TERMINAL)
    if gen < task.gen:
        return Refused(Refusal.OLD)
    if task.status is Status.PROCESSING:
        left = task.lease_until - at
        return Refused(Refusal.LEASED, left + 0.5) if left > 0 else None
    if task.parked:
        return Refused(Refusal.PARKED)  # leaving the parking lot sends a message of its own
    # Either not due yet, or it changed hands between the write and this look.
    return Refused(Refusal.EARLY, max(task.next_try_at - at, EARLY_SECONDS))


def _take(
    task_id: str, owner: str, at: float, gen: int, *, condition: str, values: dict[str, Any], adds: dict[str, int]
) -> Task:
    until = at + settings().lease_seconds
    # The claim is the first look at a row: it must not change one that this code cannot read.
    condition += " AND (attribute_not_exists(#v) OR #v <= :known)"
    values = values | {"known": ITEM_VERSION}
    op = table.update_op(
        row_key(task_id),
        sets={
            "status": "processing",
            "gen": gen,
            "lease_until": until,
            "lease_owner": owner,
            "due_at": until + OVERDUE_LEASE_SECONDS,
        },
        adds=adds,
        condition=condition,
        values=values,
    )
    return read_task(table.update(op))


def held(task: Task) -> tuple[str, dict[str, Any]]:
    """Return the condition (and its values) that this worker still holds the lease and knows the end of the log."""
    condition = "#status = :processing AND #lease_no = :lease_no AND #last_seq = :last_seq"
    return condition, {"processing": "processing", "lease_no": task.lease_no, "last_seq": task.last_seq}


def heartbeat(task_id: str, lease_no: int) -> tuple[float, bool]:
    """Extend a lease; returns when it now ends and whether its owner asked to cancel.

    Raises:
        LeaseLost: another took the task, or it ended.
        Contended: this worker is writing the row right now; the next beat will do.
        DependencyDown: DynamoDB is away.
    """
    until = now() + settings().lease_seconds
    op = table.update_op(
        row_key(task_id),
        sets={"lease_until": until, "due_at": until + OVERDUE_LEASE_SECONDS},
        condition="#status = :processing AND #lease_no = :lease_no",
        values={"processing": "processing", "lease_no": lease_no},
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
    if not sent:
        sets["unsent"] = True  # beside the reason, which stays the one that its owner is to know
    sets |= carried(task)
    if how.attempt is not None:
        sets["attempt"] = how.attempt
    if how.last_error is not None:
        sets["last_error"] = how.last_error
    if how.park:
        sets |= {"parked": task.user, "due_at": at + 60}
    adds = {"deferrals": 1} if how.deferral else {"continuations": 1} if how.continuation else {}
    condition, values = held(task)
    ops: list[dict[str, Any]] = []
    if log:
        op, last = events.append_op(task.task_id, task.last_seq, log, expires=events.expires(at))
        sets["last_seq"] = last
        ops.append(op)
    row = table.update_op(
        row_key(task.task_id),
        sets=sets,
        adds=adds,
        removes=tuple(name for name in ("lease_until", "lease_owner", "sweeps", "unsent") if name not in sets),
        condition=f"{condition} AND attribute_not_exists(#cancel_requested)",
        values=values,
    )
    try:
        fenced_write([row, *ops], written=lambda old: old.gen == gen and old.lease_no == task.lease_no)
    except LeaseLost as lost:
        found = lost.row
        ours = found is not None and (found.status, found.lease_no) == (Status.PROCESSING, task.lease_no)
        if ours and found.cancel_requested:  # not ended meanwhile: it is this worker that ends it
            raise CancelRequested from lost
        raise
    return sent


def carried(task: Task) -> dict[str, Any]:
    """Return what a worker knows better than the row: reservations, calls that were aborted but cost, the start."""
    return {
        "reserved_tokens": task.reserved_tokens,
        "reserved_micro_usd": task.reserved_micro_usd,
        "input_tokens": task.input_tokens,
        "output_tokens": task.output_tokens,
        "micro_usd": task.micro_usd,
        "started_at": task.started_at or task.run_started or now(),
    }


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
        item = refusal.items.get(0)
        row = read_task(item) if item else None
        if row is not None and written(row):
            return
        raise LeaseLost("the lease is gone", row=row) from refusal
