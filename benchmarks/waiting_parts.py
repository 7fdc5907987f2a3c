"""What waiting runs and large joins ask of AWS, counted in this process: two parts of `make waiting`.

Requests and items are the same in any implementation, so moto's AWS is used here, with a real Valkey and a real worker.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from functions.sweeper.sweep import sweep
from functions.worker import agents
from shared import aws
from shared.clock import now
from shared.settings import settings
from shared.tasks import family, lanes, settle, store, table
from shared.tasks.items import read_task, row_key, wait_shard
from shared.tasks.model import LANES, Status
from sluice import AgentResult, Context
from sluice.testing import servers
from sluice.testing.account import account
from sluice.testing.bench import Bench, bench

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

type Run = Callable[[Context], Awaitable[AgentResult]]

SWEEP_SECONDS = 300.0
JOIN_SECONDS = 900.0
RUNNING_CAP = 50
"""Children at work at the same time; the others are parked until one of them ends."""


class _Agent:
    def __init__(self, run: Run) -> None:
        self.run = run


@contextmanager
def system(runs: dict[str, Run]) -> Iterator[Bench]:
    """Yield a worker with these agents, by name, in an account of its own; it prints no more than warnings."""
    logging.disable(logging.INFO)
    with (
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="sluice-waiting-") as folder,
        servers.valkey(Path(folder)) as redis,
        servers.simulator() as model,
        account(patch) as queues,
        servers.emptied(redis, patch),
        bench(model, queues, patch) as made,
    ):
        patch.setattr(agents, "load", lambda name: _Agent(runs[name]))
        patch.setattr(agents, "names", lambda: tuple(runs))
        yield made
    logging.disable(logging.NOTSET)


class Reads:
    """Counts what is asked of DynamoDB, and the items that it evaluates or reads."""

    def __init__(self) -> None:
        """Watch from now on."""
        self.counts: Counter[str] = Counter()
        aws.dynamodb().meta.events.register("after-call.dynamodb", self._count)

    def _count(self, model: Any, parsed: Any, **_: Any) -> None:
        self.counts["requests"] += 1
        self.counts["items"] += int(parsed.get("ScannedCount", 0))
        self.counts["items"] += sum(len(rows) for rows in parsed.get("Responses", {}).values())
        self.counts["items"] += model.name == "GetItem" and "Item" in parsed


class Writes:
    """Counts writes by item."""

    def __init__(self) -> None:
        """Watch from now on."""
        self.counts: Counter[tuple[str, str]] = Counter()
        aws.dynamodb().meta.events.register("provide-client-params.dynamodb", self._count)

    def _count(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if model.name in ("PutItem", "UpdateItem", "DeleteItem"):
            self._note(params)
        for op in params.get("TransactItems", ()):
            self._note(next(iter(op.values())))

    def _note(self, op: dict[str, Any]) -> None:
        key = op.get("Key") or op["Item"]
        self.counts[key["pk"]["S"], key["sk"]["S"]] += 1


def stored(fewest: int, most: int) -> dict[str, Any]:
    """Count what a whole sweep asks with few and with many waiting runs stored, and the messages in all lanes.

    A worker brings one run to wait for a signal; the others are its row again, under ids and in shards of their own.
    """

    async def waits(ctx: Context) -> AgentResult:
        await ctx.wait("go")
        return AgentResult("gone on")

    with system({"waiter": waits}) as world:
        first = world.submit("x", agent="waiter")
        world.work()
        if store.get(first.task_id).status is not Status.WAITING:
            raise SystemExit("the first run does not wait")
        row = aws.dynamodb().get_item(TableName=settings().table_name, Key=row_key(first.task_id))["Item"]
        sweep(now() + SWEEP_SECONDS)  # what only an environment's first sweep reads
        reads, there = Reads(), 1
        rows: list[dict[str, Any]] = []
        for number in (fewest, most):
            _copies(row, first.task_id, there, number)
            there = number
            reads.counts.clear()
            began = time.monotonic()
            done = sweep(now() + SWEEP_SECONDS)
            rows.append({"waiting": number, **reads.counts, "messages": _messages(), "done": _seen(done)})
            print(f"  {rows[-1]} ({time.monotonic() - began:.1f} s, moto's)", file=sys.stderr, flush=True)
    few, many = rows
    ratios = {f"{what}_ratio": round(int(many[what]) / max(int(few[what]), 1), 3) for what in ("requests", "items")}
    return {"sweeps": rows, **ratios}


def _copies(row: dict[str, Any], task_id: str, start: int, stop: int) -> None:
    client: Any = aws.dynamodb()
    for first in range(start, stop, 25):
        puts = []
        for n in range(first, min(first + 25, stop)):
            name = f"task_{n:032x}"
            one = {key: {kind: _renamed(value, task_id, name) for kind, value in of.items()} for key, of in row.items()}
            puts.append({"PutRequest": {"Item": one | {"due": {"S": wait_shard(name)}}}})
        client.batch_write_item(RequestItems={settings().table_name: puts})


def _renamed(value: Any, old: str, new: str) -> Any:
    return value.replace(old, new) if isinstance(value, str) else value


def _messages() -> int:
    return sum(sum(lanes.backlog(settings().queue_urls[lane]).values()) for lane in LANES)


def _seen(done: dict[str, int]) -> dict[str, int]:
    return {what: count for what, count in done.items() if count}


def joined(total: int) -> dict[str, Any]:
    """Let a run start so many children, which all run, and join them; counts the writes that meet in one item."""
    ran: Counter[str] = Counter()

    async def boss(ctx: Context) -> AgentResult:
        found = await ctx.map("child", [str(n) for n in range(total)])
        return AgentResult(",".join(one.response for one in found))

    async def child(ctx: Context) -> AgentResult:
        ran[ctx.message] += 1
        return AgentResult(f"<{ctx.message}>")

    with system({"boss": boss, "child": child}) as world:
        writes = Writes()
        began = time.monotonic()
        parent = world.submit("x", agent="boss", running_cap=RUNNING_CAP)
        while not store.get(parent.task_id).status.terminal:
            if time.monotonic() - began > JOIN_SECONDS:
                raise SystemExit(f"the join is not over after {JOIN_SECONDS:.0f} s: {len(ran)} children ran")
            if records := world.receive():
                world.invoke(records)
            else:
                time.sleep(0.05)
        seconds = time.monotonic() - began
        end = store.get(parent.task_id)
        (group,) = family.groups(parent.task_id)
        ended = _ended(family.ids(parent.task_id, group))
        answer = str((settle.result_of(end) or {}).get("response"))
        by_item = {key: count for key, count in writes.counts.items() if key[0] == f"TASK#{parent.task_id}"}
        row = by_item.pop((f"TASK#{parent.task_id}", row_key(parent.task_id)["sk"]["S"]))
    return {
        "children": total,
        "status": str(end.status),
        "children_run": len(ran),
        "children_run_twice": sum(count > 1 for count in ran.values()),
        "children_complete": ended,
        "in_order": answer == ",".join(f"<{n}>" for n in range(total)),
        "parents_row_written": row,
        "most_writes_of_another_item": max(by_item.values()),
        "seconds": round(seconds, 1),
    }


def _ended(ids: list[str]) -> int:
    return sum(read_task(row).status is Status.COMPLETE for row in table.get_many([*map(row_key, ids)]))
