"""Lanes through the deployed system: priority, cancellation, dead letters, pausing, lost messages."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import boto3
import pytest

from shared.tasks import claims, table
from shared.tasks.items import row_key
from shared.tasks.model import Task
from tests.stack_fixture import LASTING, PARAMETERS, Stack, high_lane

LAST = 8
FLOOD = int(PARAMETERS["NormalConcurrency"]) * int(PARAMETERS["RunsPerEnvironment"]) + LAST
"""Runs, more than all slots of the normal lane hold at once: its last ones wait."""
STEADY = "[[sim latency=200 words=60 ttft=0.1]] wait"
"""Holds its slot: a model that says nothing for eight seconds is given up, and asked again and again."""


@pytest.fixture
def at_stack(stack: Stack) -> Stack:
    stack.use()
    return stack


@contextmanager
def high_lane_paused(stack: Stack) -> Iterator[None]:
    """Pause the lane for a while, and have environments at work told of its end, as an operator does.

    A scaler whose minute it is tells them of the pause, too, and else they would believe that for a minute.
    """
    client: Any = boto3.client("lambda")
    mapping = stack.outputs["mappings"]["high"]
    client.update_event_source_mapping(UUID=mapping, Enabled=False)
    try:
        yield
    finally:
        client.update_event_source_mapping(UUID=mapping, Enabled=True)
        client.invoke(FunctionName=stack.outputs["functions"]["scaler"], Payload=b'{"only": "pauses"}')


@pytest.mark.alone
def test_a_full_normal_lane_does_not_delay_the_high_one(stack: Stack) -> None:
    with ThreadPoolExecutor(2) as pool:
        flood = list(pool.map(lambda n: stack.submit(STEADY, session_id=f"f{n}"), range(FLOOD)))
    began = time.monotonic()
    found = stack.result(stack.submit("[[sim words=1]] quick", "vip"), "vip")
    took = time.monotonic() - began
    assert found["status"] == "complete"
    assert found["lane"] == "high"
    waiting = sum(stack.client().get(f"/result/{task_id}").json()["status"] == "queued" for task_id in flood[-LAST:])
    assert waiting > 0, f"the flood was over before the quick run, which took {took:.1f} s"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda task_id: stack.client().post(f"/agent/{task_id}/cancel"), reversed(flood)))


def test_a_running_task_is_cancelled_and_its_model_call_ends(stack: Stack) -> None:
    key = f"lane-cancel-{time.time()}"
    task_id = stack.submit(f"[[sim key={key} {LASTING}]] wait")
    while stack.calls(key)["started"] == 0:
        time.sleep(0.1)
    assert stack.client().post(f"/agent/{task_id}/cancel").status_code == 202
    assert stack.result(task_id)["status"] == "cancelled"
    assert stack.client().post(f"/agent/{task_id}/cancel").json()["status"] == "cancelled"
    counts: dict[str, Any] = stack.calls(key)
    assert (counts["started"], counts["completed"]) == (1, 0)


def tried_once(task_id: str) -> None:
    """Leave a task as a worker does that claimed it and died ten receives ago: its lease has lapsed."""
    assert isinstance(claims.claim(task_id, 0), Task)
    table.update(table.update_op(row_key(task_id), sets={"lease_until": time.time() - 600}))


@high_lane
def test_a_message_that_is_given_back_ten_times_does_not_fail_a_task_that_no_worker_had(at_stack: Stack) -> None:
    sqs: Any = boto3.client("sqs")
    queue = at_stack.outputs["queues"]["high"]
    with high_lane_paused(at_stack):
        task_id = at_stack.submit("[[sim words=2]] hello", "vip")
        given_back = 0
        while given_back < 11:  # the eleventh finds it gone to the dead-letter queue
            found = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=0, WaitTimeSeconds=1).get("Messages", [])
            given_back += 1 if found or given_back == 10 else 0
        time.sleep(2)
        assert at_stack.client("vip").get(f"/result/{task_id}").json()["status"] == "queued"
    assert at_stack.result(task_id, "vip")["status"] == "complete"


@high_lane
def test_a_dead_letter_fails_its_task_and_is_redriven_as_a_new_one(at_stack: Stack) -> None:
    from shared.tasks import redrive

    sqs: Any = boto3.client("sqs")
    with high_lane_paused(at_stack):
        task_id = at_stack.submit("[[sim words=2]] hello", "vip")
        tried_once(task_id)
        body = json.dumps({"v": 1, "task_id": task_id, "gen": 0})
        sqs.send_message(QueueUrl=at_stack.outputs["queues"]["high_dlq"], MessageBody=body)
        found = at_stack.result(task_id, "vip")
    assert found["status"] == "failed"
    assert found["error"]["code"] == "dead_letter"
    new_ids = dict(redrive.redrive())
    assert at_stack.result(new_ids[task_id], "vip")["status"] == "complete"
    assert at_stack.result(task_id, "vip")["status"] == "failed"
    assert task_id not in dict(redrive.redrive())


@high_lane
def test_a_paused_lane_loses_nothing(at_stack: Stack) -> None:
    with high_lane_paused(at_stack):
        ids = [at_stack.submit("[[sim words=1]] hello", "vip", session_id=f"p{n}") for n in range(5)]
        time.sleep(2)
        assert {at_stack.client("vip").get(f"/result/{task_id}").json()["status"] for task_id in ids} == {"queued"}
    assert {at_stack.result(task_id, "vip")["status"] for task_id in ids} == {"complete"}


@high_lane
def test_the_sweeper_sends_what_lost_its_message(at_stack: Stack) -> None:
    from shared.tasks import table
    from shared.tasks.items import row_key

    sqs: Any = boto3.client("sqs")
    with high_lane_paused(at_stack):
        task_id = at_stack.submit("[[sim words=1]] hello", "vip")
        sqs.purge_queue(QueueUrl=at_stack.outputs["queues"]["high"])
        # An older task, so that the sweeper does not think its message is still under way.
        old = {"created": "2026-01-01T00:00:00.000Z"}
        table.update(table.update_op(row_key(task_id), sets=old, condition="attribute_exists(pk)"))
    client: Any = boto3.client("lambda")
    client.invoke(FunctionName=at_stack.outputs["functions"]["sweeper"])
    assert at_stack.result(task_id, "vip")["status"] == "complete"
