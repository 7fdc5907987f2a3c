"""Watching live over the WebSocket: in order, without gap or repeat, whatever is killed."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from benchmarks.faults.inflict import pid_of, worker_processes
from benchmarks.faults.watch import rows
from localstack.system import System
from tests.stack_fixture import ENDED, LASTING, Stack, high_lane


def ticket(stack: Stack, user: str = "load") -> dict[str, Any]:
    answer = stack.client(user).post("/stream-ticket")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def watch(stack: Stack, user: str = "load") -> ClientConnection:
    found = ticket(stack, user)
    return connect(f"{stack.outputs['ws_url']}?ticket={found['ticket']}", open_timeout=60, close_timeout=1)


def subscribe(socket: ClientConnection, task_id: str, after: int = 0) -> None:
    socket.send(json.dumps({"action": "subscribe", "task_id": task_id, "after": after}))


def follow(socket: ClientConnection, *, until: int | None = None, seconds: float = 100) -> list[dict[str, Any]]:
    """Read events until the task's end, or until so many came."""
    events: list[dict[str, Any]] = []
    give_up = time.monotonic() + seconds
    while until is None or len(events) < until:
        event = json.loads(socket.recv(timeout=max(0.1, give_up - time.monotonic())))
        assert event.get("type") != "error", event
        events.append(event)
        if event["type"] in ENDED:
            break
    return events


def follow_tokens(socket: ClientConnection, number: int) -> list[dict[str, Any]]:
    """Read events until so many of them are text."""
    events: list[dict[str, Any]] = []
    while sum(event["type"] == "token" for event in events) < number:
        events += follow(socket, until=1)
    return events


def text_of(events: list[dict[str, Any]]) -> str:
    """Put together the text of the last call that stands."""
    void = {call for event in events for call in event["data"].get("void", [])}
    tokens = [event["data"] for event in events if event["type"] == "token" and event["data"]["call"] not in void]
    last = tokens[-1]["call"]
    return "".join(token["text"] for token in tokens if token["call"] == last)


def test_a_run_is_told_live_and_in_order(stack: Stack) -> None:
    with watch(stack) as socket:  # first, for what nobody watches is told in one piece
        key = f"told-live-{time.time()}"
        task_id = stack.submit(f"[[sim key={key} {LASTING}]] hello")
        subscribe(socket, task_id)
        events = follow_tokens(socket, 2)
        stack.hurry(key)
        events += follow(socket)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [e["type"] for e in events if e["type"] != "token"] == ["queued", "started", "step", "complete"]
    assert text_of(events) == stack.result(task_id)["result"]["response"]


def test_an_ended_run_is_replayed_from_where_the_watcher_was(stack: Stack) -> None:
    task_id = stack.submit("[[sim words=3]] hello")
    stack.result(task_id)
    everything = stack.events(task_id)
    with watch(stack) as socket:
        subscribe(socket, task_id, after=2)
        assert [event["seq"] for event in follow(socket)] == [event["seq"] for event in everything[2:]]


def test_twenty_broken_connections_lose_and_repeat_nothing(stack: Stack) -> None:
    key = f"twenty-broken-{time.time()}"
    task_id = stack.submit(f"[[sim key={key} {LASTING}]] hello")
    events: list[dict[str, Any]] = []
    for n in range(20):
        with watch(stack) as socket:
            subscribe(socket, task_id, after=events[-1]["seq"] if events else 0)
            events += follow(socket, until=1)
            assert events[-1]["type"] not in ENDED
            if n == 19:
                stack.hurry(key)
                events += follow(socket)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert text_of(events) == stack.result(task_id)["result"]["response"]


def test_a_ticket_opens_one_connection(stack: Stack) -> None:
    found = ticket(stack)
    url = f"{stack.outputs['ws_url']}?ticket={found['ticket']}"
    with connect(url, open_timeout=60):
        pass
    for bad in (url, stack.outputs["ws_url"], f"{stack.outputs['ws_url']}?ticket=nonsense"):
        # Not a TimeoutError: a connection that stays open is none that was refused.
        with pytest.raises((InvalidStatus, ConnectionClosed, ConnectionError)), connect(bad, open_timeout=60) as socket:
            socket.recv(timeout=60)


def test_what_is_not_theirs_or_not_understood_is_an_error(stack: Stack) -> None:
    task_id = stack.submit("[[sim words=1]] hello")
    with watch(stack, "demo") as socket:
        for message, code in (
            ({"action": "subscribe", "task_id": task_id, "after": 0}, "not_found"),
            ({"action": "subscribe", "task_id": "none"}, "not_found"),
            ({"action": "subscribe"}, "invalid_message"),
            ({"action": "subscribe", "task_id": task_id, "after": -1}, "invalid_message"),
            ({"action": "dance"}, "invalid_message"),
        ):
            socket.send(json.dumps(message))
            answer = json.loads(socket.recv(timeout=60))
            assert (answer["type"], answer["error"]["code"]) == ("error", code)
        socket.send("{not json")
        assert json.loads(socket.recv(timeout=60))["error"]["code"] == "invalid_message"
        socket.send(json.dumps({"action": "ping"}))
        assert json.loads(socket.recv(timeout=60)) == {"type": "pong"}


@high_lane
def test_a_killed_worker_leaves_no_gap_and_what_stands_is_the_response(stack: Stack) -> None:
    """In the high lane, alone: the environment that is killed is none of the other runs'."""
    with watch(stack, "vip") as socket:  # first, for what nobody watches is told in one piece
        key = f"killed-stream-{time.time()}"
        task_id = stack.submit(f"[[sim key={key} nonce {LASTING}]] hello", "vip")
        subscribe(socket, task_id)
        events = follow_tokens(socket, 2)
        with stack.used():
            (task,) = rows(stack.outputs["table"], [task_id])
        assert pid_of(task) in worker_processes(System(Path(stack.outputs["state_dir"])))
        os.kill(pid_of(task), signal.SIGKILL)
        stack.hurry_after_a_kill(key)
        events += follow(socket)
    kept = {event["seq"]: event for event in events}  # a push under way at the kill may come again
    assert sorted(kept) == list(range(1, max(kept) + 1))
    ordered = [kept[seq] for seq in sorted(kept)]
    (resumed,) = [event for event in ordered if event["type"] == "resumed"]
    assert len(resumed["data"]["void"]) == 1
    found = stack.result(task_id, "vip")
    assert found["status"] == "complete"
    assert text_of(ordered) == found["result"]["response"]
    assert [event["seq"] for event in stack.events(task_id, "vip")] == sorted(kept)
