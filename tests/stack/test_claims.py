"""Claiming a batch's tasks in one request grants what claiming one by one grants, on the local AWS's DynamoDB."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared import aws
from shared.clock import day
from shared.settings import settings
from shared.tasks import claims, store, table
from shared.tasks.claims import Asked
from shared.tasks.items import row_key
from shared.tasks.model import ITEM_VERSION, Status, Task
from tests.stack_fixture import Stack

NOT_SIMPLY_THERE: dict[str, dict[str, Any]] = {
    "leased": {"status": "processing", "lease_until": time.time() + 600, "lease_owner": "another"},
    "lapsed": {"status": "processing", "lease_until": time.time() - 600, "lease_owner": "dead"},
    "ended": {"status": "complete"},
    "of a newer generation": {"gen": 3},
    "parked": {"parked": "ann"},
    "not due": {"next_try_at": time.time() + 600},
    "of a newer version": {"v": ITEM_VERSION + 1},
}


@pytest.fixture(autouse=True)
def used(stack: Stack) -> Iterator[None]:
    with stack.used():
        yield


def submitted(name: str, **sets: Any) -> Asked:
    """Write a task as the API does, without a message, and change its row; the system's sweeper never comes upon it."""
    at = time.time()
    task = Task(
        task_id=f"claim-{name}-{time.time_ns()}", user="claims", lane="normal", agent="chat", tier="load",
        model="gpt-4o-mini", created=at, day=day(at),
    )  # fmt: skip
    store.submit(task, "hello")
    table.update(table.update_op(row_key(task.task_id), sets=sets, removes=("due", "due_at")))
    return Asked(task.task_id, 0, claims.new_owner())


@pytest.fixture
def requests() -> Iterator[list[str]]:
    made: list[str] = []

    def note(model: Any, **_: Any) -> None:
        made.append(model.name)

    aws.dynamodb().meta.events.register("before-call", note)
    yield made
    aws.dynamodb().meta.events.unregister("before-call", note)


def test_what_waits_is_claimed_in_few_requests(requests: list[str]) -> None:
    asked = [submitted(str(n)) for n in range(table.STATEMENTS_AT_ONCE + 2)]
    requests.clear()
    taken = claims.claim_together(asked)
    assert requests == ["BatchExecuteStatement"] * 2
    for one, task in zip(asked, taken, strict=True):
        assert task is not None
        assert task == store.get(one.task_id), "a claim says what the row says"
        assert (task.task_id, task.status, task.lease_no) == (one.task_id, Status.PROCESSING, 1)
        assert (task.lease_owner, task.crashes) == (one.owner, 0)
        assert abs(task.lease_until - time.time() - settings().lease_seconds) < 30


@pytest.mark.parametrize("how", NOT_SIMPLY_THERE)
def test_what_is_not_simply_there_is_left_as_it_is(how: str) -> None:
    neighbours = [submitted(f"neighbour-{n}") for n in range(2)]
    odd = submitted("odd", **NOT_SIMPLY_THERE[how])
    before = aws.dynamodb().get_item(TableName=settings().table_name, Key=row_key(odd.task_id))["Item"]
    taken = claims.claim_together([neighbours[0], odd, neighbours[1]])
    assert [task is not None for task in taken] == [True, False, True]
    assert aws.dynamodb().get_item(TableName=settings().table_name, Key=row_key(odd.task_id))["Item"] == before


def test_who_asks_again_gets_what_one_by_one_gives() -> None:
    """The second look tells a lapsed lease from a live one, as ever."""
    lapsed, leased = (submitted("again", **NOT_SIMPLY_THERE[how]) for how in ("lapsed", "leased"))
    gone = Asked(f"no-such-{time.time_ns()}", 0, claims.new_owner())
    assert claims.claim_together([lapsed, leased, gone]) == [None, None, None]
    task = claims.claim(lapsed.task_id, 0, owner=lapsed.owner)
    assert isinstance(task, Task)
    assert (task.crashes, task.taken_from) == (1, "dead")
    refusals = [claims.claim(one.task_id, 0, owner=one.owner) for one in (leased, gone)]
    assert [getattr(refused, "why", None) for refused in refusals] == [claims.Refusal.LEASED, claims.Refusal.GONE]


def test_two_messages_of_one_task_take_it_once() -> None:
    first, other = submitted("twice"), submitted("other")
    second = Asked(first.task_id, 0, claims.new_owner())
    taken = claims.claim_together([first, second, other])
    assert sum(task is not None for task in taken[:2]) == 1
    assert taken[2] is not None
    refused = claims.claim(first.task_id, 0, owner=first.owner if taken[0] is None else second.owner)
    assert isinstance(refused, claims.Refused)
    assert refused.why is claims.Refusal.LEASED


def test_a_claim_whose_answer_was_lost_is_found_by_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [submitted(f"lost-{n}") for n in range(3)]
    real = table.update_each

    def lost(statements: list[dict[str, Any]]) -> Any:
        real(statements)
        raise table.DependencyDown("dynamodb")

    monkeypatch.setattr(table, "update_each", lost)
    assert claims.claim_together(asked) == [None] * 3
    for one in asked:
        task = claims.claim(one.task_id, 0, owner=one.owner)
        assert isinstance(task, Task)
        assert (task.lease_no, task.crashes) == (1, 0)


def test_one_alone_is_left_to_the_plain_update(requests: list[str]) -> None:
    asked = [submitted("alone")]
    requests.clear()
    assert claims.claim_together(asked) == [None]
    assert requests == []


def test_without_the_right_to_it_each_is_claimed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while a stack's policies are older than its code."""
    from botocore.exceptions import ClientError

    def denied(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "BatchExecuteStatement")

    asked = [submitted(f"denied-{n}") for n in range(2)]
    monkeypatch.setattr(aws.dynamodb(), "batch_execute_statement", denied)
    assert claims.claim_together(asked) == [None, None]
    assert all(isinstance(claims.claim(one.task_id, 0, owner=one.owner), Task) for one in asked)


def test_a_row_that_cannot_be_read_leaves_the_others_alone() -> None:
    neighbours = [submitted(f"fine-{n}") for n in range(2)]
    odd = submitted("unreadable", params="{no json")
    taken = claims.claim_together([neighbours[0], odd, neighbours[1]])
    assert [task is not None for task in taken] == [True, False, True]


def test_a_batch_runs_what_it_claimed_together(stack: Stack) -> None:
    key = f"batch-{time.time_ns()}"
    ids = [stack.submit(f"[[sim key={key} words=1]] {n}", session_id=f"{key}-{n}") for n in range(12)]
    assert {stack.result(task_id)["status"] for task_id in ids} == {"complete"}
    assert stack.calls(key)["completed"] == len(ids)
    rows = [store.get(task_id) for task_id in ids]
    assert {(row.crashes, row.calls) for row in rows} == {(0, 1)}
