"""Looking at tasks: states, long polls, events, lists, conversations, erasure."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from functions.api.read import hold
from shared import aws, valkey, watchers
from shared.limits.holds import Holds
from shared.tasks import checkpoints, claims, events, leases, sessions, settle, store
from shared.tasks.model import Status, Task, Usage
from tests.unit.api.conftest import Api
from tests.unit.tables import client as aws_client


def claim(task_id: str) -> Task:
    """Take a task as a worker does."""
    task = claims.claim(task_id, 0)
    assert isinstance(task, Task)
    checkpoints.append_events(task, [events.Event("started", task.created, {})])
    return task


def complete(task_id: str, response: str = "done", message: str = "hi") -> Task:
    """Run a task to its end as a worker does."""
    task = claim(task_id)
    step = checkpoints.Step("model", 1, "f", {})
    checkpoints.record(task, step, [events.Event("step", task.created, {"name": "model"})], use=Usage(3, 4, 50))
    settle.settle(task, settle.Outcome(status=Status.COMPLETE, response=response), message=message)
    return task


def test_a_complete_task_shows_result_and_usage(api: Api) -> None:
    task_id = api.submit(session_id="s").json()["task_id"]
    complete(task_id, "the answer")
    shown = api.get(f"/result/{task_id}").json()
    assert shown["status"] == "complete"
    assert shown["result"] == {"response": "the answer", "tokens": 7, "session_id": "s"}
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "cost_usd": 0.00005, "model_calls": 1}
    assert shown["usage"] == usage
    assert shown["ended_at"] >= shown["started_at"] >= shown["created_at"]
    assert "queue" not in shown


def test_a_large_response_comes_whole(api: Api) -> None:
    task_id = api.submit().json()["task_id"]
    response = "ü" * 100_000
    complete(task_id, response)
    assert api.get(f"/result/{task_id}").json()["result"]["response"] == response


def test_a_failed_task_shows_its_error(api: Api) -> None:
    task_id = api.submit().json()["task_id"]
    error = {"code": "agent_error", "message": "no", "type": "agent_error"}
    settle.settle(claim(task_id), settle.Outcome(status=Status.FAILED, error=error))
    shown = api.get(f"/result/{task_id}", wait=25).json()
    assert (shown["status"], shown["error"]) == ("failed", error)


def test_a_deferred_task_says_why_and_until_when(api: Api) -> None:
    task_id = api.submit().json()["task_id"]
    leases.requeue(claim(task_id), leases.Requeue(delay_s=90, reason="breaker_open", deferral=True))
    shown = api.get(f"/result/{task_id}").json()
    assert (shown["status"], shown["reason"]) == ("queued", "breaker_open")
    assert shown["next_try_at"] > shown["created_at"]
    assert "queue" not in shown


def test_a_long_poll_returns_when_the_task_ends(api: Api) -> None:
    task_id = api.submit().json()["task_id"]
    timer = threading.Timer(0.4, complete, [task_id])
    timer.start()
    assert api.get(f"/result/{task_id}", wait=20).json()["status"] == "complete"
    timer.join()


def test_a_long_poll_gives_up_after_its_time_and_sleeps_longer_each_time(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("functions.api.read.hold.time.sleep", slept.append)
    monkeypatch.setattr("functions.api.read.hold.time.monotonic", lambda: sum(slept))
    task_id = api.submit().json()["task_id"]
    assert api.get(f"/result/{task_id}", wait=25).json()["status"] == "queued"
    assert sum(slept) == pytest.approx(25)
    assert slept[:3] == pytest.approx([0.1, 0.15, 0.225])
    assert max(slept) == hold.LONGEST_SLEEP_S
    assert len(slept) <= 31
    slept.clear()
    api.get(f"/result/{task_id}")
    assert slept == []


def test_events_are_numbered_without_gaps_and_resume_anywhere(api: Api) -> None:
    task_id = api.submit().json()["task_id"]
    first = api.get(f"/result/{task_id}/events").json()
    assert [(e["seq"], e["type"]) for e in first["events"]] == [(1, "queued")]
    assert (first["last_seq"], first["status"]) == (1, "queued")
    complete(task_id)
    whole = api.get(f"/result/{task_id}/events").json()
    assert [e["type"] for e in whole["events"]] == ["queued", "started", "step", "complete"]
    assert [e["seq"] for e in whole["events"]] == [1, 2, 3, 4]
    rest = api.get(f"/result/{task_id}/events", after=2).json()
    assert [e["seq"] for e in rest["events"]] == [3, 4]
    end = api.get(f"/result/{task_id}/events", after=4, wait=25).json()
    assert end == {"events": [], "last_seq": 4, "status": "complete"}


def test_a_waiting_reader_of_events_is_woken_by_one(api: Api) -> None:
    task_id = api.submit().json()["task_id"]
    timer = threading.Timer(0.3, claim, [task_id])
    timer.start()
    page = api.get(f"/result/{task_id}/events", after=1, wait=20).json()
    timer.join()
    assert [e["type"] for e in page["events"]] == ["started"]


def test_a_list_is_paged_newest_first_and_filtered(api: Api) -> None:
    made = [api.submit("load", session_id=f"s{n}").json()["task_id"] for n in range(5)]
    complete(made[1])
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = api.get("/agent", "load", limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += [task["task_id"] for task in page["tasks"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(made, reverse=True)
    done = api.get("/agent", "load", status="complete").json()["tasks"]
    assert [task["task_id"] for task in done] == [made[1]]
    assert done[0]["ended_at"] > done[0]["created_at"]


def test_cancelling_is_idempotent_and_asks_a_running_worker(api: Api) -> None:
    queued, running, ended = (api.submit().json()["task_id"] for _ in range(3))
    claim(running)
    complete(ended)
    for _ in range(2):
        answer = api.post(f"/agent/{queued}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        asked = api.post(f"/agent/{running}/cancel")
        assert (asked.status_code, asked.json()["status"]) == (202, "processing")
        late = api.post(f"/agent/{ended}/cancel")
        assert (late.status_code, late.json()["status"]) == (200, "complete")
    assert api.get(f"/result/{running}").json()["cancel_requested"] is True
    log = api.get(f"/result/{queued}/events").json()["events"]
    assert [e["type"] for e in log] == ["queued", "cancelled"]
    limits = api.get("/limits").json()["limits"]
    assert limits["running"]["used"] == 2  # the two that a worker had: it settles them


def test_a_conversation_is_read_and_forgotten(api: Api) -> None:
    for n in range(3):
        complete(api.submit(session_id="chat:1", message=f"q{n}").json()["task_id"], f"a{n}", f"q{n}")
    shown = api.get("/sessions/chat:1").json()
    assert [(t["user"], t["assistant"]) for t in shown["turns"]] == [("q0", "a0"), ("q1", "a1"), ("q2", "a2")]
    assert len(api.get("/sessions/chat:1", limit=2).json()["turns"]) == 2
    assert api.get("/sessions/chat:1", "other").json()["turns"] == []
    assert api.delete("/sessions/chat:1", "other").json()["deleted_turns"] == 0
    assert api.delete("/sessions/chat:1").json() == {"session_id": "chat:1", "deleted_turns": 3}
    assert api.get("/sessions/chat:1").json()["turns"] == []


def items_of(*prefixes: str) -> list[Any]:
    from tests.unit.tables import TABLE

    found = aws_client("dynamodb").scan(TableName=TABLE)["Items"]
    return [item for item in found if item["pk"]["S"].startswith(prefixes)]


def test_erasure_leaves_nothing_but_what_it_says(api: Api) -> None:
    import os

    done = api.submit(message="m" * 20_000, session_id="s1").json()["task_id"]
    complete(done, "r" * 100_000)
    noise = os.urandom(400_000).hex()
    complete(api.submit(session_id="s3").json()["task_id"], noise)  # goes to S3
    queued = api.submit(session_id="s2").json()["task_id"]
    running = claim(api.submit().json()["task_id"])
    theirs = api.submit("other").json()["task_id"]

    first = api.delete("/me/data").json()
    assert (first["tasks"], first["sessions"], first["cancelled"], first["more"]) == (3, 2, 2, True)
    assert api.get(f"/result/{queued}").status_code == 404
    assert api.get(f"/result/{running.task_id}").json()["cancel_requested"] is True
    settle.settle(running, settle.Outcome(status=Status.CANCELLED))
    second = api.delete("/me/data").json()
    assert (second["tasks"], second["more"]) == (1, False)
    assert sessions.read("demo", "s1", limit=5) == []
    assert [item["pk"]["S"] for item in items_of("TASK#", "SESSION#")] == [f"TASK#{theirs}"]
    assert "Contents" not in aws_client("s3").list_objects_v2(Bucket="sluice-blobs")
    assert store.get(theirs).status is Status.QUEUED


def test_erasure_stops_in_time_and_goes_on_when_asked_again(api: Api) -> None:
    from functions.api.control.erase import erase

    for _ in range(3):
        api.submit("load")
    assert erase("load", longest_s=0).more is True
    rounds = 1
    while erase("load", longest_s=0).more:
        rounds += 1
    assert rounds <= 3
    assert items_of("TASK#") == []


def test_who_reads_a_live_tasks_events_is_known_to_its_worker(api: Api) -> None:
    task_id = api.submit().json()["task_id"]
    assert watchers.look(task_id) == ({}, False, ())
    api.get(f"/result/{task_id}")
    assert watchers.look(task_id) == ({}, False, ())
    api.get(f"/result/{task_id}/events")
    assert watchers.look(task_id) == ({}, True, ())


def test_events_are_read_without_valkey_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = api.submit().json()["task_id"]

    def away(_task_id: str, _seconds: float) -> None:
        raise watchers.RedisError("away")

    monkeypatch.setattr(watchers, "reading", away)
    assert [event["type"] for event in api.get(f"/result/{task_id}/events").json()["events"]] == ["queued"]


def test_a_poll_that_there_is_no_place_for_is_answered_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "concurrency", lambda: 5)
    task_id = api.submit().json()["task_id"]
    others = Holds(hold.place(), 3)
    assert [others.take("demo", str(n), ttl_s=60) for n in range(4)] == [True, True, True, False]
    for path in (f"/result/{task_id}", f"/result/{task_id}/events?after=1"):
        answer = api.get(path, wait=25) if "?" not in path else api.get(f"{path}&wait=25")
        assert answer.status_code == 200
        assert answer.headers["Retry-After"] == "1"


def test_a_held_poll_gives_its_place_to_who_has_less(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "concurrency", lambda: 5)
    task_id = api.submit().json()["task_id"]
    of = Holds(hold.place(), 3)
    assert all(of.take("demo", str(n), ttl_s=60) for n in range(2))
    looked = threading.Event()
    look_again = hold.Held.go_on

    def go_on(self: hold.Held) -> bool:
        kept = look_again(self)
        looked.set()
        return kept

    monkeypatch.setattr(hold.Held, "go_on", go_on)
    answers: list[Any] = []
    poll = threading.Thread(target=lambda: answers.append(api.get(f"/result/{task_id}", wait=25)))
    poll.start()
    assert looked.wait(60)
    assert not of.take("other", "x", ttl_s=60)
    poll.join(60)
    assert answers[0].headers["Retry-After"] == "1"
    assert of.take("other", "x", ttl_s=60)


def test_a_poll_leaves_nothing_held(api: Api) -> None:
    task_id = api.submit().json()["task_id"]
    assert "Retry-After" not in api.get(f"/result/{task_id}", wait=0.3).headers
    assert valkey.client().zcard(f"{{sluice:holds:{hold.place()}}}:holds") == 0


def test_the_concurrency_is_the_functions_own_and_asked_for_rarely(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Lambda:
        def get_function_concurrency(self, **about: str) -> dict[str, int]:
            asked.append(about["FunctionName"])
            return {"ReservedConcurrentExecutions": 5}

    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "sluice-ApiFunction-1")
    monkeypatch.setattr(aws, "lambda_client", Lambda)
    assert hold.concurrency() == 5
    hold._known.cache_clear()  # another environment
    assert hold.concurrency() == 5
    assert asked == ["sluice-ApiFunction-1"]
    assert api.get("/health", who=None).status_code == 200
