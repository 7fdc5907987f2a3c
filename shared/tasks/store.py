"""The client's side of a task's life: accept, look up, park and unpark."""

import json
from dataclasses import dataclass
from typing import Any

from shared.clock import iso, now
from shared.errors import BudgetExhausted, IdempotencyMismatch, NotFound
from shared.tasks import blobs, conversation, events, items, listing, spend, table
from shared.tasks.items import Attributes, attribute, plain, read_task, row_key, table_key
from shared.tasks.model import Status, Task

UNSENT_GRACE_SECONDS = 30.0
"""How long the sweeper leaves a queued task whose message may still be under way."""
ROW_BYTES = 800
"""A message stays in its task's row as long as that is no larger: with what a run adds, its end's answer left out, the
row then fits one write unit, which each claim and heartbeat pays for."""
IDEMPOTENCY_SECONDS = 86_400
"""How long an ``Idempotency-Key`` is remembered."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key for one submit: the digest of the key and the digest of the body it came with."""

    key: str
    body: str


def submit(task: Task, message: str, *, idempotency: Idempotency | None = None, precharge: bool = False) -> Task:
    """Write an accepted task down, all of it or nothing.

    Returns the task, or the earlier one that the same ``Idempotency-Key`` made. With ``precharge`` its estimate is
    charged durably, because Valkey is away.

    Raises:
        IdempotencyMismatch: the key came with another body before.
        BudgetExhausted: the estimate does not fit the day's ceiling (only with ``precharge``).
        DependencyDown: DynamoDB is away; nothing was written.
    """
    at = task.created
    expires = events.expires(at)
    ops: list[dict[str, Any]] = []
    task.message = message
    due_at = at + UNSENT_GRACE_SECONDS
    row = items.task_row(task, due_at=due_at)
    beside: dict[str, Any] | None = None
    if items.item_bytes(row) > ROW_BYTES:  # the message has an item of its own, which only this submit pays for
        task.message, task.excerpt = None, message[: listing.EXCERPT_CHARACTERS]
        blob = _blob_key(task.task_id, "message") | {"ttl": attribute(int(expires))}
        packed = blobs.pack(message, f"tasks/{task.task_id}/message", plain_bytes=blobs.SMALL_BYTES)
        beside = table.put_op(blob | packed)
    if task.params.get("input_json"):
        task.excerpt = conversation.last_user_text(json.loads(message))[: listing.EXCERPT_CHARACTERS]
    if task.excerpt is not None:
        row = items.task_row(task, due_at=due_at)
    ops.insert(0, table.put_op(row, condition="attribute_not_exists(pk)"))
    idempotency_at = -1
    precharged_at: set[int] = set()
    if idempotency:
        idempotency_at = len(ops)
        ops.append(_idempotency_op(task, idempotency, at))
    if precharge:
        charges = spend.precharge_ops(task)
        precharged_at = set(range(len(ops), len(ops) + len(charges)))
        ops += charges
    if beside is not None and len(ops) > 1:
        ops.append(beside)
    elif beside is not None:
        table.put(beside)  # before the row that needs it, for half of what both cost together; alone it expires
    try:
        if len(ops) == 1:
            table.put(ops[0])
        else:
            table.transact(ops)
    except table.ConditionFailed as refusal:
        if idempotency and idempotency_at in refusal.items:
            return _earlier(refusal.items[idempotency_at], idempotency)
        if precharged_at & refusal.items.keys():
            raise BudgetExhausted("budget_per_day") from refusal
        # The id is ours alone: an earlier try of this very call had been written.
    return task


def idempotency_key(user: str, key: str) -> Attributes:
    """Return the key of the item that remembers a client's ``Idempotency-Key``, by its digest."""
    return table_key(f"IDEM#{user}#{key}", "IDEM")


def _idempotency_op(task: Task, idempotency: Idempotency, at: float) -> dict[str, Any]:
    item = idempotency_key(task.user, idempotency.key) | items.item(
        {
            "task_id": task.task_id,
            "body": idempotency.body,
            "until": at + IDEMPOTENCY_SECONDS,
            "ttl": int(at) + IDEMPOTENCY_SECONDS,
        }
    )
    return table.put_op(item, condition="attribute_not_exists(pk) OR #until < :now", values={"now": at})


def _earlier(item: Attributes | None, idempotency: Idempotency) -> Task:
    if item is None or plain(item["body"]) != idempotency.body:
        raise IdempotencyMismatch("this Idempotency-Key came with another body before", param="Idempotency-Key")
    return get(plain(item["task_id"]))


def find_repeat(user: str, idempotency: Idempotency) -> Task | None:
    """Look for the task that the same ``Idempotency-Key`` made, before anything is charged.

    Raises:
        IdempotencyMismatch: the key came with another body before.
    """
    item = table.get(idempotency_key(user, idempotency.key))
    if item is None or plain(item["until"]) < now():
        return None
    return _earlier(item, idempotency)


def _blob_key(task_id: str, name: str) -> Attributes:
    return row_key(task_id, f"BLOB#{name}")


def get(task_id: str) -> Task:
    """Read a task's row.

    Raises:
        NotFound: there is none.
    """
    row = table.get(row_key(task_id))
    if row is None:
        raise NotFound("no such task")
    return read_task(row)


def has_ended(task_id: str) -> bool:
    """Tell whether a task has ended, or is gone."""
    row = table.get(row_key(task_id))
    return row is None or read_task(row).status.terminal


def message_of(task: Task) -> str:
    """Return the submitted message, wherever it is stored."""
    return task.message if task.message is not None else read_blob(task.task_id, "message")


def read_blob(task_id: str, name: str) -> str:
    """Read a large value of a task.

    Raises:
        NotFound: it has none of that name.
    """
    item = table.get(_blob_key(task_id, name))
    if item is None:
        raise NotFound(f"the task has no {name}")
    return blobs.unpack(item)


def blob_address(task_id: str, name: str) -> str | None:
    """Return a presigned URL of a large value of a task; None if it is not stored so that others can read it.

    Raises:
        NotFound: the task has no such value.
    """
    item = table.get(_blob_key(task_id, name))
    if item is None:
        raise NotFound(f"the task has no {name}")
    return blobs.address(item) if "plain" in item else None


def blob_op(task_id: str, name: str, text: str, *, expires: float, content_type: str | None = None) -> dict[str, Any]:
    """Make the Put of a large value of a task; with a ``content_type`` it goes to S3 as it is, for `blob_address`."""
    item = _blob_key(task_id, name) | {"ttl": attribute(int(expires))}
    key = f"tasks/{task_id}/{name}"
    packed = blobs.pack(text, key) if content_type is None else blobs.put_plain(text, key, content_type)
    return table.put_op(item | packed)


def mark_unsent(task: Task) -> None:
    """Make a task that SQS refused due for the sweeper at once. Safe to lose: it becomes due by itself soon."""
    table.change(
        row_key(task.task_id),
        sets={"due_at": now(), "reason": "unsent"},
        same={"status": "queued", "gen": task.gen},
    )


def unpark(task: Task) -> bool:
    """Take a task off the parking lot; False when it is not parked any more. The caller holds a slot and sends it."""
    return (
        table.change(
            row_key(task.task_id),
            # Whoever dies before it is sent says nothing more: who has it not by then is sent it, once more if need be.
            sets={"due_at": now() + UNSENT_GRACE_SECONDS, "unsent": True},
            removes=("parked", "after", "reason", "sweeps"),  # looks in the parking lot are none for a message
            same={"status": "queued"},
            condition="attribute_exists(#parked)",
        )
        is not None
    )


def park_for_slot(task: Task) -> bool:
    """Let a task that waited for its session wait for a running slot; False when it does not wait any more."""
    return (
        table.change(
            row_key(task.task_id),
            sets={"parked": task.user, "due_at": now() + UNSENT_GRACE_SECONDS},
            removes=("after", "sweeps"),
            same={"status": "queued"},
            condition="attribute_exists(#after)",
        )
        is not None
    )


def public(task: Task) -> dict[str, Any]:
    """Return a task as its owner sees it in ``GET /result`` (a large response is read by the caller)."""
    shown: dict[str, Any] = {
        "task_id": task.task_id,
        "status": str(task.status),
        "agent": task.agent,
        "model": task.model_used or task.model,
        "lane": task.lane,
        "session_id": task.session_id or None,
        "created_at": iso(task.created),
        "message": (task.excerpt or task.message or "")[: listing.EXCERPT_CHARACTERS],
        "attempts": task.attempt,
    }
    if task.started_at:
        shown["started_at"] = iso(task.started_at)
    if task.ended_at:
        shown["ended_at"] = iso(task.ended_at)
    if task.params.get("metadata"):
        shown["metadata"] = task.params["metadata"]
    if task.status is Status.QUEUED:
        if task.next_try_at:
            shown["next_try_at"] = iso(task.next_try_at)
        if task.parked:
            shown["reason"] = "session_busy" if task.after else "running_cap"
        elif task.reason:
            shown["reason"] = task.reason
    for name in ("retry_of", "fork_of"):
        if name in task.params:
            shown[name] = task.params[name]
    if task.parent:
        shown["parent"] = task.parent
    if task.batch:
        shown |= {"batch_id": task.batch, "batch_line": task.batch_line}
    if task.children:
        shown["children"] = task.children
    if task.status is Status.WAITING:
        from shared.tasks import waits  # here: few tasks wait, and claims come with it

        shown["waiting_for"] = [waits.public(one) for one in task.waiting_for]
        shown["next_try_at"] = iso(task.next_try_at)
    if task.last_error and not task.status.terminal:
        shown["last_error"] = task.last_error
    if task.cancel_requested and not task.status.terminal:
        shown["cancel_requested"] = True
    if task.status.terminal or task.calls:
        shown["usage"] = {
            "input_tokens": task.paid.input_tokens,
            "output_tokens": task.paid.output_tokens,
            "total_tokens": task.paid.tokens,
            "cost_usd": task.paid.micro_usd / 1_000_000,
            "model_calls": task.calls,
        }
    if task.error:
        shown["error"] = task.error
    return shown
