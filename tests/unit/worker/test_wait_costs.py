"""What a wait costs, from the requests that it makes: as much however long it is, and bounded."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from benchmarks.write_units import Meter
from functions.sweeper import alarms
from localstack.environ import ROOT
from shared import aws, clock
from shared.limits.admission import Gate
from shared.settings import settings
from shared.tasks import family, inbox, spend, store, waking
from shared.tasks.items import WAIT_SHARDS, task_row, wait_shard
from shared.tasks.model import Status, Task
from sluice import AgentResult, Context
from tests.unit.worker.conftest import Install, World

MOST_USD = 0.00002
PRICES = json.loads((ROOT / "benchmarks/capacity_data/prices.json").read_text())["per_unit"]
YEAR = 365 * 86_400


class Requests:
    """Counts what is asked of AWS, and what of it is billed."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self.meter = Meter(boto3.client("dynamodb"), settings().table_name)
        self.meter.watch(aws.dynamodb())
        self._asked = threading.local()
        aws.dynamodb().meta.events.register("provide-client-params.dynamodb", self._note)
        aws.dynamodb().meta.events.register("after-call.dynamodb", self._read)
        aws.sqs().meta.events.register("after-call.sqs", self._sqs)

    def _note(self, params: Any, **_: Any) -> None:
        self._asked.index = "IndexName" in params

    def _read(self, model: Any, parsed: Any, **_: Any) -> None:
        if model.name in ("GetItem", "Query", "BatchGetItem"):
            # A strongly consistent read of up to 4 KB is one unit; none of these reads more.
            items = sum(len(rows) for rows in parsed.get("Responses", {}).values()) if "Responses" in parsed else 1
            # A sweep looks into every partition of its index, whether anything waits or not: no wait pays for that.
            found = parsed.get("Count", 0) if self._asked.index else max(1, items)
            self.made["reads"] += found

    def _sqs(self, model: Any, **_: Any) -> None:
        self.made["messages"] += 1

    def usd(self) -> float:
        """Return the price of all since the last time."""
        made, self.made = self.made, Counter()
        made["writes"] = self.meter.take()
        made["invocations"] = 1  # that which a woken run begins; how long it takes is the run's own
        prices = {
            "writes": PRICES["dynamodb_write"]["usd"],
            "reads": PRICES["dynamodb_read"]["usd"],
            "messages": PRICES["sqs_request"]["usd"],
            "invocations": PRICES["lambda_request"]["usd"],
        }
        return sum(made[name] * usd for name, usd in prices.items())


@pytest.fixture(autouse=True)
def _real_time() -> Iterator[None]:
    yield
    clock.set_ahead(0.0)


@pytest.fixture
def asked(world: World, install: Install) -> Requests:
    async def run(ctx: Context) -> AgentResult:
        return AgentResult("done")

    install(run)
    world.submit("warm")  # what only the first run of a user and a day writes
    world.work()
    return Requests()


def without(world: World, asked: Requests) -> float:
    task = world.submit("go")
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
    return asked.usd() - PRICES["lambda_request"]["usd"]


def sleeper(seconds: float) -> Any:
    async def run(ctx: Context) -> AgentResult:
        await ctx.sleep(seconds)
        return AgentResult("done")

    return run


def sleep_through(world: World, task: Task) -> int:
    """Let time pass until a run has slept; the sweeper does what is its to do. Returns how often it looked."""
    looks = 0
    while not (row := store.get(task.task_id)).status.terminal:
        due_at = float(row_due(task))
        clock.set_ahead(max(0.0, min(due_at, row.next_try_at) - clock.now() + clock_ahead()) + 0.5)
        if row.next_try_at <= clock.now():
            from shared.tasks import lanes

            lanes.send(row.lane, row.task_id, row.gen, user=row.user)  # the timer's message, whose delay is over
            world.work()
            continue
        alarms.ring(Gate(spend.load), clock.now() + 60)
        looks += 1
        assert looks < 100
    return looks


def clock_ahead() -> float:
    return clock._ahead


def row_due(task: Task) -> str:
    from shared.tasks.items import row_key

    row = boto3.client("dynamodb").get_item(TableName=settings().table_name, Key=row_key(task.task_id))["Item"]
    return str(row["due_at"]["N"])


@pytest.mark.parametrize("seconds", [600, 86_400, YEAR])
def test_a_sleep_costs_no_more_than_so_much_however_long(
    world: World, install: Install, asked: Requests, seconds: float
) -> None:
    plain = without(world, asked)
    install(sleeper(seconds))
    task = world.submit("go")
    world.work()
    assert store.get(task.task_id).status is Status.WAITING
    looks = sleep_through(world, task)
    cost = asked.usd() - plain
    print(f"a sleep of {seconds} s: USD {cost:.8f}, looked at {looks} times")
    assert 0 < cost <= MOST_USD


def test_a_wait_for_a_signal_costs_no_more_than_so_much(world: World, install: Install, asked: Requests) -> None:
    plain = without(world, asked)

    async def run(ctx: Context) -> AgentResult:
        await ctx.wait("go")
        return AgentResult("done")

    install(run)
    task = world.submit("go")
    world.work()
    receipt = inbox.post(task.task_id, "go", {"ok": True})
    assert receipt.woken
    waking.send(Gate(spend.load), receipt.task)
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
    cost = asked.usd() - plain
    print(f"a wait for a signal: USD {cost:.8f}")
    assert 0 < cost <= MOST_USD


@pytest.mark.parametrize(("total", "most"), [(1_000, 32), (20, 32)])
def test_no_item_counts_more_ends_of_children_than_so_many(total: int, most: int) -> None:
    """A thousand children that end together meet in no item: those that count their ends are many."""
    written: Counter[str] = Counter()
    for n in range(total):
        child = Task(
            task_id=family.child_id("task_parent", "map#1", n), user="ann", lane="normal", agent="a", model="m",
            created=0.0, day="2026-11-28", parent="task_parent", family="map#1", family_size=total, child_no=n,
        )  # fmt: skip
        (op,) = family.ended_ops(child, expires=0.0)
        written[op["Update"]["Key"]["sk"]["S"]] += 1
    assert sum(written.values()) == total
    assert max(written.values()) <= most


@pytest.mark.parametrize("waiting", [10, 400])
def test_a_sweep_asks_no_more_when_more_runs_wait(world: World, waiting: int) -> None:
    """Whose turn it is not, a sweep does not meet: neither requests nor items grow with them."""
    asked: Counter[str] = Counter()
    at = clock.now()
    rows = [
        task_row(
            Task(
                task_id=f"task_waits_{n}", user="ann", lane="normal", agent="a", model="m", created=at,
                day="2026-11-28",
                status=Status.WAITING, next_try_at=at + YEAR,
            ),
            due_at=at + 86_400,
        )
        | {"due": {"S": wait_shard(f"task_waits_{n}")}}
        for n in range(waiting)
    ]  # fmt: skip
    for start in range(0, waiting, 25):
        puts: Any = [{"PutRequest": {"Item": row}} for row in rows[start : start + 25]]
        boto3.client("dynamodb").batch_write_item(RequestItems={settings().table_name: puts})

    def count(model: Any, parsed: Any, **_: Any) -> None:
        asked[model.name] += 1
        asked["items"] += int(parsed.get("ScannedCount", 0))

    aws.dynamodb().meta.events.register("after-call.dynamodb", count)
    alarms.ring(Gate(spend.load), clock.now() + 60)
    assert asked == {"Query": WAIT_SHARDS, "items": 0}
