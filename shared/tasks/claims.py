"""How a worker takes a task: the row is the lock, messages only say where to look.

Every claim raises ``lease_no``, which fences all that follows (`leases`). Runs of one batch are claimed together, in
one request that grants or refuses each by itself.
"""

import os
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from shared.clock import now
from shared.errors import DependencyDown, LeaseLost, NewerVersion, SluiceError
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import records, statements, table
from shared.tasks.items import Attributes, due_shard, read_task, row_key
from shared.tasks.lanes import MAX_DELAY_SECONDS
from shared.tasks.leases import OVERDUE_LEASE_SECONDS
from shared.tasks.model import ITEM_VERSION, Status, Task

EARLY_SECONDS = 2.0
"""A message may come this much before ``next_try_at`` (clocks and SQS's whole seconds) and still be taken."""
WOKEN = "woken"
"""Reason of a task that waited and is to go on."""
_DUE = "#status = :queued AND #gen <= :gen AND attribute_not_exists(#parked) AND #next_try_at <= :soon"
"""What holds of a task that waits for a worker and nothing else."""

_log = get_logger("claims")


class Refusal(StrEnum):
    """Why a message does not lead to a run."""

    GONE = "gone"
    TERMINAL = "terminal"
    OLD = "old_generation"
    PARKED = "parked"
    LEASED = "leased"
    AHEAD = "ahead"
    """Its holder gives it back just now: it sent this message, and is about to write that."""
    EARLY = "early"
    WAITING = "waiting"
    """It waits for what has not come; what brings that sends a message of its own."""
    NEWER = "newer_version"
    """A newer version of Sluice wrote the row: a worker of that version is to have it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that must not run now: delete it, or hide it for ``hide_s`` seconds when that is above 0."""

    why: Refusal
    hide_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A task that a message brought, and who is to hold it: an owner of its own for each message."""

    task_id: str
    gen: int
    owner: str


def environment() -> str:
    """Name this environment: in the ends that it writes, and with a claim's own part behind it in the rows it holds.

    Made when it is first needed, never on import: all environments that start from one snapshot (SnapStart) share what
    was made before it was taken.
    """
    return _named(os.getpid())


@cache
def _named(pid: int) -> str:
    return f"{os.environ.get('AWS_LAMBDA_FUNCTION_NAME', 'local')}/{pid}-{uuid.uuid4().hex[:12]}"


def new_owner() -> str:
    """Name one claim, through all its repeats: ``function/pid-environment-claim``."""
    return f"{environment()}-{secrets.token_hex(4)}"


def claim(task_id: str, gen: int, *, owner: str | None = None) -> Task | Refused:
    """Take a task for this environment, in one write; more when it takes over from a crashed worker.

    Then that one's last records are read, and it can write no more (`records.take_over`).

    An answer may be lost and the write repeated, by botocore or by the caller, who then names the same ``owner`` again:
    a claim does not stand in its own way.

    Raises:
        Contended: another writer holds the row right now.
    """
    owner = owner or new_owner()
    taken = _claim(task_id, gen, owner)
    if isinstance(taken, Task) and taken.lapsed:
        try:
            records.take_over(taken)
        except LeaseLost:
            return Refused(Refusal.LEASED, settings().lease_seconds)
    return taken


def _claim(task_id: str, gen: int, owner: str) -> Task | Refused:
    at = now()
    try:
        return _take(task_id, owner, at, gen, same={}, condition=_DUE, values=_due(gen, at), adds={"lease_no": 1})
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
        task.lapsed = task.lease_no > 1
        return task
    verdict = _judge(task, gen, at)
    if verdict is not None:
        return verdict
    if task.status is Status.WAITING:
        return _take_due(task, owner, at)
    try:
        taken = _take(
            task_id,
            owner,
            at,
            max(gen, task.gen),
            same={"status": "processing", "lease_no": task.lease_no, "lease_until": task.lease_until},
            adds={"lease_no": 1, "crashes": 0 if ours else 1},
            more={"due_at": at + settings().lease_seconds + OVERDUE_LEASE_SECONDS},  # a sweep had put it off
        )
    except table.ConditionFailed as refusal:
        row = refusal.items[0]
        if row is None or not _wrote(owner, row):
            return Refused(Refusal.LEASED, settings().lease_seconds)  # its owner woke up, or another took it
        taken = read_task(row)
    taken.taken_from = None if ours else task.lease_owner
    taken.lapsed = True
    return taken


def _take_due(task: Task, owner: str, at: float) -> Task | Refused:
    """Take a task whose time to wait is over: this write is what wakes it."""
    try:
        return _take(
            task.task_id,
            owner,
            at,
            task.gen,
            same={"status": "waiting", "gen": task.gen, "lease_no": task.lease_no},
            adds={"lease_no": 1},
            more={"due": due_shard(task.task_id), "due_at": at + settings().lease_seconds, "reason": WOKEN},
        )
    except table.ConditionFailed as refusal:
        row = refusal.items[0]
        if row is None or not _wrote(owner, row):
            return Refused(Refusal.OLD)  # it was woken otherwise, which sends a message, or ended
        return read_task(row)


def _wrote(owner: str, row: Attributes) -> bool:
    return row.get("lease_owner") == {"S": owner}  # it goes when the lease is given up, whoever does that


def _judge(task: Task, gen: int, at: float) -> Refused | None:
    """Say why a task cannot be taken, or None when its lease has lapsed or its time to wait is over."""
    if task.status.terminal:
        return Refused(Refusal.TERMINAL)
    if gen < task.gen:
        return Refused(Refusal.OLD)
    if task.status is Status.PROCESSING:
        left = task.lease_until - at
        why = Refusal.AHEAD if gen > task.gen else Refusal.LEASED
        return Refused(why, left + 0.5) if left > 0 else None
    if task.status is Status.WAITING:
        early = task.next_try_at - at
        if early <= EARLY_SECONDS:
            return None
        return Refused(Refusal.EARLY, early) if early <= MAX_DELAY_SECONDS else Refused(Refusal.WAITING)
    if task.parked:
        return Refused(Refusal.PARKED)  # leaving the parking lot sends a message of its own
    # Either not due yet, or it changed hands between the write and this look.
    return Refused(Refusal.EARLY, max(task.next_try_at - at, EARLY_SECONDS))


def _take(
    task_id: str,
    owner: str,
    at: float,
    gen: int,
    *,
    same: dict[str, Any],
    condition: str = "",
    values: dict[str, Any] | None = None,
    adds: dict[str, int],
    more: dict[str, Any] | None = None,
) -> Task:
    # The claim is the first look at a row: it must not change one that this code cannot read.
    known = "attribute_not_exists(#v) OR #v <= :known"
    condition = f"{condition} AND ({known})" if condition else known
    values = (values or {}) | {"known": ITEM_VERSION}
    sets = _marks(owner, at, gen) | (more or {})
    op = table.update_op(row_key(task_id), sets=sets, adds=adds, same=same, condition=condition, values=values)
    return read_task(table.update(op))


def _due(gen: int, at: float) -> dict[str, Any]:
    return {"queued": "queued", "gen": gen, "soon": at + EARLY_SECONDS}


def _marks(owner: str, at: float, gen: int) -> dict[str, Any]:
    # Not when it is due: most runs end before, without a move in the index; of others the sweeper finds the lease.
    return {
        "status": "processing",
        "gen": gen,
        "lease_until": at + settings().lease_seconds,
        "lease_owner": owner,
    }


def claim_together(asked: Sequence[Asked]) -> list[Task | None]:
    """Take queued tasks for this environment, many in one request; None for each that must be asked for by `claim`.

    That is one that was not simply there to be taken, or whose answer was lost: `claim` with the same owner finds out.
    A single task is left to it, too: the plain update is the quicker way.
    """
    taken: dict[str, Task] = {}
    at = now()
    distinct = list({one.task_id: one for one in asked}.values())
    for start in range(0, len(distinct), table.STATEMENTS_AT_ONCE):
        group = distinct[start : start + table.STATEMENTS_AT_ONCE]
        if len(group) == 1:
            break
        try:
            rows = table.update_each([_statement(one, at) for one in group])
        except (DependencyDown, ClientError) as error:
            _log.warning("not claimed together", extra={"error": str(error), "tasks": len(group)})
            break
        for one, row in zip(group, rows, strict=True):
            if row is not None and (task := _readable(row)):
                taken[one.owner] = task
    return [taken.get(one.owner) for one in asked]


def _readable(row: Attributes) -> Task | None:
    """Read one of several rows: what is wrong with it must not touch the others. `claim` meets it again, alone."""
    try:
        return read_task(row)
    except (SluiceError, ValueError, TypeError, LookupError, AttributeError):  # it is not of a task's shape
        _log.warning("row not read", exc_info=True)
        return None


def _statement(one: Asked, at: float) -> dict[str, Any]:
    return statements.update(
        row_key(one.task_id),
        sets=_marks(one.owner, at, one.gen),
        adds={"lease_no": 1},
        condition=f"{_DUE} AND #v <= :known",
        values={**_due(one.gen, at), "known": ITEM_VERSION},
    )
