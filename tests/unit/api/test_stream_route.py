"""`GET /result/{id}/stream`: who may, from where, and blocks as `EventSource` and `openai` read them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai._streaming import SSEDecoder

from functions.api.app import handler
from functions.api.live import following, sse
from functions.api.live.listener import Listener
from functions.api.live.sequence import KeepAlive
from functions.api.read import hold as held_module
from functions.api.routes import stream as route
from shared import tickets, watchers
from shared.clock import now
from shared.errors import DependencyDown
from shared.settings import settings
from shared.tasks import events, store
from tests.unit.api.conftest import Api


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("STREAM_SECONDS", "1.2")
    settings.cache_clear()
    yield
    settings.cache_clear()


def blocks(text: str) -> list[dict[str, Any]]:
    """Read a stream as a browser does: fields of each block, its data decoded; a block without data is no event."""
    found = []
    for part in text.split("\n\n")[:-1]:
        fields: dict[str, Any] = {}
        for line in part.split("\n"):
            if line.startswith(":"):
                continue
            name, _, value = line.partition(": ")
            fields[name] = value
        assert "data" in fields, f"a block without data: {part!r}"
        found.append(fields | {"data": json.loads(fields["data"])})
    return found


def follow(api: Api, task_id: str, who: str | None = "demo", **how: Any) -> Any:
    headers = api.head(who) | how.pop("headers", {})
    return api.client.get(f"/result/{task_id}/stream", params=how or None, headers=headers)


def ended(api: Api) -> str:
    """A task that was cancelled; returns its id."""
    task_id = str(api.submit().json()["task_id"])
    assert api.post(f"/agent/{task_id}/cancel").status_code == 200
    return task_id


def test_the_log_is_streamed_and_the_end_said(api: Api) -> None:
    task_id = ended(api)
    answer = follow(api, task_id)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    *log, end = blocks(answer.text)
    assert [block["data"] for block in log] == [event.public() for event in events.read(task_id, 0).events]
    assert [block["id"] for block in log] == ["1", "2"]
    assert end == {"event": "end", "retry": "60000", "data": {"status": "cancelled", "last_seq": 2}}


@pytest.mark.parametrize("how", ["header", "query"])
def test_it_goes_on_behind_a_place(api: Api, how: str) -> None:
    task_id = ended(api)
    sent: dict[str, Any] = {"headers": {"Last-Event-ID": "1"}} if how == "header" else {"after": "1"}
    assert [block.get("id") for block in blocks(follow(api, task_id, **sent).text)] == ["2", None]


def test_whoever_comes_back_after_the_end_is_told_so_again_and_never_204(api: Api) -> None:
    answer = follow(api, ended(api), headers={"Last-Event-ID": "2"})
    assert answer.status_code == 200
    assert [block.get("event") for block in blocks(answer.text)] == ["end"]


def test_who_says_to_have_more_than_there_is_is_told_where_the_end_is(api: Api) -> None:
    task_id = ended(api)
    [end] = blocks(follow(api, task_id, headers={"Last-Event-ID": "99"}).text)
    assert end["data"] == {"status": "cancelled", "last_seq": 2}
    path = f"/v1/responses/resp_{task_id}"
    last = blocks(api.get(path, stream="true").text.removesuffix("data: [DONE]\n\n"))[-1]["data"]
    n = last["sequence_number"]
    assert "event: " not in api.get(path, stream="true", starting_after=n).text
    told = blocks(api.get(path, stream="true", starting_after=n + 1).text.removesuffix("data: [DONE]\n\n"))
    assert [each["event"] for each in told] == ["error"]
    assert told[0]["data"]["param"] == "starting_after"


def test_a_run_that_has_ended_is_read_once_and_not_listened_to(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = ended(api)
    reads: list[str] = []
    read = events._read

    def counted(task_id: str, after: int, most_bytes: int | None) -> events.Page:
        reads.append("log")
        return read(task_id, after, most_bytes)

    monkeypatch.setattr(events, "_read", counted)
    monkeypatch.setattr(store, "get", lambda task_id: pytest.fail("the task's row was read by itself"))
    monkeypatch.setattr(Listener, "add", lambda *args: pytest.fail("it was listened to"))
    assert blocks(follow(api, task_id).text)[-1]["event"] == "end"
    assert "response.failed" in api.get(f"/v1/responses/resp_{task_id}", stream="true").text
    assert reads == ["log", "log"]


def test_a_stream_that_has_lived_as_long_as_it_may_says_to_come_again(api: Api) -> None:
    task_id = api.submit().json()["task_id"]
    *_, last = blocks(follow(api, task_id).text)
    assert last == {"event": "again", "retry": "200", "data": {"after": "1"}}


def for_keep_alives(monkeypatch: pytest.MonkeyPatch, enough: int) -> None:
    """Have a stream live until it has broken the silence so often, however slow it is."""
    monkeypatch.setenv("STREAM_SECONDS", "60")
    settings.cache_clear()
    monkeypatch.setattr(following, "KEEP_ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(following, "HOLD_SECONDS", 0.1)
    made: list[KeepAlive] = []
    monkeypatch.setattr(following, "KeepAlive", lambda: made.append(KeepAlive()) or made[-1])
    monkeypatch.setattr(held_module.Held, "go_on", lambda self: len(made) < enough)


def test_silence_is_broken_without_a_block_of_its_own(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for_keep_alives(monkeypatch, 4)
    text = follow(api, api.submit().json()["task_id"]).text
    assert text.count(": keep-alive\n") > 3
    assert [block.get("event", "message") for block in blocks(text)] == ["message", "again"]


def test_openais_reader_makes_events_of_nothing_but_blocks_with_data(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "KEEP_ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.1)
    text = follow(api, api.submit().json()["task_id"]).text
    read = list(SSEDecoder().iter_bytes(iter([text.encode()])))
    assert openai.__version__
    assert [json.loads(event.data) for event in read] == [block["data"] for block in blocks(text)]


def test_somebody_elses_and_unknown_tasks_are_not_found(api: Api) -> None:
    task_id = ended(api)
    for who, asked in (("other", task_id), ("demo", "task_none"), ("demo", "x" * 80)):
        assert follow(api, asked, who).status_code == 404
    assert follow(api, task_id, None).status_code == 401


@pytest.mark.parametrize("sent", [{"after": "x"}, {"after": "-1"}, {"headers": {"Last-Event-ID": "1.2.3"}}])
def test_what_is_no_place_is_invalid(api: Api, sent: dict[str, Any]) -> None:
    assert follow(api, ended(api), **sent).status_code == 422


def test_the_http_api_names_the_streaming_address(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_URL", "https://live.example/")
    settings.cache_clear()
    headers = api.head() | {"host": "x.execute-api.us-east-1.amazonaws.com"}
    event = {
        "version": "2.0", "rawPath": "/result/task_x/stream", "rawQueryString": "", "headers": headers,
        "requestContext": {
            "http": {"method": "GET", "path": "/result/task_x/stream", "sourceIp": "1.2.3.4"},
            "stage": "$default", "requestId": "1",
        },
        "isBase64Encoded": False,
    }  # fmt: skip
    answer = handler(event, None)
    assert answer["statusCode"] == 400
    assert "https://live.example" in json.loads(answer["body"])["error"]["message"]


def test_a_ticket_opens_one_tasks_stream_again_and_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_URL", "https://live.example/")
    settings.cache_clear()
    task_id, another = ended(api), ended(api)
    given = api.client.post(f"/stream-ticket?task_id={task_id}", headers=api.head()).json()
    assert given["url"] == f"https://live.example/result/{task_id}/stream?ticket={given['ticket']}"
    for _ in range(2):
        assert follow(api, task_id, None, ticket=given["ticket"]).status_code == 200
    assert follow(api, another, None, ticket=given["ticket"]).status_code == 401
    assert follow(api, task_id, None, ticket="x").status_code == 401
    assert tickets.redeem(given["ticket"]) is None  # it is none for the WebSocket
    monkeypatch.setattr(tickets, "now", lambda: now() + tickets.FOLLOW_SECONDS + 1)
    assert follow(api, task_id, None, ticket=given["ticket"]).status_code == 401


def test_no_ticket_for_a_task_of_somebody_else(api: Api) -> None:
    task_id = ended(api)
    assert api.client.post(f"/stream-ticket?task_id={task_id}", headers=api.head("other")).status_code == 404


def test_a_busy_door_says_when_to_come_again_in_a_block_with_data(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = ended(api)
    monkeypatch.setattr(held_module.Held, "go_on", lambda self: False)
    answer = follow(api, task_id)
    assert answer.status_code == 200
    (busy,) = blocks(answer.text)
    assert (busy["event"], busy["retry"]) == ("busy", "5000")


def test_so_it_is_while_dynamodb_is_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any, **_more: Any) -> None:
        raise DependencyDown("dynamodb")

    monkeypatch.setattr(route.events, "read", away)
    answer = follow(api, "task_x")
    assert answer.status_code == 200
    assert [block["event"] for block in blocks(answer.text)] == ["busy"]


def test_a_stream_whose_place_is_owed_to_another_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_SECONDS", "60")
    settings.cache_clear()
    monkeypatch.setattr(following, "HOLD_SECONDS", 0.1)
    answers = iter([True, True, False])
    monkeypatch.setattr(held_module.Held, "go_on", lambda self: next(answers))
    *_, last = blocks(follow(api, api.submit().json()["task_id"]).text)
    assert last["event"] == "again"
    assert next(answers, None) is None  # so it ended when it was told to, not when its time was over


def test_every_stream_gives_its_place_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    over: list[str] = []
    go_on, end = held_module.Held.go_on, held_module.Held.end

    def counted(self: held_module.Held) -> bool:
        kept = go_on(self)
        begun.append(self._id)
        return kept

    def ending(self: held_module.Held) -> None:
        over.append(self._id)
        end(self)

    monkeypatch.setattr(held_module.Held, "go_on", counted)
    monkeypatch.setattr(held_module.Held, "end", ending)
    follow(api, ended(api))
    assert begun
    assert set(begun) == set(over)


def test_an_end_by_somebody_else_reaches_the_stream(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the worker: the API's own cancelling, the sweeper, the dead letter function."""
    monkeypatch.setenv("STREAM_SECONDS", "30")
    settings.cache_clear()
    task_id = api.submit().json()["task_id"]
    text: list[str] = []
    watching = threading.Thread(target=lambda: text.append(follow(api, task_id).text))
    watching.start()
    while not watchers.look(task_id).listeners:
        time.sleep(0.02)
    assert api.post(f"/agent/{task_id}/cancel").status_code == 200
    watching.join(60)
    assert [block.get("event", "message") for block in blocks(text[0])] == ["message", "message", "end"]


def test_a_block_is_one_line_of_data_whatever_is_in_it() -> None:
    data = {"text": "a\nb\r\n\u2028\x85 data: c\n\nid: 9"}
    assert blocks(sse.block(data, event="x", id_="1.2").decode()) == [{"event": "x", "id": "1.2", "data": data}]
