"""Tasks as clients see them."""

from typing import Any

from functions.api.read import queue_hint
from shared import wire
from shared.clock import iso
from shared.tasks import blobs, settle, store, waits
from shared.tasks.events import Page
from shared.tasks.model import Status, Task, dumps

SUMMARY = (
    *("task_id", "status", "agent", "model", "lane", "session_id", "parent"),
    *("reason", "message", "error", "last_error"),
)


def summary(item: dict[str, Any]) -> dict[str, Any]:
    """Return a task of a list."""
    shown: dict[str, Any] = {name: item[name] for name in SUMMARY if name in item}
    shown["session_id"] = item.get("session_id", "default") or None
    shown["created_at"] = item["created"]
    shown["cost_usd"] = (item.get("micro_usd", 0) + item.get("lost_micro_usd", 0)) / 1_000_000
    if item.get("status") == "waiting":
        shown["waiting_for"] = waits.in_list(item.get("waiting_for", []))
    for name in ("started_at", "ended_at", "next_try_at"):
        if item.get(name):
            shown[name] = iso(float(item[name]))
    return shown


def operators_summary(item: dict[str, Any]) -> dict[str, Any]:
    """Return a task of an operator's list: whose it is, too, and what it used."""
    used = {name: item.get(name, 0) + item.get(f"lost_{name}", 0) for name in ("input_tokens", "output_tokens")}
    return summary(item) | {"user": item["user"], "key_id": item.get("key_id"), "parked": "parked" in item, **used}


def result(task: Task) -> dict[str, Any] | None:
    """Return a complete task's result. What is too large for an answer is None, with its size and a presigned URL.

    Raises:
        Gone: a large response is no longer there.
    """
    kept = task.result
    if kept is None or not (large := [name for name in settle.SHOWN_BYTES if f"{name}_bytes" in kept]):
        return _bounded(task, settle.result_of(task))
    found = settle.result_of(task, leave=large) or {}
    for name in large:
        url = store.blob_address(task.task_id, name)
        found[name] = None
        found[f"{name}_url"] = url
    return found


def _bounded(task: Task, found: dict[str, Any] | None) -> dict[str, Any] | None:
    """See that a result fits an answer that was stored before large ones were stored to be fetched."""
    if found is None:
        return None
    texts = {"response": found.get("response") or "", "data": dumps(found["data"]) if found.get("data") else ""}
    for name, text in texts.items():
        if not wire.fits(text, settle.SHOWN_BYTES[name]):
            put = blobs.put_plain(text, f"tasks/{task.task_id}/{name}", settle.CONTENT_TYPES[name])
            found |= {name: None, f"{name}_bytes": len(text.encode()), f"{name}_url": blobs.address(put)}
    return found


def message(task: Task, *, most: int) -> dict[str, Any]:
    """Return what a task was asked; null, with its size and a presigned URL, where it would take more than ``most``.

    Raises:
        DependencyDown, Gone: a large message cannot be read.
    """
    text = store.message_of(task)
    if wire.fits(text, most):
        return {"message": text}
    put = blobs.put_plain(text, f"tasks/{task.task_id}/message", "text/plain; charset=utf-8")
    return {"message": None, "message_bytes": len(text.encode()), "message_url": blobs.address(put)}


def events(page: Page) -> dict[str, Any]:
    """Return a page of a task's events."""
    shown: dict[str, Any] = {
        "events": [event.public() for event in page.events],
        "last_seq": page.last_seq,
        "status": str(page.task.status),
    }
    if page.full:
        # A client stops at a terminal status: as of the last event that it gets, the task has not ended.
        shown |= {"has_more": True, "status": str(Status.PROCESSING)}
    return shown


def full(task: Task) -> dict[str, Any]:
    """Return a task with its result."""
    queue_hint.saw(task)
    shown = store.public(task)
    if task.status is Status.COMPLETE:
        shown["result"] = result(task)
    hint = queue_hint.hint(task)
    if hint is not None:
        shown["queue"] = hint
    return shown
