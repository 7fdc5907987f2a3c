"""Tasks as clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.api import queue_hint
from shared.clock import iso
from shared.tasks import settle, store
from shared.tasks.model import Status

if TYPE_CHECKING:
    from shared.tasks.model import Task

SUMMARY = ("task_id", "status", "agent", "model", "lane", "session_id", "reason")


def summary(item: dict[str, Any]) -> dict[str, Any]:
    """Return a task of a list."""
    shown: dict[str, Any] = {name: item[name] for name in SUMMARY if name in item}
    shown["session_id"] = item.get("session_id", "default") or None
    shown["created_at"] = item["created"]
    for name in ("started_at", "ended_at", "next_try_at"):
        if item.get(name):
            shown[name] = iso(float(item[name]))
    return shown


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
