"""Faults through the deployed system: killed workers, doubled messages, a run that kills its workers, a hung Valkey.

What is killed is in the high lane, one run at a time: the environments are never those of other runs.
"""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from benchmarks.faults.inflict import pid_of, worker_processes
from benchmarks.faults.watch import rows
from localstack.system import System
from shared.tasks import events, table
from shared.tasks.items import row_key
from shared.tasks.model import Status, Task
from tests.stack_fixture import LASTING, Stack, high_lane

PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def at_stack(stack: Stack) -> Iterator[Stack]:
    with stack.used():
        yield stack


@pytest.fixture(scope="module")
def system(at_stack: Stack) -> System:
    return System(Path(at_stack.outputs["state_dir"]))


def row(stack: Stack, task_id: str) -> Task:
    return rows(stack.outputs["table"], [task_id])[0]


def recorded_calls(task_id: str) -> int:
    """Count the model calls of a run's log: its row tells of them with the next heartbeat only."""
    log = events.read(task_id, 0).events
    return sum(event.type == "step" and event.data.get("kind") is None for event in log)


def kill_its_worker(stack: Stack, system: System, task_id: str, *, lease_no: int, after_calls: int = 0) -> None:
    """Kill the environment that holds a task once it was claimed so often and has recorded so many model calls."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        task = row(stack, task_id)
        if task.status is Status.PROCESSING and task.lease_no >= lease_no and recorded_calls(task_id) >= after_calls:
            pid = pid_of(task)
            assert pid in worker_processes(system)
            os.kill(pid, signal.SIGKILL)
            return
        assert not task.status.terminal, f"{task_id} ended before its worker could be killed"
        time.sleep(0.05)
    raise AssertionError(f"{task_id} was not claimed: {row(stack, task_id)}")


@high_lane
def test_a_killed_workers_run_goes_on_elsewhere_and_repeats_no_finished_step(at_stack: Stack, system: System) -> None:
    key = f"fault-kill-{time.time()}"
    task_id = at_stack.submit(
        f"[[sim key={key} quick=2 {LASTING} tools=calculator,current_time]] go", "vip", agent="tools"
    )
    kill_its_worker(at_stack, system, task_id, lease_no=1, after_calls=2)
    at_stack.hurry_after_a_kill(key)
    found = at_stack.result(task_id, "vip")
    assert (found["status"], found["usage"]["model_calls"]) == ("complete", 3)
    task = row(at_stack, task_id)
    assert (task.crashes, task.lease_no) == (1, 2)
    calls = at_stack.sim.get("/calls", params={"key": key}).json()["calls"]
    completed = Counter(call["request"] for call in calls if call["completed"])
    assert list(completed.values()) == [1, 1, 1]
    log = at_stack.events(task_id, "vip")
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    types = Counter(event["type"] for event in log)
    assert (types["tool_call"], types["tool_result"], types["resumed"], types["complete"]) == (2, 2, 1, 1)


def test_doubled_messages_of_finished_and_running_tasks_make_no_call(at_stack: Stack) -> None:
    done_key, running_key = (f"fault-{what}-{time.time()}" for what in ("done", "running"))
    done = at_stack.submit(f"[[sim key={done_key} words=2]] hello")
    assert at_stack.result(done)["status"] == "complete"
    running = at_stack.submit(f"[[sim key={running_key} {LASTING}]] hello")
    while not at_stack.calls(running_key)["started"]:
        time.sleep(0.05)

    def double(number: int) -> None:
        sqs: Any = boto3.client("sqs")
        for start in range(0, number, 10):
            bodies = [json.dumps({"v": 1, "task_id": (done, running)[n % 2], "gen": 0}) for n in range(10)]
            sqs.send_message_batch(
                QueueUrl=at_stack.outputs["queues"]["normal"],
                Entries=[{"Id": str(start + n), "MessageBody": body} for n, body in enumerate(bodies)],
            )
        # One more run behind all the copies in the queue, so that they were seen.
        at_stack.result(at_stack.submit("[[sim words=1]] last"))

    double(180)
    at_stack.hurry(running_key)
    assert at_stack.result(running)["status"] == "complete"
    before = rows(at_stack.outputs["table"], [done, running])
    double(20)
    assert rows(at_stack.outputs["table"], [done, running]) == before
    for key in (done_key, running_key):
        assert at_stack.calls(key)["started"] == 1
    for task_id in (done, running):
        ends = [event for event in events.read(task_id, 0).events if event.type in events.TERMINAL_EVENTS]
        assert len(ends) == 1


@high_lane
def test_a_run_that_kills_its_workers_is_set_apart_and_then_given_up(at_stack: Stack, system: System) -> None:
    task_id = at_stack.submit(f"[[sim key=fault-poison-{time.time()} {LASTING}]] kill", "vip")
    assert row(at_stack, task_id).lane == "high"
    kill_its_worker(at_stack, system, task_id, lease_no=1)
    kill_its_worker(at_stack, system, task_id, lease_no=2)
    # Claimed in its lane, sent to the quarantine, claimed there.
    kill_its_worker(at_stack, system, task_id, lease_no=4)
    assert row(at_stack, task_id).lane == "quarantine"
    # As if it had gone on like that: the claim to come counts the last crash.
    table.update(table.update_op(row_key(task_id), sets={"crashes": 4}, condition="attribute_exists(pk)"))
    found = at_stack.result(task_id, "vip")
    assert (found["status"], found["error"]["code"]) == ("failed", "crashed")
    assert "5 times" in found["error"]["message"]


@pytest.fixture
def hung_valkey(system: System) -> Iterator[psutil.Process]:
    process = system.processes.running("valkey")
    assert process is not None
    process.suspend()
    yield process
    process.resume()


@pytest.mark.alone
def test_submits_and_runs_go_on_without_valkey(at_stack: Stack, hung_valkey: psutil.Process) -> None:
    client = at_stack.client()
    body = {"message": "[[sim words=1]] hello", "session_id": "no-valkey"}
    answer = client.post("/agent", json=body)
    assert answer.status_code == 202
    assert answer.headers["Sluice-Degraded"] == "redis"
    assert at_stack.result(answer.json()["task_id"])["status"] == "complete"
    hung_valkey.resume()
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer = client.post("/agent", json=body)
        if "Sluice-Degraded" not in answer.headers or time.monotonic() > give_up:
            break
        time.sleep(0.5)
    assert answer.status_code == 202
    assert "Sluice-Degraded" not in answer.headers
    assert at_stack.result(answer.json()["task_id"])["status"] == "complete"
