"""Recorded steps: what a run has finished, so that no retry, takeover or continuation does it again.

A step is keyed by its name and how often the name was used before in the run; a fingerprint of its input tells a
replay that the code or the input changed shape. Recording a step, its events, its cost and the reset of ``attempt``
is one transaction under the lease.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.clock import now
from shared.tasks import blobs, days, events, table
from shared.tasks.items import attribute, plain, row_key
from shared.tasks.leases import fenced_write, held
from shared.tasks.model import Status, Task, Usage, dumps

if TYPE_CHECKING:
    from collections.abc import Sequence


ANY_INPUT = "*"
"""In place of a fingerprint: the step stands for its name, whatever it is asked with."""


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step: ``value`` is any JSON."""

    name: str
    nth: int
    fingerprint: str
    value: Any
    copied: bool = False
    """Another run did it, and paid for it: this one was begun with it."""

    @property
    def key(self) -> tuple[str, int]:
        """What identifies it within a run."""
        return self.name, self.nth


def fingerprint(value: Any) -> str:
    """Digest a step's input; equal JSON gives equal digests whatever the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(task_id: str) -> dict[tuple[str, int], Step]:
    """Read all recorded steps of a task.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    steps: dict[tuple[str, int], Step] = {}
    for row in table.query(
        KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
        ExpressionAttributeValues={":pk": {"S": f"TASK#{task_id}"}, ":prefix": {"S": "CKPT#"}},
        ConsistentRead=True,
    ):
        value = json.loads(blobs.unpack(row))
        step = Step(plain(row["name"]), plain(row["nth"]), plain(row["fingerprint"]), value, "copied" in row)
        steps[step.key] = step
    return steps


def record(
    task: Task,
    step: Step,
    log: Sequence[events.Event],
    *,
    use: Usage | None = None,
    model_used: str | None = None,
    raised: dict[str, int] | None = None,
) -> None:
    """Record a finished step with its events and cost, all or nothing, and note in ``task`` what the row now says.

    ``raised`` is what ceilings are raised by from now on, if the step did that: once, like the step.

    Raises:
        LeaseLost: the task is no longer ours; nothing was written.
        Contended, DependencyDown: nothing was written; try again.
        TooLarge: the value fits nowhere.
    """
    at = now()
    expires = events.expires(at)
    item = {
        "pk": {"S": f"TASK#{task.task_id}"},
        "sk": {"S": f"CKPT#{step.name}#{step.nth:04d}"},
        "name": attribute(step.name),
        "nth": attribute(step.nth),
        "fingerprint": attribute(step.fingerprint),
        "ttl": attribute(int(expires)),
        **blobs.pack(dumps(step.value), f"tasks/{task.task_id}/steps/{step.name}/{step.nth}"),
    }
    sets: dict[str, Any] = {"attempt": 0}
    ops = [table.put_op(item, condition="attribute_not_exists(pk)")]
    last = task.last_seq
    if log:
        op, last = events.append_op(task.task_id, task.last_seq, log, expires=expires)
        sets["last_seq"] = last
        ops.append(op)
    aborted = len(task.unwritten)
    if use or aborted:
        sets |= {"reserved_tokens": task.reserved_tokens, "reserved_micro_usd": task.reserved_micro_usd}
        sets |= days.used(task, use)
    if model_used:
        sets["model_used"] = model_used
    if raised is not None:
        sets["raised"] = raised
    if task.started_at is None:
        sets["started_at"] = task.run_started or at
    condition, values = held(task)
    row = table.update_op(
        row_key(task.task_id),
        sets=sets,
        adds={"calls": 1} if use else None,
        removes=("last_error",),
        condition=condition,
        values=values,
    )
    fenced_write([row, *ops], written=lambda old: _is_ours(old, task, last))
    task.attempt, task.last_seq, task.last_error = 0, last, None
    task.started_at = task.started_at or sets.get("started_at")
    del task.unwritten[:aborted]
    if use:
        days.count(task, use)
        task.calls += 1
    if model_used:
        task.model_used = model_used
    if raised is not None:
        task.raised = raised


def _is_ours(row: Task, task: Task, last_seq: int) -> bool:
    # Only the holder writes to a processing task; a cancellation after the lease lapsed ends it, with as many events.
    if row.status is not Status.PROCESSING:
        return False
    return row.lease_no == task.lease_no and row.last_seq == last_seq > task.last_seq


def append_events(task: Task, log: Sequence[events.Event]) -> None:
    """Append events of a running task, under its lease.

    Raises:
        LeaseLost, Contended, DependencyDown: nothing was written.
    """
    if not log:
        return
    op, last = events.append_op(task.task_id, task.last_seq, log, expires=events.expires(now()))
    condition, values = held(task)
    extra: dict[str, Any] = {"last_seq": last}
    if task.started_at is None:
        extra["started_at"] = task.run_started or now()
    row = table.update_op(row_key(task.task_id), sets=extra, condition=condition, values=values)
    fenced_write([row, op], written=lambda old: _is_ours(old, task, last))
    task.last_seq = last
    task.started_at = task.started_at or extra.get("started_at")
