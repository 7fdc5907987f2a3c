import asyncio
import itertools
import json
import signal
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from localstack.llm.admin import is_loopback
from localstack.llm.config import Config
from localstack.llm.haste import KEYS_KEPT, Haste
from localstack.llm.server import Simulator as App
from localstack.llm.state import State
from sluice.testing import bound
from tests.unit.simulator_fixture import launch

from .conftest import Simulator

Ask = Callable[..., Any]


def test_health_and_configuration(sim: Simulator) -> None:
    assert sim.admin.get("/health").json()["status"] == "ok"
    before = sim.admin.get("/config").json()
    assert before["latency"] == [0, 0]
    after = sim.config(words=5, latency="0-0.01")
    assert (after["words"], after["latency"], after["seed"]) == (5, [0, 0.01], before["seed"])


@pytest.mark.parametrize(
    "settings",
    [
        {"speed": 1},
        {"words": 0},
        {"words": 5, "latency": -1},
        {"latency": "x"},
        {"latency": [1, 2, 3]},
        {"fault_rate": 1.5},
        {"faults": ["boom"]},
        {"faults": "429"},
        {"outage": "yes"},
        {"outage_models": "m"},
        {"outage_fault": 200},
        {"seed": None},
    ],
)
def test_a_bad_setting_changes_nothing(sim: Simulator, settings: dict[str, object]) -> None:
    before = sim.admin.get("/config").json()
    answer = sim.admin.post("/config", json=settings)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert sim.admin.get("/config").json() == before


def test_settings_hold_for_calls_that_say_nothing_else(sim: Simulator, ask: Ask) -> None:
    sim.config(words=6)
    assert len(ask("hello").choices[0].message.content.split()) == 6
    assert len(ask("hello [[sim words=3]]").choices[0].message.content.split()) == 3


def test_an_outage_starts_and_ends(sim: Simulator, ask: Ask) -> None:
    sim.config(outage=True, retry_after=7)
    with pytest.raises(openai.InternalServerError) as caught:
        ask("hello [[sim fail=none]]")
    assert caught.value.response.headers["retry-after"] == "7"
    assert sim.config()["outage"] is True
    assert sim.config(outage=False)["outage"] is False
    assert ask("hello").choices


def test_an_outage_of_one_model_with_another_fault(sim: Simulator, ask: Ask) -> None:
    sim.config(outage=True, outage_models=["gpt-4o"], outage_fault="quota")
    with pytest.raises(openai.RateLimitError) as caught:
        ask("hello", "gpt-4o")
    assert caught.value.code == "insufficient_quota"
    assert ask("hello", "gpt-4o-mini").choices


def test_an_outage_for_some_seconds_ends_by_itself(sim: Simulator, ask: Ask) -> None:
    assert 0 < sim.config(outage=500)["outage"] <= 500
    with pytest.raises(openai.InternalServerError):
        ask("hello")
    sim.config(outage=0.05)
    while sim.config()["outage"] is not False:
        pass
    assert ask("hello").choices


def test_an_outage_spends_no_failure_of_a_directive(sim: Simulator, ask: Ask) -> None:
    sim.config(outage=True)
    with pytest.raises(openai.InternalServerError):
        ask("[[sim key=k fail=429 times=1]]")
    sim.config(outage=False)
    with pytest.raises(openai.RateLimitError):
        ask("[[sim key=k fail=429 times=1]]")
    assert ask("[[sim key=k fail=429 times=1]]").choices


def test_random_faults_follow_rate_and_seed(sim: Simulator, ask: Ask) -> None:
    def campaign(seed: int, order: int) -> dict[str, str | None]:
        sim.admin.post("/reset")
        sim.config(fault_rate=0.5, faults=["429", "500"], seed=seed)
        for number in range(40)[::order]:
            try:
                ask(f"[[sim key=n{number}]]")
            except openai.APIStatusError:
                continue
        return {call["key"]: call["fault"] for call in sim.calls()}

    first = campaign(1, 1)
    assert set(first.values()) == {None, "429", "500"}
    assert campaign(1, -1) == first
    assert campaign(2, 1) != first


def test_a_limit_of_requests_per_minute(sim: Simulator, ask: Ask) -> None:
    sim.config(rpm=2)
    ask("hello")
    ask("hello")
    with pytest.raises(openai.RateLimitError) as caught:
        ask("hello")
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert sim.stats()["by_fault"] == {"rate_limit": 1}


def test_statistics_and_log(sim: Simulator, ask: Ask) -> None:
    ask("one two [[sim key=run-1 words=4]]")
    ask("one two [[sim key=run-1 words=4]]", stream=True).close()
    ask("no key here")
    with pytest.raises(openai.BadRequestError):
        ask("[[sim nonsense]]")
    sim.until(lambda stats: stats["in_flight"] == 0)
    stats = sim.stats(prefix="run-")
    assert stats["calls"] == 4
    assert stats["by_status"] == {"200": 3, "400": 1}
    assert stats["by_model"] == {"gpt-4o-mini": 3, "": 1}
    assert list(stats["by_key"]) == ["run-1"]
    assert stats["by_key"]["run-1"]["started"] == 2
    assert stats["keys"] == len(sim.stats(all=1)["by_key"]) == 3
    calls = sim.calls()
    assert [call["n"] for call in calls] == [1, 2, 3, 4]
    assert calls[0]["request"] == calls[1]["request"] != calls[2]["request"]
    assert (calls[0]["prompt_tokens"], calls[0]["completion_tokens"]) == (5, 4)
    assert [call["stream"] for call in calls] == [False, True, False, False]
    assert all(call["started"] <= call["ended"] for call in calls)
    assert [call["n"] for call in sim.calls(after=2)] == [3, 4]
    assert [call["n"] for call in sim.calls(after=1, limit=1)] == [2]
    assert [call["n"] for call in sim.calls(key="run-1")] == [1, 2]
    assert sim.calls(after=99) == []


def test_a_reset_forgets_and_calls_in_flight_do_not_upset_it(sim: Simulator) -> None:
    async def run() -> None:
        async with httpx2.AsyncClient(headers={"authorization": "Bearer k"}, timeout=30) as client:
            body = {"model": "m", "messages": [{"role": "user", "content": "[[sim key=old hang=1]]"}]}
            task = asyncio.create_task(client.post(f"{sim.url}/v1/chat/completions", json=body))
            await sim.until_in_flight(1)
            sim.config(words=3)
            sim.admin.post("/reset", json={"keep_config": True})
            assert sim.config()["words"] == 3
            with pytest.raises(httpx2.RemoteProtocolError):
                await task

    asyncio.run(run())
    stats = sim.until(lambda stats: stats["in_flight"] == 0)
    assert (stats["calls"], stats["failed"], stats["by_key"]) == (0, 0, {})
    sim.admin.post("/reset")
    assert sim.config()["words"] == 24


def test_the_log_keeps_the_newest_calls() -> None:
    state = State(Config(), log_size=3)
    for _ in range(5):
        state.end(state.begin("k", "m", "r", stream=False, named=True))
    assert [call.n for call in state.calls_after(0, 10)] == [3, 4, 5]
    assert [call.n for call in state.calls_after(4, 10)] == [5]
    assert state.keys["k"].started == 5


def test_a_cancelled_call_counts_as_aborted(sim: Simulator) -> None:
    async def run() -> None:
        async with openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=0) as client:
            for stream in (False, True):
                call: Any = client.chat.completions.create(
                    model="m",
                    messages=[{"role": "user", "content": f"[[sim key=c{stream} latency=600 ttft=600]]"}],
                    stream=stream,
                )
                task = asyncio.create_task(call)
                await sim.until_in_flight(1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await sim.until_in_flight(0)

    asyncio.run(run())
    assert sim.stats()["aborted"] == 2
    assert [(call["aborted"], call["status"], call["completed"]) for call in sim.calls()] == [(True, 0, False)] * 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ttft", [0, 600])
def test_a_hurried_call_ends_at_once_and_so_do_the_later_ones_of_its_key(
    sim: Simulator, stream: bool, ttft: int
) -> None:
    message = f"[[sim key=h echo latency=600 ttft={ttft}]]all of its words"

    async def run() -> None:
        async with openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="k", max_retries=0) as client:

            async def ask() -> str:
                messages: Any = [{"role": "user", "content": message}]
                answer: Any = await client.chat.completions.create(model="m", messages=messages, stream=stream)
                if not stream:
                    return str(answer.choices[0].message.content)
                return "".join([part.choices[0].delta.content or "" async for part in answer if part.choices])

            call = asyncio.create_task(ask())
            await sim.until_in_flight(1)
            assert sim.admin.post("/hurry", json={"key": "other"}).json() == {"waited": 0}
            assert not call.done()
            assert sim.admin.post("/hurry", json={"key": "h"}).json() == {"waited": 1}
            assert await call == await ask() == "all of its words"

    asyncio.run(run())
    assert [(call["completed"], call["aborted"]) for call in sim.calls(key="h")] == [(True, False)] * 2


def test_a_reset_forgets_who_is_in_a_hurry(sim: Simulator, ask: Ask) -> None:
    sim.admin.post("/hurry", json={"key": "h"})
    assert ask("[[sim key=h echo latency=600]]soon").choices[0].message.content == "soon"
    sim.admin.post("/reset")
    stream = ask("[[sim key=h latency=600 ttft=0 words=2000]]", stream=True)
    assert next(part for part in stream if part.choices[0].delta.content)
    assert sim.calls(key="h")[0]["ended"] is None
    stream.close()


@pytest.mark.parametrize("fault", ["", "fail=500"])
def test_the_first_calls_of_a_key_may_be_quick(sim: Simulator, fault: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": f"[[sim key=q latency=600 quick=2 {fault}]]"}]}

    async def run() -> list[int]:
        async with httpx2.AsyncClient(headers={"authorization": "Bearer k"}, timeout=60) as client:
            answers = [await client.post(f"{sim.url}/v1/chat/completions", json=body) for _ in range(2)]
            third = asyncio.create_task(client.post(f"{sim.url}/v1/chat/completions", json=body))
            await sim.until_in_flight(1)
            assert sim.admin.post("/hurry", json={"key": "q"}).json() == {"waited": 1}
            return [answer.status_code for answer in (*answers, await third)]

    assert asyncio.run(run()) == [500 if fault else 200] * 3


@pytest.mark.parametrize("body", [{}, {"key": ""}, {"key": 1}, {"key": None}])
def test_to_hurry_takes_a_key(sim: Simulator, body: dict[str, object]) -> None:
    answer = sim.admin.post("/hurry", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "key")


def test_the_oldest_key_in_a_hurry_is_forgotten() -> None:
    haste = Haste()
    for n in range(KEYS_KEPT):
        haste.hurry(f"k{n}")
    haste.hurry("k1")
    assert "k0" in haste
    haste.hurry("one more")
    assert ("k0" in haste, "k1" in haste, "one more" in haste) == (False, True, True)


def test_connections_show_whether_a_client_pools(sim: Simulator) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": "Bearer k"}
    with httpx2.Client(headers=headers) as pooled:
        for _ in range(10):
            pooled.post(f"{sim.url}/v1/chat/completions", json=body)
        connections = sim.stats()["connections"]
        assert (connections["model_opened"], connections["model_open"]) == (1, 1)
    for _ in range(10):
        with httpx2.Client(headers=headers) as single:
            single.post(f"{sim.url}/v1/chat/completions", json=body)
    sim.until(lambda stats: stats["connections"]["model_open"] == 0)
    connections = sim.stats()["connections"]
    assert (connections["model_opened"], connections["model_open_max"]) == (11, 1)
    assert connections["opened"] >= 11


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/stats", 405),
        ("GET", "/reset", 405),
        ("GET", "/calls?after=x", 400),
    ],
)
def test_bad_admin_calls(sim: Simulator, method: str, path: str, status: int) -> None:
    answer = sim.admin.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("203.0.113.9", False),
    ],
)
def test_who_is_on_loopback(host: str, local: bool) -> None:
    assert is_loopback((host, 4_000)) is local


@pytest.mark.parametrize("client", [None, ("", 0), ("unix", 0), "127.0.0.1"])
def test_who_is_not_a_loopback_client(client: object) -> None:
    assert not is_loopback(client)


def test_admin_calls_are_closed_to_other_machines() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/_sim/stats",
        "client": ("203.0.113.9", 1),
        "headers": [],
    }
    asyncio.run(App(State(Config()))(scope, receive, send))
    assert sent[0]["status"] == 403
    assert "loopback" in json.loads(sent[1]["body"])["error"]["message"]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_cuts_calls_in_progress(stop: signal.Signals) -> None:
    process, url = launch("--latency", "600")
    assert process.stdout is not None

    async def run() -> None:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        async with httpx2.AsyncClient(headers={"authorization": "Bearer k"}, timeout=60) as client:
            task = asyncio.create_task(client.post(f"{url}/v1/chat/completions", json=body))
            for _ in itertools.count():
                if (await client.get(f"{url}/_sim/health")).json()["in_flight"]:
                    break
            process.send_signal(stop)
            with pytest.raises(httpx2.RemoteProtocolError):
                await task

    asyncio.run(run())
    process.wait()
    assert process.stdout.read() == ""
    bound.end(process)
