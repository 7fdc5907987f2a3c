"""How long tasks waited and why they failed over the last hours: read from the tasks' own rows.

Nothing is counted for it when a run starts, and nothing has to be seen while it happens: the rows are there. Of each
stretch of time the newest few tasks speak for all: so many queries and rows, however many tasks there are.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from statistics import median
from typing import Any

from shared import clock
from shared.errors import NewerVersion
from shared.tasks import table
from shared.tasks.items import feed_of, read_task
from shared.tasks.model import Status, Task
from shared.tasks.ranges import FEED, under

STRETCHES = 48
"""Into so many parts of equal length they are divided."""
LOOKED_AT_EACH = 20
"""Tasks of a part that are looked at, its newest."""
FAILURES = 5
"""Codes of failures that are named in each part, the most frequent."""
READERS = 8
"""Reads at once."""


def read(hours: int, at: float) -> list[dict[str, Any]]:
    """Return the waits and failures of the parts of the last ``hours``, the oldest first, by the time of submission.

    Of a lane in which nothing was looked at nothing is said. A task that waits still counts with its wait so far; one
    that was cancelled or failed before it started does not.
    """
    seconds = hours * 3600 // STRETCHES
    # A part is one query: it begins at a multiple of its length, so that none holds a midnight.
    last = int(at // seconds)
    starts = [n * seconds for n in range(last - STRETCHES + 1, last + 1)]
    with ThreadPoolExecutor(READERS, thread_name_prefix="waits") as pool:
        keys = list(pool.map(lambda start: _keys(start, seconds), starts))
        parts = [list(part) for part in batched([key for of in keys for key in of], table.READ_AT_ONCE, strict=False)]
        rows = {row["pk"]["S"]: row for found in pool.map(table.get_many, parts) for row in found}
    return [
        {"at": start, **_said([rows[key["pk"]["S"]] for key in of if key["pk"]["S"] in rows], at)}
        for start, of in zip(starts, keys, strict=True)
    ]


def _keys(start: int, seconds: int) -> list[dict[str, Any]]:
    times = clock.iso(start), clock.iso(start + seconds - 0.001)
    asked = under(feed_of(start), between=times, index=FEED, ScanIndexForward=False, Limit=LOOKED_AT_EACH)
    page = table.query_page(**asked)
    return [{"pk": one["pk"], "sk": one["sk"]} for one in page["Items"]]


def _said(rows: list[dict[str, Any]], at: float) -> dict[str, Any]:
    waits: dict[str, list[float]] = {}
    failed: Counter[str] = Counter()
    ended = 0
    for row in rows:
        try:
            task = read_task(row)
        except NewerVersion:
            continue
        if (waited := _waited(task, at)) is not None:
            waits.setdefault(task.lane, []).append(waited)
        if task.status in (Status.COMPLETE, Status.FAILED):
            ended += 1
            if task.error:
                failed[str(task.error.get("code", ""))] += 1
    lanes = {
        lane: {"tasks": len(of), "median_s": round(median(of), 3), "longest_s": round(max(of), 3)}
        for lane, of in sorted(waits.items())
    }
    return {"lanes": lanes, "ended": ended, "failed": dict(failed.most_common(FAILURES))}


def _waited(task: Task, at: float) -> float | None:
    if task.started_at is not None:
        return max(0.0, task.started_at - task.created)
    return max(0.0, at - task.created) if task.status is Status.QUEUED else None
