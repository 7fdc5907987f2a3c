"""Where a queued task stands, roughly: SQS keeps no order that one could ask for.

``ahead`` is the lane's backlog, cached for two seconds. ``starts_in_s`` is what tasks of that lane waited lately, as
far as this environment has seen any, less what this one has waited; it is left out when nothing was seen.
"""

import threading
from collections import deque
from functools import cache
from statistics import median
from typing import Any

from functions.api.read.remembered import Remembered
from shared.clock import now
from shared.errors import DependencyDown
from shared.settings import settings
from shared.tasks import lanes
from shared.tasks.model import Status, Task

CACHE_S = 2.0
RECENT_S = 300.0
SAMPLES = 50

_lock = threading.Lock()
_waits: dict[str, deque[tuple[float, float, str]]] = {}


def backlog(lane: str) -> dict[str, int]:
    """Return a lane's backlog, at most ``CACHE_S`` old."""
    return _backlog(lane)()


@cache
def _backlog(lane: str) -> Remembered[dict[str, int]]:
    return Remembered(lambda: lanes.backlog(settings().queue_urls[lane]), CACHE_S)


def saw(task: Task) -> None:
    """Note how long a task that has started waited, if it never waited for anything but its turn."""
    if task.started_at is None or task.deferrals or task.crashes or now() - task.started_at > RECENT_S:
        return
    with _lock:
        waits = _waits.setdefault(task.lane, deque(maxlen=SAMPLES))
        if all(task.task_id != known for _, _, known in waits):
            waits.append((task.started_at, max(0.0, task.started_at - task.created), task.task_id))


def hint(task: Task) -> dict[str, Any] | None:
    """Return the hint for a queued task, or None where there is none to give."""
    if task.status is not Status.QUEUED or task.parked or task.next_try_at > now():
        return None
    try:
        found = backlog(task.lane)
    except DependencyDown:
        return None
    shown: dict[str, Any] = {"ahead": max(0, found["visible"] - 1)}
    waited = recent_wait(task.lane)
    if waited is not None:
        shown["starts_in_s"] = round(max(0.0, waited - (now() - task.created)), 1)
    return shown


def recent_wait(lane: str) -> float | None:
    """Return the median wait of the tasks that this environment lately saw started, s; None when it saw none."""
    with _lock:
        recent = [wait for at, wait, _ in _waits.get(lane, ()) if now() - at < RECENT_S]
    return round(median(recent), 3) if recent else None


def forget() -> None:
    """Drop what was seen (between tests)."""
    _backlog.cache_clear()
    with _lock:
        _waits.clear()
