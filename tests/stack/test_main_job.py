"""The main job through the deployed system: submit, follow, result."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.stack_fixture import LASTING, PARAMETERS, Stack


def test_a_run_completes(stack: Stack) -> None:
    task_id = stack.submit("[[sim key=main-1 words=4]] hello")
    found = stack.result(task_id)
    assert found["status"] == "complete"
    assert len(found["result"]["response"].split()) == 4
    assert found["result"]["session_id"] is None
    assert found["usage"]["total_tokens"] == found["result"]["tokens"] > 0
    assert [e["type"] for e in stack.events(task_id) if e["type"] != "token"] == [
        "queued",
        "started",
        "step",
        "complete",
    ]


@pytest.mark.parametrize("stream", [True, False])
def test_text_is_told_as_it_is_written_or_in_one_piece(stack: Stack, stream: bool) -> None:
    """What is streamed ends once a reader has met two batches of it; else the reader has three seconds for them."""
    key = f"main-told-{time.time()}"
    pace = LASTING if stream else "words=30 latency=3 ttft=0.2"
    task_id = stack.submit(f"[[sim key={key} {pace}]] hello", stream=stream)
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["type"] != "complete":
        after = seen[-1]["seq"] if seen else 0
        page = stack.client().get(f"/result/{task_id}/events", params={"after": after, "wait": 20})
        seen += page.json()["events"]
        texts = [event["data"]["text"] for event in seen if event["type"] == "token"]
        if len(texts) > 1:
            stack.hurry(key)
    assert "".join(texts) == seen[-1]["data"]["response"]
    assert (len(texts) > 1) == stream


@pytest.mark.parametrize("fault", ["429", "500"])
def test_an_injected_fault_is_retried(stack: Stack, fault: str) -> None:
    key = f"main-retry-{fault}"
    found = stack.result(stack.submit(f"[[sim key={key} fail={fault} times=1 words=2]] hello"))
    assert found["status"] == "complete"
    assert stack.calls(key)["completed"] == 1


def test_a_permanent_fault_fails(stack: Stack) -> None:
    found = stack.result(stack.submit("[[sim key=main-perm fail=400]] hello"))
    assert found["status"] == "failed"
    assert found["error"]["code"] == "invalid_request"


def test_three_times_what_the_lane_holds_at_once_complete_once_each(stack: Stack) -> None:
    runs = 3 * int(PARAMETERS["NormalConcurrency"]) * int(PARAMETERS["RunsPerEnvironment"])
    with ThreadPoolExecutor(2) as pool:  # each that overlaps starts an environment
        ids = list(
            pool.map(
                lambda n: stack.submit(f"[[sim key=bulk-{n} latency=0.3 words=2]] hi", session_id=f"s{n}"), range(runs)
            )
        )
        found = list(pool.map(lambda task_id: stack.result(task_id, seconds=100), ids))
    assert [one["status"] for one in found] == ["complete"] * runs
    by_key = stack.sim.get("/stats", params={"prefix": "bulk-"}).json()["by_key"]
    assert len(by_key) == runs
    assert all(counts["started"] == 1 for counts in by_key.values())
