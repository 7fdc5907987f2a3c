"""What a page of a list costs as stored tasks grow in number: a user's list, the operator's list, and searches.

    python -m benchmarks.growth_search [--most 100000]

Counted are the requests to DynamoDB and the items that it evaluates and reads for one page, which is what is billed:
these are the same in any implementation, so moto's is used here, in this process. Times are not told: moto walks
through all items. The tasks are spread over `DAYS` days and `USERS` users; one in `FAILED_EACH` has failed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import aws
from shared.clock import day
from shared.settings import settings
from shared.tasks import listing
from shared.tasks.items import task_row
from shared.tasks.model import Status, Task
from shared.tasks.search import DAYS_AT_ONCE, LOOKED_AT_ONCE, Wanted, search
from sluice.testing.account import account

PAGE = 20
DAYS, USERS, FAILED_EACH = 7, 500, 50
LISTS = ("user_list", "operator_list", "of_user", "of_an_hour")
"""Pages that leave nothing out: they read an entry of an index and a row for each task that they show."""


def steps(most: int) -> list[int]:
    """Return 1,000 and so on up to the most."""
    found = [1_000]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return found


def write(start: int, stop: int, at: float, whole: int) -> None:
    """Store tasks from ``start`` to ``stop``, spread over the days before ``at``."""
    table = settings().table_name
    client: Any = aws.dynamodb()
    for first in range(start, stop, 25):
        puts = []
        for n in range(first, min(first + 25, stop)):
            created = at - (n * 2_654_435_761 % whole) / whole * DAYS * 86_400
            failed = n % FAILED_EACH == 0
            task = Task(
                task_id=f"task_{n:032x}", user=f"user-{n % USERS}", lane="normal", agent="chat" if n % 7 else "tools",
                tier="load", session_id=f"session-{n % 1000}",
                model="gpt-4o-mini", created=created, day=day(created), message=f"message {n}",
                status=Status.FAILED if failed else Status.COMPLETE, error={"code": "timeout"} if failed else None,
            )  # fmt: skip
            puts.append({"PutRequest": {"Item": task_row(task, due_at=2**40)}})
        client.batch_write_item(RequestItems={table: puts})


class Meter:
    """Counts what the client asks of DynamoDB."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        events = aws.dynamodb().meta.events
        events.register("after-call.dynamodb.Query", self._query)
        events.register("after-call.dynamodb.BatchGetItem", self._get)

    def _query(self, parsed: dict[str, Any], **_: Any) -> None:
        self.counts["requests"] += 1
        self.counts["items"] += parsed["ScannedCount"]

    def _get(self, parsed: dict[str, Any], **_: Any) -> None:
        self.counts["requests"] += 1
        self.counts["items"] += sum(len(rows) for rows in parsed["Responses"].values())

    def of(self, page: Callable[[], Any]) -> dict[str, int]:
        """Return what a page costs."""
        self.counts.clear()
        page()
        return dict(self.counts)


def pages(at: float) -> dict[str, Callable[[], Any]]:
    """Return the pages that are looked at, by name."""
    week = {"since": at - DAYS * 86_400, "until": at + 60}
    return {
        "user_list": lambda: listing.list_tasks("user-7", limit=PAGE),
        "operator_list": lambda: search(Wanted(**week), limit=PAGE),
        "of_user": lambda: search(Wanted(**week, user="user-7"), limit=PAGE),
        "by_error": lambda: search(Wanted(**week, error="timeout"), limit=PAGE),
        "by_text_that_nobody_wrote": lambda: search(Wanted(**week, text="no such words"), limit=PAGE),
        "by_agent": lambda: search(Wanted(**week, agent="tools"), limit=PAGE),
        "by_model_that_nobody_asked": lambda: search(Wanted(**week, model="gpt-4o"), limit=PAGE),
        "by_session": lambda: search(Wanted(**week, session_id="session-3"), limit=PAGE),
        "of_an_hour": lambda: search(Wanted(since=at - 90_000, until=at - 86_400), limit=PAGE),
        "of_user_by_error": lambda: search(Wanted(**week, user="user-50", error="timeout"), limit=PAGE),
    }


def measure(most: int) -> list[dict[str, Any]]:
    """Store more and more, and count."""
    rows, written, at = [], 0, time.time()
    meter = Meter()
    for number in steps(most):
        write(written, number, at, most)
        written = number
        row: dict[str, Any] = {"stored": number}
        for name, page in pages(at).items():
            row |= {f"{name}_{what}": count for what, count in meter.of(page).items()}
        rows.append(row)
        print(f"  {row}", flush=True)
    return rows


def bound() -> dict[str, int]:
    """Return the most that one page of a search may cost, whatever is stored."""
    return {"items": 2 * (LOOKED_AT_ONCE + listing.LIST_PAGE), "requests": 2 * DAYS_AT_ONCE + LOOKED_AT_ONCE}


def main() -> None:
    """Measure, print, write and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--most", type=int, default=100_000)
    asked = parser.parse_args()
    with pytest.MonkeyPatch.context() as patch, account(patch):
        rows = measure(asked.most)
    result = Path(__file__).parent / "results" / "growth-search.json"
    result.write_text(json.dumps({"rows": rows, "bound": bound()}, indent=2) + "\n")
    for name, top in bound().items():
        worst = max(value for row in rows for key, value in row.items() if key.endswith(name))
        if worst > top:
            raise SystemExit(f"a page takes {worst} {name}, over {top}")
    for name in LISTS:
        if (worst := max(row[f"{name}_items"] for row in rows)) > 2 * PAGE:
            raise SystemExit(f"a page of {name} reads {worst} items, over {2 * PAGE}")


if __name__ == "__main__":
    main()
