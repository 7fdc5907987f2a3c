"""How long tasks waited and why they failed over the last hours: read from the tasks' own rows.

Nothing is counted for it when a run starts, and nothing has to be seen while it happens: the rows are there. Of each
stretch of time the newest few tasks speak for all: so many queries and rows at most, however many tasks there are.

A day's newest tasks are asked for at once, a few times, since they are often all of them; where a day has more, each
stretch that is older than they are is asked for by itself.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import batched, groupby
from statistics import median
from typing import Any

from shared import clock
from shared.errors import NewerVersion
from shared.tasks import table
from shared.tasks.items import Attributes, feed_of, read_task
from shared.tasks.model import Status, Task
from shared.tasks.ranges import FEED, under

STRETCHES = 48
"""Into so many parts of equal length they are divided."""
LOOKED_AT_EACH = 20
"""Tasks of a part that are looked at, its newest."""
NEWEST = 100
"""Tasks of a day that are asked for at once, its newest: they are often all."""
PAGES = 3
"""So many times, each from where the last ended; what is older is asked for part by part."""
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
    # A part is in one day: it begins at a multiple of its length, so that none holds a midnight.
    last = int(at // seconds)
    starts = [n * seconds for n in range(last - STRETCHES + 1, last + 1)]
    days = [list(of) for _, of in groupby(starts, feed_of)]
    with ThreadPoolExecutor(READERS, thread_name_prefix="waits") as pool:
        known = {start: keys for day in pool.map(lambda of: _day(of, seconds), days) for start, keys in day.items()}
        asked = [start for start in starts if start not in known]
        pages = pool.map(lambda start: _newest(start, start + seconds, LOOKED_AT_EACH), asked)
        known |= {start: page["Items"] for start, page in zip(asked, pages, strict=True)}
        keys = {start: [{"pk": one["pk"], "sk": one["sk"]} for one in known[start]] for start in starts}
        parts = batched([key for of in keys.values() for key in of], table.READ_AT_ONCE, strict=False)
        rows = {row["pk"]["S"]: row for found in pool.map(lambda part: table.get_many([*part]), parts) for row in found}
    return [
        {"at": start, **_said([rows[key["pk"]["S"]] for key in of if key["pk"]["S"] in rows], at)}
        for start, of in keys.items()
    ]


def _newest(start: int, end: int, limit: int) -> Any:
    times = clock.iso(start), clock.iso(end - 0.001)
    return table.query_page(**under(feed_of(start), between=times, index=FEED, ScanIndexForward=False, Limit=limit))


def _day(starts: list[int], seconds: int) -> dict[int, list[Attributes]]:
    """Return what is to be looked at of a day's parts, as far as ``PAGES`` of its tasks tell, from the newest on."""
    known: dict[int, list[Attributes]] = {}
    left = starts
    for _ in range(PAGES):
        page = _newest(left[0], left[-1] + seconds, NEWEST)
        of: dict[int, list[Attributes]] = {start: [] for start in left}
        for one in page["Items"]:
            of[int(clock.epoch(one["created"]["S"]) // seconds * seconds)].append(one)
        reached = left[0]
        if "LastEvaluatedKey" in page:  # the oldest part that was reached may have more, unless that is not looked at
            oldest = min((start for start in left if of[start]), default=left[-1] + seconds)
            reached = oldest if len(of.get(oldest, ())) >= LOOKED_AT_EACH else oldest + seconds
        known |= {start: of[start][:LOOKED_AT_EACH] for start in left if start >= reached}
        left = [start for start in left if start < reached]
        if not left:
            break
    return known


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
