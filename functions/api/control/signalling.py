"""A signal to a run: what it may be, before it is stored and wakes whoever waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.api.contract.problem import Problem, invalid
from functions.api.door.gate import gate
from shared import json_schema
from shared.tasks import inbox, waits, waking
from shared.tasks.model import Status, Task, dumps

if TYPE_CHECKING:
    from functions.api.door.identity import Caller

OWN = ("approval:", "children:")
"""What the names of signals that Sluice sends itself begin with."""


def send(caller: Caller, task: Task, name: str, payload: Any, key: str | None) -> inbox.Receipt:
    """Send a signal for a task's owner; ``key`` makes a repeat harmless.

    Raises:
        Problem: 413 or 422: it is too large, or not what the task waits for.
        Conflict: the task has ended.
        IdempotencyMismatch, Contended, DependencyDown: see `inbox.post`.
    """
    if name.startswith(OWN):
        raise invalid("approvals are answered at /agent/{task_id}/approvals/{fingerprint}; children end", "name")
    size = len(dumps(payload).encode())
    if size > inbox.PAYLOAD_BYTES:
        raise Problem(413, "too_large", f"the payload is over the limit of {inbox.PAYLOAD_BYTES} bytes")
    _fits(task, name, payload)
    receipt = inbox.post(task.task_id, name, payload, key=key, by=caller.key_id, seen=task)
    if receipt.woken:
        waking.send(gate(), receipt.task)
    return receipt


def _fits(task: Task, name: str, payload: object) -> None:
    """Hold a payload against what the task that waits for it takes."""
    if task.status is not Status.WAITING:
        return
    for one in waits.of_row(task):
        schema = (one.more or {}).get("schema")
        if one.name == name and schema is not None and (wrong := json_schema.wrong(schema, payload)):
            raise invalid(wrong, code="invalid_payload")
