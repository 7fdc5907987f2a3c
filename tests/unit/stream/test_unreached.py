"""Who cannot be told something is disconnected: a connection that stays open, and is told nothing more, looks well."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from functions.stream.handler import handler
from shared import aws, tickets, valkey, watchers
from shared.clock import day
from shared.limits.scripts import script
from shared.settings import settings
from shared.tasks import claims, settle, store
from shared.tasks.ids import new_task_id
from shared.tasks.model import Status, Task

CONNECTION = "c1"


class Gateway(ThreadingHTTPServer):
    """API Gateway's address for connections."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.pushed: list[dict[str, Any]] = []
        self.closed: list[str] = []
        self.answers: list[int] = []
        """Statuses to answer pushes with, in order; 200 after them. 0: it is delivered, and answered never."""
        self.close_answer = 204
        self.over = threading.Event()


class Asked(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status in (0, 200):
            self.server.pushed.append(body)
        if status == 0:
            self.server.over.wait(60)
        self.answer(status or 200)

    def do_DELETE(self) -> None:
        self.server.closed.append(unquote(self.path).rpartition("/")[2])
        self.answer(self.server.close_answer)

    def answer(self, status: int) -> None:
        self.send_response(status)
        if status == 410:
            self.send_header("x-amzn-ErrorType", "GoneException")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway(fake_aws: dict[str, str], redis_settings: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    made = Gateway()
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("WS_ENDPOINT_URL", f"http://127.0.0.1:{made.server_port}/live")
    settings.cache_clear()
    aws.reset()
    valkey.reset()
    tickets.connect(CONNECTION, tickets.Viewer("ann", "vip"))
    yield made
    made.over.set()
    made.shutdown()
    made.server_close()
    settings.cache_clear()


def submit() -> Task:
    at = time.time()
    task = Task(
        task_id=new_task_id(), user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at)
    )  # fmt: skip
    return store.submit(task, "hello")


def end(task: Task) -> None:
    held = claims.claim(task.task_id, 0)
    assert isinstance(held, Task)
    settle.settle(held, settle.Outcome(status=Status.COMPLETE, response="done"), message="hello")


def asks(action: str, **more: Any) -> int:
    context = {"connectionId": CONNECTION, "routeKey": "$default"}
    answer = handler({"requestContext": context, "body": json.dumps({"action": action, **more})}, None)
    status: int = answer["statusCode"]
    return status


@pytest.mark.parametrize("failing", [0, 429, 500])
def test_who_is_not_reached_at_the_replay_is_disconnected(gateway: Gateway, failing: int) -> None:
    task = submit()
    gateway.answers = [failing]
    assert asks("subscribe", task_id=task.task_id) == 200
    assert gateway.closed == [CONNECTION]
    assert watchers.of(task.task_id) == {}
    # Should closing have failed, too, its next word is heard.
    assert asks("subscribe", task_id=task.task_id) == 200
    assert watchers.of(task.task_id) == {CONNECTION: 1}


def test_who_misses_the_end_is_disconnected(gateway: Gateway) -> None:
    task = submit()
    assert asks("subscribe", task_id=task.task_id) == 200
    assert watchers.of(task.task_id) == {CONNECTION: 1}
    end(task)
    gateway.answers = [500]
    assert watchers.finish(task.task_id)
    assert gateway.closed == [CONNECTION]
    assert watchers.of(task.task_id) == {}


@pytest.mark.parametrize("done", [True, False], ids=["done all the same", "not done"])
def test_whoever_may_have_been_taken_off_is_disconnected_though_nobody_was_told_so(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *, done: bool
) -> None:
    """Valkey stands still, and does what it was asked once it goes on: nobody waits for its answer any more."""
    task = submit()
    asks("subscribe", task_id=task.task_id)
    end(task)

    def unanswered(name: str) -> Any:
        def call(*args: Any) -> Any:
            if done:
                script(name)(*args)
            raise RedisTimeoutError("Timeout reading from socket")

        return call

    with monkeypatch.context() as still:
        still.setattr(watchers, "script", unanswered)
        assert not watchers.finish(task.task_id)
    assert gateway.closed == [CONNECTION]
    gateway.answers = [410]
    assert watchers.finish(task.task_id)
    assert watchers.of(task.task_id) == {}


def test_who_is_still_registered_for_sure_stays_connected(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Valkey was not asked: the sweeper finds the connection, and tells it the end."""
    task = submit()
    asks("subscribe", task_id=task.task_id)
    end(task)

    def away(name: str) -> Any:
        raise valkey.Away("Valkey failed a moment ago")

    with monkeypatch.context() as still:
        still.setattr(watchers, "script", away)
        assert not watchers.finish(task.task_id)
    assert gateway.closed == []
    assert watchers.finish(task.task_id)
    assert [one["type"] for one in gateway.pushed] == ["queued", "complete"]


@pytest.mark.parametrize("action", ["ping", "unsubscribe", "subscribe", "nonsense"])
def test_who_cannot_be_answered_is_disconnected(gateway: Gateway, action: str) -> None:
    gateway.answers = [500]
    assert asks(action, task_id=submit().task_id) in (200, 400)
    assert gateway.closed == [CONNECTION]


def test_who_is_reached_stays(gateway: Gateway) -> None:
    task = submit()
    for action in ("ping", "subscribe", "nonsense", "unsubscribe"):
        asks(action, task_id=task.task_id)
    assert [one["type"] for one in gateway.pushed] == ["pong", "queued", "error", "unsubscribed"]
    assert gateway.closed == []


@pytest.mark.parametrize("closing", [204, 410, 500])
def test_who_is_gone_is_forgotten_whatever_becomes_of_closing(gateway: Gateway, closing: int) -> None:
    task = submit()
    gateway.close_answer = closing
    watchers.add(task.task_id, CONNECTION, 0)
    watchers.drop(CONNECTION)
    assert watchers.of(task.task_id) == {}
    gateway.answers = [410]
    watchers.add(task.task_id, CONNECTION, 0)
    assert asks("ping") == 200
    assert watchers.of(task.task_id) == {}
    assert gateway.closed == [CONNECTION], "who has gone need not be disconnected"
