"""Runs that end in one request end as if each ended alone: one outcome each, whatever becomes of its neighbours."""

from __future__ import annotations

from typing import Any

import pytest

from shared import aws
from shared.errors import Contended, DependencyDown, LeaseLost, TooLarge
from shared.tasks import claims, ends, events, settle, spend, store, table
from shared.tasks.ends import End
from shared.tasks.model import Outcome, Status, Task, Usage
from tests.unit.tasks.test_life import claimed, new_task

pytestmark = pytest.mark.usefixtures("fake_aws")


def running(*ids: str) -> list[Task]:
    """Tasks that this worker has claimed, each with a call that is paid for."""
    tasks = []
    for task_id in ids:
        store.submit(new_task(task_id), "hello")
        task = claimed(task_id)
        use = Usage(3, 4, 5, task.day, "m")
        task.unwritten.append(use)
        task.input_tokens, task.output_tokens, task.micro_usd = 3, 4, 5
        task.calls = 1
        tasks.append(task)
    return tasks


def end(task: Task, response: str = "x") -> End:
    return End(task, Outcome(status=Status.COMPLETE, response=response), log=[events.Event("step", 1.0)])


def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []
    aws.dynamodb().meta.events.register("before-call", lambda model, **_: made.append(model.name))
    return made


def test_ten_ends_are_one_request_and_each_row_says_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = running(*(f"t{n}" for n in range(10)))
    made = requests(monkeypatch)
    assert ends.write_each([end(task, task.task_id) for task in tasks]) == [None] * 10
    assert [name for name in made if name != "GetItem"] == ["TransactWriteItems"]
    for task in tasks:
        row = store.get(task.task_id)
        assert (row.status, row.usage.tokens, row.last_seq) == (Status.COMPLETE, 7, task.last_seq)
        assert (settle.result_of(row) or {})["response"] == task.task_id
        assert task.status is Status.COMPLETE
    assert spend.load("ann", tasks[0].day) == (70, 50)


def test_one_that_lost_its_lease_is_refused_and_its_neighbours_end(monkeypatch: pytest.MonkeyPatch) -> None:
    late, *others = running("t0", "t1", "t2")
    with monkeypatch.context() as later:
        later.setattr(claims, "now", lambda: late.lease_until + 1)
        assert isinstance(claims.claim("t0", 0), Task)
    found = ends.write_each([end(late), *map(end, others)])
    assert isinstance(found[0], LeaseLost)
    assert found[1:] == [None, None]
    assert [store.get(task_id).status for task_id in ("t0", "t1", "t2")] == ["processing", "complete", "complete"]
    assert late.status is Status.PROCESSING
    assert spend.load("ann", late.day) == (14, 10)


def test_one_that_is_too_large_keeps_nobody_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    large, other = running("t0", "t1")
    outcome = Outcome(status=Status.COMPLETE, response="r", data={"x": "y" * settle.DATA_BYTES})
    found = ends.write_each([End(large, outcome), end(other)])
    assert isinstance(found[0], TooLarge)
    assert found[1] is None
    assert [store.get(task_id).status for task_id in ("t0", "t1")] == ["processing", "complete"]


def test_a_repeat_after_a_lost_answer_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = running("t0", "t1", "t2")
    real = table._group._write

    def lost(operations: list[dict[str, Any]]) -> None:
        real(operations)
        raise DependencyDown("dynamodb")

    with monkeypatch.context() as flaky:
        flaky.setattr(table._group, "_write", lost)
        assert [type(error) for error in ends.write_each([*map(end, tasks)])] == [DependencyDown] * 3
    assert [task.status for task in tasks] == [Status.PROCESSING] * 3
    assert ends.write_each([*map(end, tasks)]) == [None] * 3
    assert [store.get(task.task_id).last_seq for task in tasks] == [task.last_seq for task in tasks]
    assert spend.load("ann", tasks[0].day) == (21, 15)


def test_a_contended_neighbour_is_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = running("t0", "t1")
    real = table._group._write

    def contended(operations: list[dict[str, Any]]) -> None:
        keys = [key["pk"]["S"] for (body,) in map(dict.values, operations) if (key := body.get("Key"))]
        if "TASK#t0" in keys:
            raise Contended("another transaction holds the item")
        real(operations)

    monkeypatch.setattr(table._group, "_write", contended)
    found = ends.write_each([*map(end, tasks)])
    assert isinstance(found[0], Contended)
    assert found[1] is None
    assert store.get("t1").status is Status.COMPLETE


def test_an_end_that_used_nothing_is_written_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    store.submit(new_task("t9"), "hello")
    idle, paid = claimed("t9"), running("t0")[0]
    made = requests(monkeypatch)
    found = ends.write_each([End(idle, Outcome(status=Status.CANCELLED)), end(paid)])
    assert found == [None, None]
    assert sorted(name for name in made if name != "GetItem") == ["TransactWriteItems", "UpdateItem"]
    assert [store.get(task_id).status for task_id in ("t9", "t0")] == ["cancelled", "complete"]
