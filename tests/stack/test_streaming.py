"""The streaming address of the deployed system: events as they happen, cut connections, many streams of one tenant."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx2

from tests.stack_fixture import LASTING, Stack

CUTS = 6
"""More than a log without any text has: some are within what was written so far."""


class Reader:
    """Reads a task's stream, as often as it is cut, and puts the messages together."""

    def __init__(self, stack: Stack, task_id: str, user: str = "load") -> None:
        self.log: list[dict[str, Any]] = []
        self.parts = 0
        self.cuts = 0
        self.end: dict[str, Any] | None = None
        self._url = f"{stack.outputs['stream_url']}/result/{task_id}/stream"
        self._headers = {"Authorization": f"Bearer {stack.keys.get(user, user)}"}
        self._last = ""
        self._text = (0, "")

    def read(self, *, at_most: float = float("inf"), each: Callable[[], None] = lambda: None) -> bool:
        """Read until the end, or for so many messages; True at the end. After each, something is done."""
        headers = self._headers | ({"Last-Event-ID": self._last} if self._last else {})
        fields: dict[str, str] = {}
        with httpx2.stream("GET", self._url, headers=headers, timeout=60) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    continue
                if line:
                    fields[name] = value
                    continue
                self._take(fields)
                each()
                fields, at_most = {}, at_most - 1
                if self.end or at_most <= 0:
                    break
        self.cuts += self.end is None
        return self.end is not None

    def _take(self, fields: dict[str, str]) -> None:
        data = json.loads(fields["data"])
        if fields.get("event") == "end":
            self.end = data
        if fields.get("event") == "busy":
            time.sleep(int(fields["retry"]) / 1000)  # as EventSource does
        if "event" in fields:
            return
        self._last = fields["id"]
        seq, text = self._text
        if data.pop("partial", False):
            self.parts += 1
            self._text = (data["seq"], (text if seq == data["seq"] else "") + data["data"]["text"])
            return
        if seq == data["seq"] and data["type"] == "token":
            data["data"]["text"] = text + data["data"]["text"]
        self.log.append(data)


def test_text_comes_while_it_is_written_and_equals_the_log(stack: Stack) -> None:
    key = f"while-written-{time.time()}"
    task_id = stack.submit(f"[[sim key={key} {LASTING}]] hello")
    reader = Reader(stack, task_id)

    def enough() -> None:
        if reader.parts > 5:
            stack.hurry(key)

    assert reader.read(each=enough)
    assert reader.end is not None
    assert reader.end["status"] == "complete"
    assert reader.parts > 5
    assert reader.log == stack.events(task_id)


def test_connections_cut_anywhere_miss_and_repeat_nothing(stack: Stack) -> None:
    chance = random.Random(7)
    key = f"cut-anywhere-{time.time()}"
    tasks = [stack.submit(f"[[sim key={key} {LASTING}]] hello") for _ in range(3)]
    readers = [Reader(stack, task_id) for task_id in tasks]

    def follow(reader: Reader) -> None:
        while not reader.read(at_most=chance.randint(1, 2)):
            if all(one.cuts >= CUTS for one in readers):
                stack.hurry(key)

    threads = [threading.Thread(target=follow, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert all(reader.cuts >= CUTS for reader in readers), [reader.cuts for reader in readers]
    for reader, task_id in zip(readers, tasks, strict=True):
        assert reader.log == stack.events(task_id)
        assert reader.log[-1]["type"] == "complete"


def test_every_path_of_the_api_answers_there(stack: Stack) -> None:
    url, headers = stack.outputs["stream_url"], {"Authorization": f"Bearer {stack.keys['load']}"}
    assert httpx2.get(f"{url}/health", timeout=60).json()["status"] == "ok"
    accepted = httpx2.post(f"{url}/agent", json={"message": "[[sim words=3]] hi"}, headers=headers, timeout=60)
    assert accepted.status_code == 202
    held = httpx2.get(f"{url}/result/{accepted.json()['task_id']}?wait=40", headers=headers, timeout=60)
    assert held.json()["status"] == "complete"
    assert httpx2.get(f"{stack.api_url}/result/x?wait=40", headers=headers, timeout=60).status_code == 422


def test_pages_of_the_dashboards_origin_may_read_it(stack: Stack) -> None:
    origin = stack.outputs["aws_endpoint_url"]
    for allowed, told in ((origin, origin), ("https://evil.example", None)):
        answer = httpx2.get(f"{stack.outputs['stream_url']}/health", headers={"Origin": allowed}, timeout=60)
        assert answer.headers.get("access-control-allow-origin") == told


def test_a_tenants_hundred_open_streams_delay_nobodys_submit(stack: Stack) -> None:
    # It waits for somebody's leave, so its streams last as long as this takes.
    tool = '[[sim tool=calculator args={"expression": "6*7"} rounds=1]]'
    task_id = stack.submit(f"Multiply. {tool}", user="vip", agent="tools", approve=True)
    url = f"{stack.outputs['stream_url']}/result/{task_id}/stream"
    headers = {"Authorization": f"Bearer {stack.keys['vip']}"}
    limits = httpx2.Limits(max_connections=None)
    with httpx2.Client(limits=limits, timeout=60, headers=headers) as client:
        streams = [client.send(client.build_request("GET", url), stream=True) for _ in range(100)]
        assert {stream.status_code for stream in streams} == {200}
        for base in (stack.api_url, stack.outputs["stream_url"]):
            for _ in range(5):
                mine = {"Authorization": f"Bearer {stack.keys['load']}"}
                body = {"message": "[[sim words=3]] hi"}
                assert httpx2.post(f"{base}/agent", json=body, headers=mine, timeout=60).status_code == 202
        other = Reader(stack, stack.submit("[[sim words=3]] hi"))
        assert other.read()  # and there is a place for somebody else's stream
        # Nobody had to wait for a stream to end; how long it takes is for the benchmark.
        assert client.get(f"{stack.api_url}/result/{task_id}").json()["status"] in ("queued", "processing", "waiting")
        for stream in streams:
            stream.close()
        client.post(f"{stack.api_url}/agent/{task_id}/cancel").raise_for_status()


def test_a_ticket_for_the_websocket_is_had_at_either_address(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {stack.keys['load']}"}
    for address in ("api_url", "stream_url"):
        answer = httpx2.post(f"{stack.outputs[address]}/stream-ticket", headers=headers, timeout=60)
        assert answer.json()["url"] == stack.outputs["ws_url"], address
