"""What grows with the backlog, with the users and with the stored tasks: ratios of the largest to the smallest.

    python -m benchmarks.growth [--most-backlog 100000] [--most-users 100000] [--most-tasks 100000]
    python -m benchmarks.growth --only stored [--most-stored 1000000]

A system of its own, its normal lane paused. Backlog: messages wait in the normal lane (of tasks that do not exist:
only their number matters), while submits, looks at a queued task and runs in the high lane are timed. Users: Valkey's
own account of an admission. Tasks: one user's list, first page and a page far down: how many items DynamoDB evaluates
for a page (its `ScannedCount`), which is what is billed and takes time there. The time is told, too, but not judged:
the emulator walks through all of a user's items for every page. Stored: the same page of a user with a hundred tasks,
while the table fills with those of ten thousand others; there the time is judged, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import httpx2

from benchmarks import admission
from benchmarks.faults.own import own_system
from shared.clock import day, iso

TIMES, TASKS_TIMES = 40, 10
LISTED, WRITERS = 100, 4
"""Tasks of the user whose list is looked at while others' are stored; threads that store them."""
PAGE = 20
ADMISSIONS = 2000
"""Few enough for the quota of each of a hundred users."""
ALLOWED = 3.0
"""Nothing may take more than so many times as long at the most as at the least, which are 1,000 times apart."""


def steps(most: int) -> list[int]:
    """Return 100, 1,000 and so on up to the most."""
    found = [100]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return found


def p50_ms(act: Any, times: int = TIMES) -> float:
    """Return the median time of an action, ms."""
    took = []
    for n in range(times):
        began = time.perf_counter()
        act(n)
        took.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(took), 2)


def backlog(outputs: dict[str, Any], most: int) -> list[dict[str, float]]:
    """Time what users do while more and more messages wait."""
    url, sqs = outputs["queues"]["normal"], boto3.client("sqs")
    mapping: Any = boto3.client("lambda")
    mapping.update_event_source_mapping(UUID=outputs["mappings"]["normal"], Enabled=False)
    normal = client(outputs, "load")
    high = client(outputs, "vip")
    queued, rows, sent = submit(normal, "a queued one"), [], 0
    for number in steps(most):
        while sent < number:
            entries: Any = [
                {"Id": str(n), "MessageBody": json.dumps({"v": 1, "task_id": f"none-{sent + n}", "gen": 0})}
                for n in range(10)
            ]
            sqs.send_message_batch(QueueUrl=url, Entries=entries)
            sent += 10
        row: dict[str, float] = {"backlog": number}
        row["submit_p50_ms"] = p50_ms(lambda n: submit(normal, f"{n}"))
        row["look_p50_ms"] = p50_ms(lambda _: normal.get(f"/result/{queued}").raise_for_status())
        row["high_lane_run_p50_ms"] = p50_ms(lambda n: finished(high, submit(high, f"{n}")), 10)
        rows.append(row)
        print(f"  {row}", flush=True)
    return rows


def client(outputs: dict[str, Any], user: str) -> httpx2.Client:
    """Return a client of a user of the tier `load` in the wanted lane."""
    from shared.limits.keys import create_key

    key = create_key(f"growth-{user}", user, "benchmark", limits={"requests": 0, "queued": 0, "running": 0})
    return httpx2.Client(base_url=outputs["api_url"], headers={"Authorization": f"Bearer {key}"}, timeout=60)


def submit(http: httpx2.Client, message: str) -> str:
    """Submit a short run; returns its task."""
    body = {"message": f"[[sim latency=0.1 words=1]] {message}", "session_id": f"growth-{time.time_ns()}"}
    return str(http.post("/agent", json=body).raise_for_status().json()["task_id"])


def finished(http: httpx2.Client, task_id: str) -> None:
    """Wait until a task has ended."""
    while http.get(f"/result/{task_id}", params={"wait": 20}).raise_for_status().json()["status"] != "complete":
        time.sleep(0.1)


def users(url: str, most: int) -> list[dict[str, float]]:
    """Let Valkey account for an admission among more and more users."""
    from shared import valkey

    server, rows, today = valkey.connect(url), [], day(time.time())
    for number in steps(most):
        server.flushdb()
        admission.fill(server, number, today)
        found = admission.latency(server, number, ADMISSIONS, today)
        rows.append({"users": number, "admission_server_us": round(found["admission_server_us"], 1)})
        print(f"  {rows[-1]}", flush=True)
    return rows


def tasks(outputs: dict[str, Any], most: int) -> list[dict[str, float]]:
    """Look at the first page of one user's list and one in the middle, as their tasks grow in number."""
    from shared import aws
    from shared.tasks import listing
    from shared.tasks.items import row_key, task_row
    from shared.tasks.model import Task

    dynamodb: Any = boto3.client("dynamodb")
    user, rows, written = f"lists-{time.time_ns()}", [], 0
    evaluated: list[int] = []
    aws.dynamodb().meta.events.register(
        "after-call.dynamodb.Query", lambda parsed, **_: evaluated.append(parsed["ScannedCount"])
    )

    def page(cursor: str | None) -> dict[str, float]:
        evaluated.clear()
        took = p50_ms(lambda _: listing.list_tasks(user, limit=PAGE, cursor=cursor), TASKS_TIMES)
        return {"items_evaluated": sum(evaluated) / TASKS_TIMES, "p50_ms": took}

    began = time.time() - most
    for number in steps(most):
        while written < number:
            puts = []
            for n in range(written, min(written + 25, number)):
                task = Task(
                    task_id=f"task_growth_{n:08d}", user=user, lane="normal", agent="chat", tier="load",
                    model="gpt-4o-mini", created=began + n, day=day(began + n),
                )  # fmt: skip
                puts.append({"PutRequest": {"Item": task_row(task, due_at=2**40)}})
            dynamodb.batch_write_item(RequestItems={outputs["table"]: puts})
            written += len(puts)
        middle = {"by_user": {"S": user}, "created": {"S": iso(began + number // 2)}}
        cursor = listing.write_cursor(row_key(f"task_growth_{number // 2:08d}") | middle)
        row: dict[str, float] = {"tasks": number}
        for name, at in (("first", None), ("middle", cursor)):
            row |= {f"{name}_page_{figure}": value for figure, value in page(at).items()}
        rows.append(row)
        print(f"  {rows[-1]}", flush=True)
    return rows


def stored(outputs: dict[str, Any], most: int) -> list[dict[str, float]]:
    """Look at the first page of one user's list while the tasks of others grow in number."""
    from shared import aws
    from shared.tasks import listing
    from shared.tasks.items import item, row_key

    dynamodb: Any = boto3.client("dynamodb")
    at, users_at_most, evaluated = time.time(), 10_000, list[int]()
    aws.dynamodb().meta.events.register(
        "after-call.dynamodb.Query", lambda parsed, **_: evaluated.append(parsed["ScannedCount"])
    )

    def write(start: int) -> None:
        puts = []
        for n in range(start, start + 25):
            user = "stored-mine" if n < LISTED else f"stored-{n % users_at_most}"
            row = row_key(f"task_stored_{n:08d}") | item(
                {"by_user": user, "feed": iso(at - n)[:10], "created": iso(at - n), "status": "complete", "user": user}
            )
            puts.append({"PutRequest": {"Item": row}})
        dynamodb.batch_write_item(RequestItems={outputs["table"]: puts})

    rows, written = [], 0
    for number in steps(most):
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, range(written, number, 25)))
        written = number
        evaluated.clear()
        took = p50_ms(lambda _: listing.list_tasks("stored-mine", limit=PAGE), TIMES)
        rows.append({"stored": number, "page_items_evaluated": sum(evaluated) / TIMES, "page_p50_ms": took})
        print(f"  {rows[-1]}", flush=True)
    return rows


def ratios(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return each figure at the most over the same at the least."""
    first, last = rows[0], rows[-1]
    size = next(iter(first))
    return {f"{name}_{size}_ratio": round(last[name] / first[name], 2) for name in first if name != size}


def main() -> None:
    """Measure, print, write and judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    for name in ("backlog", "users", "tasks"):
        parser.add_argument(f"--most-{name}", type=int, default=100_000)
    parser.add_argument("--most-stored", type=int, default=1_000_000)
    parser.add_argument("--only", choices=("backlog", "tasks", "users", "stored"))
    asked = parser.parse_args()
    result = Path(__file__).parent / "results" / "growth.json"
    found: dict[str, Any] = json.loads(result.read_text()) if asked.only else {}
    found.pop("ratios", None)
    with own_system({"IngressRate": "0"}) as (_, outputs):
        questions = {
            "backlog": lambda: backlog(outputs, asked.most_backlog),
            "tasks": lambda: tasks(outputs, asked.most_tasks),
            "users": lambda: users(outputs["redis_url"].rsplit("/", 1)[0] + "/1", asked.most_users),
            "stored": lambda: stored(outputs, asked.most_stored),
        }
        for name, measure in questions.items():
            if asked.only in (None, name):
                found[name] = measure()
    found["ratios"] = {name: value for rows in list(found.values()) for name, value in ratios(rows).items()}
    print(json.dumps(found["ratios"], indent=2))
    result.write_text(json.dumps(found, indent=2) + "\n")
    worst = max(value for name, value in found["ratios"].items() if not name.endswith("p50_ms_tasks_ratio"))
    if worst > ALLOWED:
        raise SystemExit(f"something grows: {worst} times")


if __name__ == "__main__":
    main()
