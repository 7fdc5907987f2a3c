"""Tasks as clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.api import queue_hint
from shared.clock import iso
from shared.tasks import settle, store
from shared.tasks.model import Status

if TYPE_CHECKING:
    from shared.tasks.model import Task

SUMMARY = ("task_id", "status", "agent", "model", "lane", "session_id", "reason", "message", "error", "last_error")


def summary(item: dict[str, Any]) -> dict[str, Any]:
    """Return a task of a list."""
    shown: dict[str, Any] = {name: item[name] for name in SUMMARY if name in item}
    shown["session_id"] = item.get("session_id", "default") or None
    shown["created_at"] = item["created"]
    shown["cost_usd"] = item.get("micro_usd", 0) / 1_000_000
    for name in ("started_at", "ended_at", "next_try_at"):
        if item.get(name):
            shown[name] = iso(float(item[name]))
    return shown


def operators_summary(item: dict[str, Any]) -> dict[str, Any]:
    """Return a task of an operator's list: whose it is, too, and what it used."""
    used = {name: item.get(name, 0) for name in ("input_tokens", "output_tokens")}
    return summary(item) | {"user": item["user"], "key_id": item.get("key_id"), "parked": "parked" in item, **used}


def full(task: Task) -> dict[str, Any]:
    """Return a task with its result.

    Raises:
        DependencyDown: a large response cannot be read right now.
    """
    queue_hint.saw(task)
    shown = store.public(task)
    if task.status is Status.COMPLETE:
        shown["result"] = settle.result_of(task)
    hint = queue_hint.hint(task)
    if hint is not None:
        shown["queue"] = hint
    return shown
