"""The client over a network that fails: a submit makes one run, following goes on, limits are waited out or told."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

import sluice.client
from sluice.client import ApiError, AsyncClient, Client, LimitedError, UnavailableError
from sluice.client.calls import MOST_CHARACTERS, retry_after

Handler = Callable[[httpx2.Request], httpx2.Response]


def client(handler: Handler, patience_s: float = 5) -> Client:
    return Client("http://api.test/base/", "sk", patience_s=patience_s, transport=httpx2.MockTransport(handler))


def test_a_submit_that_is_cut_off_is_sent_again_with_the_same_key() -> None:
    keys: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        keys.append(request.headers["Idempotency-Key"])
        assert request.headers["Authorization"] == "Bearer sk"
        assert str(request.url) == "http://api.test/base/agent"
        if len(keys) == 1:
            raise httpx2.ReadError("cut off")
        if len(keys) == 2:
            return httpx2.Response(503, json={"error": {"code": "dependency_down", "message": "no"}})
        return httpx2.Response(202, json={"task_id": "t", "status": "queued"})

    with client(answer) as api:
        assert api.submit("hi", agent="hello").task_id == "t"
        assert len(set(keys)) == 1
        assert len(keys) == 3
        api.submit("hi")
    assert len(set(keys)) == 2


def test_following_goes_on_behind_the_last_event_that_it_gave() -> None:
    asked: list[str] = []
    log = [{"seq": n, "type": "token", "at": "", "data": {"n": n}} for n in range(1, 6)]

    def answer(request: httpx2.Request) -> httpx2.Response:
        after = int(request.url.params["after"])
        asked.append(str(after))
        if len(asked) == 2:
            raise httpx2.ConnectError("away")
        page = log[after : after + 2]
        status = "complete" if after >= 2 else "processing"  # ended, and still more to read
        return httpx2.Response(200, json={"events": page, "last_seq": 5, "status": status})

    with client(answer) as api:
        assert [event.seq for event in api.follow("t")] == [1, 2, 3, 4, 5]
    assert asked == ["0", "2", "2", "4"]


@pytest.mark.parametrize(("wait", "calls"), [("1", 2), ("3600", 1)])
def test_a_limit_is_waited_out_within_the_clients_patience_and_told_beyond(wait: str, calls: int) -> None:
    seen: list[int] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(1)
        if len(seen) == 1:
            body = {"error": {"code": "rate_limited", "message": "slowly"}}
            return httpx2.Response(429, json=body, headers={"Retry-After": wait})
        return httpx2.Response(202, json={"task_id": "t", "status": "queued"})

    with client(answer) as api:
        if calls == 2:
            assert api.submit("hi").task_id == "t"
        else:
            with pytest.raises(LimitedError) as told:
                api.submit("hi")
            assert told.value.retry_after_s == 3600
            assert told.value.code == "rate_limited"
    assert len(seen) == calls


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 422])
def test_a_refusal_is_told_at_once_with_its_code(status: int) -> None:
    seen: list[int] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(1)
        return httpx2.Response(status, json={"error": {"code": "why", "message": "because", "param": "agent"}})

    with client(answer) as api, pytest.raises(ApiError) as told:
        api.submit("hi")
    assert (told.value.status, told.value.code, told.value.param, len(seen)) == (status, "why", "agent", 1)


@pytest.mark.parametrize("body", [b"<html>bad gateway</html>", b"[1]", b"", b'{"error": "text"}', b'{"message":"x"}'])
def test_an_answer_of_something_between_is_an_error_like_any_other(body: bytes) -> None:
    with client(lambda _: httpx2.Response(502, content=body), 0) as api, pytest.raises(UnavailableError) as told:
        api.result("t")
    assert told.value.status == 502


def test_what_no_gateway_takes_is_not_sent_in_vain() -> None:
    with client(lambda _: httpx2.Response(502)) as api:
        for call in (lambda text: api.submit(text), lambda text: api.signal("t", "go", text)):
            with pytest.raises(ApiError, match="too large") as told:
                call("x" * (MOST_CHARACTERS + 1))
            assert (told.value.status, told.value.code) == (413, "too_large")
    with client(lambda _: httpx2.Response(202, json={"task_id": "t", "status": "queued"})) as api:
        assert api.submit("x" * (MOST_CHARACTERS - 100)).task_id == "t"


def test_an_api_that_is_away_is_told_after_the_clients_patience() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with client(answer, 0.1) as api, pytest.raises(UnavailableError, match="cannot be reached"):
        api.result("t")


def test_an_id_cannot_leave_its_place_in_the_address() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.raw_path.startswith(b"/base/result/..%2F..%2Flimits?")
        return httpx2.Response(404, json={"error": {"code": "not_found", "message": "no"}})

    with client(answer) as api, pytest.raises(ApiError, match="not_found"):
        api.result("../../limits")


def test_all_pages_are_read_one_after_the_other() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        n = int(request.url.params.get("cursor", "0"))
        found = [{"task_id": f"t{n}", "status": "complete"}]
        return httpx2.Response(200, json={"tasks": found, "next_cursor": str(n + 1) if n < 2 else None})

    with client(answer) as api:
        assert [run.task_id for run in api.runs()] == ["t0", "t1", "t2"]


def test_runs_that_wait_are_signalled_and_answered_and_schedules_made() -> None:
    sent: list[tuple[str, str, Any]] = []
    keys: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        path = request.url.raw_path.decode().removeprefix("/base")
        sent.append((request.method, path, json.loads(request.content) if request.content else None))
        if "/signals/" in path:
            keys.append(request.headers["Idempotency-Key"])
            if len(keys) == 1:
                raise httpx2.ReadError("cut off")
        if path.startswith("/approvals"):
            more = "c" if "cursor" not in path else None
            return httpx2.Response(200, json={"approvals": [{"task_id": "t"}], "next_cursor": more})
        if request.method == "GET":
            return httpx2.Response(200, json={"schedules": [{"schedule_id": "s"}], "next_cursor": None})
        return httpx2.Response(202, json={"status": "queued", "schedule_id": "s"})

    with client(answer) as api:
        assert api.signal("t", "go", {"ok": True})["status"] == "queued"
        assert len(api.approvals()) == 2
        api.allow("t", "ab", raise_usd=0.5, arguments=None)
        api.deny("t", "../x", reason="no")
        assert api.schedules() == [{"schedule_id": "s"}]
        assert api.make_schedule({"message": "hi"}, cron="0 8 * * *")["schedule_id"] == "s"
        api.change_schedule("s", paused=True)
        api.delete_schedule("s")
    assert len(set(keys)) == 1
    assert sent[1:] == [
        ("POST", "/agent/t/signals/go", {"ok": True}),
        ("GET", "/approvals?limit=100", None),
        ("GET", "/approvals?limit=100&cursor=c", None),
        ("POST", "/agent/t/approvals/ab", {"decision": "allow", "raise_usd": 0.5}),
        ("POST", "/agent/t/approvals/..%2Fx", {"decision": "deny", "reason": "no"}),
        ("GET", "/schedules?limit=100", None),
        ("POST", "/schedules", {"run": {"message": "hi"}, "cron": "0 8 * * *"}),
        ("PATCH", "/schedules/s", {"paused": True}),
        ("DELETE", "/schedules/s", None),
    ]


def test_a_schedule_is_not_made_twice_by_a_client_that_got_no_answer() -> None:
    seen: list[int] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(1)
        raise httpx2.ReadError("cut off")

    with client(answer) as api, pytest.raises(UnavailableError):
        api.make_schedule({"message": "hi"}, cron="0 8 * * *")
    assert len(seen) == 1


def test_both_clients_have_the_same_calls() -> None:
    def shape(kind: type) -> dict[str, list[str]]:
        named = {name: member for name, member in vars(kind).items() if not name.startswith("_")}
        return {name.removeprefix("a") if name == "aclose" else name: list(inspect.signature(each).parameters)
                for name, each in named.items()}  # fmt: skip

    assert shape(Client) == shape(AsyncClient)


def test_the_asynchronous_client_does_the_same() -> None:
    sent: list[Any] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            sent.append(json.loads(request.content))
            return httpx2.Response(202, json={"task_id": "t", "status": "queued"})
        if request.url.path.endswith("/events"):
            return httpx2.Response(200, json={"events": [], "last_seq": 0, "status": "complete"})
        told = {"task_id": "t", "status": "complete", "result": {"response": "hello", "tokens": 1, "session_id": "t"}}
        return httpx2.Response(200, json=told)

    async def main() -> None:
        async with AsyncClient("http://api.test", "sk", transport=httpx2.MockTransport(answer)) as api:
            run = await api.run("hi", agent="hello")
            assert run.response == "hello"
            assert [event async for event in api.follow("t")] == []

    asyncio.run(main())
    assert sent == [{"message": "hi", "agent": "hello"}]


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, None), ("", None), ("7", 7.0), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
)
def test_what_retry_after_may_say(text: str | None, seconds: float | None) -> None:
    assert retry_after(text) == seconds


@pytest.mark.parametrize("url", [None, "", "api.test", "ftp://api.test"])
def test_an_address_that_is_none_is_refused(url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICE_URL", raising=False)
    with pytest.raises(ValueError, match="SLUICE_URL"):
        Client(url, "sk")


@pytest.mark.parametrize("around", ["{}\n", "\r\n{}", " {} ", "{}\t"])
def test_what_files_leave_around_a_key_and_an_address_is_no_part_of_them(around: str) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert (request.headers["Authorization"], request.url.path) == ("Bearer sk", "/base/limits")
        return httpx2.Response(200, json={})

    transport = httpx2.MockTransport(answer)
    with Client(around.format("http://api.test/base/"), around.format("sk"), transport=transport) as api:
        assert api.limits() == {}


@pytest.mark.parametrize("key", ["s\nk", "s\rk", "sk\x00", "schlüssel", "s\x7fk"])
def test_a_key_that_is_none_is_refused_at_once_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as refused:
        Client("http://api.test", key)
    assert key not in str(refused.value)


@pytest.mark.parametrize("key", ["a\nb", "ü", "a\x00"])
def test_a_header_that_cannot_be_sent_is_not_tried(key: str) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        pytest.fail("sent")

    with client(answer) as api, pytest.raises(ApiError, match="Idempotency-Key") as refused:
        api.submit("hi", idempotency_key=key)
    assert (refused.value.code, refused.value.param) == ("invalid_request", "Idempotency-Key")


def test_commands_that_ask_no_api_load_no_client() -> None:
    code = "import sys, sluice.cli; sys.exit('httpx2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import sys, sluice.client as c; assert c.Client and c.AsyncClient; sys.exit('httpx2' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'Klient'"):
        _ = sluice.client.Klient
