"""A batch's life under kills: whoever works at it dies at any call, messages are doubled, it is cancelled or expires.

Whatever happens, its files tell of every line once, no line's task is made twice, and the counts are the files'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.client import BaseClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.api.bulk import feed, looking
from functions.api.control.cancel import cancel
from shared import clock, valkey
from shared.bulk import files, store
from shared.clock import now
from shared.limits import names
from shared.settings import settings as app_settings
from shared.tasks import numbered
from shared.tasks.model import Status, dumps
from tests.examples import examples
from tests.unit.api import bulk
from tests.unit.api.bulk import begin, complete, line, of_batch, told
from tests.unit.api.conftest import Api

LINES = 7
WINDOW = 3
CALLS = 60
"""About as many calls of AWS as one look makes."""


class Killed(BaseException):
    """The process ends here."""


class Killer:
    """Lets a process die before or after one of its calls of AWS."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left = -1
        self.after = False
        inner = BaseClient._make_api_call

        def call(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
            if self.left < 0:
                return inner(client, operation, arguments)
            self.left -= 1
            if self.left >= 0:
                return inner(client, operation, arguments)
            self.left = 0  # dead: so are its other threads
            if self.after:
                self.after = False
                inner(client, operation, arguments)
            raise Killed

        patch.setattr(BaseClient, "_make_api_call", call)

    def dies(self, calls: int, *, after: bool) -> None:
        """Die at this many calls from now."""
        self.left, self.after = calls, after

    def lives(self) -> None:
        """Go on for ever."""
        self.left = -1


@pytest.fixture
def small(steady: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BATCH_WINDOW", str(WINDOW))
    monkeypatch.setenv("MAX_BATCHES", "1000")
    app_settings.cache_clear()
    monkeypatch.setattr(feed, "MAKERS", 1)
    monkeypatch.setattr(feed, "DRAINED", 2)
    yield
    clock.set_ahead(0)
    app_settings.cache_clear()


LOOK = st.tuples(st.just("look"), st.integers(0, CALLS), st.booleans())
ACTS = st.one_of(
    LOOK,
    LOOK,
    st.tuples(st.just("twice")),
    st.tuples(st.just("end"), st.integers(0, WINDOW - 1)),
    st.tuples(st.just("end"), st.integers(0, WINDOW - 1)),
    st.tuples(st.just("lease lapses")),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("message"), st.integers(1, 3)),
    st.tuples(st.just("cancel line"), st.integers(0, WINDOW - 1)),
    st.tuples(st.just("expire")),
    st.tuples(st.just("room"), st.integers(1, 8)),
)


@given(acts=st.lists(ACTS, min_size=3, max_size=14))
@settings(
    max_examples=examples(40, usual=12),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_line_ends_once_whatever_dies(acts: list[tuple[Any, ...]], steady: Api, small: None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _live(acts, steady, Killer(patch))


def _live(acts: list[tuple[Any, ...]], api: Api, killer: Killer) -> None:
    clock.set_ahead(0)
    server = valkey.client()
    server.hset(names.LANE_SLOTS, "normal", 1000)
    made = begin(
        "load", api.keys["load"], [line(f"{n}", colour="red") if n == 2 else line(f"{n}") for n in range(LINES)]
    )
    ran: set[str] = set()
    ahead = 0.0
    for act in acts:
        match act:
            case ("look", calls, after):
                killer.dies(calls, after=after)
                try:
                    looking.look("load", made.batch_id)
                except Killed:
                    ahead += store.LEASE_SECONDS + 1
                    clock.set_ahead(ahead)
                killer.lives()
            case ("twice",):
                looking.look("load", made.batch_id)
                looking.look("load", made.batch_id)
            case ("end", n):
                waiting = [task for task in of_batch(made.batch_id) if task.status is Status.QUEUED]
                if n < len(waiting):
                    ran.add(waiting[n].task_id)
                    complete(waiting[n], f"answer {waiting[n].batch_line}")
            case ("message", times):  # SQS hands it over more than once
                record = {"messageId": "m", "body": dumps({"v": 1, "user": "load", "batch_id": made.batch_id})}
                looking.take({"Records": [record] * times})
            case ("cancel line", n):  # its owner ends one of the tasks
                waiting = [task for task in of_batch(made.batch_id) if task.status is Status.QUEUED]
                if n < len(waiting):
                    cancel(waiting[n])
            case ("lease lapses",):
                ahead += store.LEASE_SECONDS + 1
                clock.set_ahead(ahead)
            case ("cancel",):
                store.cancel("load", made.batch_id)
            case ("expire",):
                ahead += 86_400
                clock.set_ahead(ahead)
            case ("room", slots):
                server.hset(names.LANE_SLOTS, "normal", slots)
    server.hset(names.LANE_SLOTS, "normal", 1000)
    for _ in range(40):
        if store.load("load", made.batch_id).ended:
            break
        ahead += store.LEASE_SECONDS + 1
        clock.set_ahead(ahead)
        looking.look("load", made.batch_id)
        for task in of_batch(made.batch_id):
            if task.status is Status.QUEUED:
                ran.add(task.task_id)
                complete(task, f"answer {task.batch_line}")
    batch = store.load("load", made.batch_id)
    assert batch.ended
    early = batch.total == 0  # it was cancelled, or its time was over, before its file had been read
    assert told(batch) == ({} if early else {f"{n}": 1 for n in range(LINES)})
    out = bulk.lines_of("load", batch.output_id)
    assert (batch.completed, batch.failed) == (len(out), 0 if early else LINES - len(out))
    for one in out:
        assert one["response"]["body"]["output"][0]["content"][0]["text"] == f"answer {one['custom_id']}"
    tasks = of_batch(made.batch_id)
    assert len({task.batch_line for task in tasks}) == len(tasks) <= LINES - 1
    assert all(task.status.terminal for task in tasks)  # none runs on unseen
    assert len(out) == len(ran)  # what was run and paid for is told
    assert batch.status in ("completed", "cancelled", "expired")
    number = store.table.get(store.key_of("load", numbered.NUMBER))
    assert number is not None
    assert number["n"]["N"] == "0"
    assert now() > 0
    assert files.load("load", batch.output_id) if out else True
