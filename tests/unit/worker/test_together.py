"""Runs that ask the same at the same moment share an answer that is no older than their question."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from functions.worker.environment.environment import Environment
from functions.worker.environment.together import Together
from shared import valkey, watchers
from shared.limits import breaker as breakers
from shared.limits.breaker import Sign
from shared.settings import settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Source:
    """Answers with a count of the asking, as slowly as it is let."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.go = threading.Semaphore(0)
        self.wrong = False

    def ask(self, keys: list[str]) -> dict[str, int]:
        self.asked.append(keys)
        assert self.go.acquire(timeout=60)
        if self.wrong:
            raise ConnectionError("away")
        return dict.fromkeys(keys, len(self.asked))


async def under_way(source: Source, number: int) -> None:
    """Wait until the source was asked so often."""
    async with asyncio.timeout(60):
        while len(source.asked) < number:  # noqa: ASYNC110 - the other side is a thread
            await asyncio.sleep(0.005)


async def test_who_asks_while_an_answer_is_under_way_shares_the_next() -> None:
    source = Source()
    together = Together(source.ask)
    first = asyncio.create_task(together.get("a"))
    await under_way(source, 1)
    later = [asyncio.create_task(together.get(key)) for key in ("a", "b", "a")]
    await asyncio.sleep(0.05)
    assert source.asked == [["a"]], "one at a time"
    source.go.release(2)
    assert await first == 1
    assert await asyncio.gather(*later) == [2, 2, 2]
    assert source.asked == [["a"], ["a", "b"]]


async def test_those_who_ask_at_once_ask_once() -> None:
    source = Source()
    source.go.release(1)
    together = Together(source.ask)
    assert await asyncio.gather(*(together.get("a") for _ in range(50))) == [1] * 50


async def test_a_failure_is_everybodys_who_shares_it_and_nobody_elses() -> None:
    source = Source()
    together = Together(source.ask)
    source.wrong = True
    source.go.release(1)
    failed = await asyncio.gather(*(together.get("a") for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in failed] == [ConnectionError] * 3
    source.wrong = False
    source.go.release(1)
    assert await together.get("a") == 2


async def test_one_that_gives_up_leaves_the_answer_to_the_others() -> None:
    source = Source()
    together = Together(source.ask)
    asks = [asyncio.create_task(together.get("a")) for _ in range(3)]
    await under_way(source, 1)
    asks[0].cancel()
    source.go.release(1)
    assert await asyncio.gather(*asks[1:]) == [1, 1]
    assert asks[0].cancelled()


@pytest.fixture
def environment(redis_settings: str, monkeypatch: pytest.MonkeyPatch) -> Environment:
    assert redis_settings
    monkeypatch.setenv("BREAKER_FAILURES", "3")
    monkeypatch.setenv("BREAKER_OPEN_SECONDS", "2")
    settings.cache_clear()
    return Environment()


def scripts_run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    run: list[str] = []
    real = breakers.script

    def noting(name: str) -> Any:
        run.append(name)
        return real(name)

    monkeypatch.setattr(breakers, "script", noting)
    return run


async def test_a_batch_asks_its_breaker_and_tells_it_in_few_trips(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scripts_run(monkeypatch)
    permits = await asyncio.gather(*(environment.before_call("m", "ada") for _ in range(60)))
    assert all(permit.allowed and not permit.probe for permit in permits)
    for permit in permits:
        environment.report_success(permit, "m", 0, 10)
    await environment.reported()
    assert run.count("breaker_before") == 1
    assert run.count("breaker_record") == 1


async def test_a_success_ends_a_row_of_failures_whoever_reports_it(environment: Environment) -> None:
    permits = [await environment.before_call("m", "ada") for _ in range(4)]
    for permit in permits[:2]:
        environment.breaker.record(permit, Sign.FAILURE)
    assert (await environment.before_call("m", "ada")).failures == 2
    for permit in permits[2:]:
        environment.report_success(permit, "m", 0, 10)
    await environment.reported()
    assert (await environment.before_call("m", "ada")).failures == 0


async def test_a_report_that_spoke_for_a_later_success_leaves_the_next_one_nothing(
    environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    """The second call succeeds after its predecessor's report was asked for, and before that looked."""
    permit = await environment.before_call("m", "ada")
    busy = threading.Event()
    with ThreadPoolExecutor(1) as one_thread:
        asyncio.get_running_loop().set_default_executor(one_thread)
        one_thread.submit(busy.wait, 60)
        environment.report_success(permit, "m", 0, 10)
        for _ in range(5):
            await asyncio.sleep(0)
        environment.report_success(permit, "m", 0, 10)
        busy.set()
        await environment.reported()
    assert "report failed" not in caplog.text
    assert sum(minute.calls for minute in environment.budget.windows(3)) == 2


async def test_of_those_who_ask_at_once_one_may_probe(environment: Environment) -> None:
    for _ in range(3):
        environment.breaker.record(await environment.before_call("m", "ada"), Sign.FAILURE)
    assert not (await environment.before_call("m", "ada")).allowed
    await asyncio.sleep(2.1)
    permits = await asyncio.gather(*(environment.before_call("m", "ada") for _ in range(20)))
    assert sum(permit.probe for permit in permits) == sum(permit.allowed for permit in permits) == 1
    environment.report_success(next(permit for permit in permits if permit.probe), "m", 0, 10)
    await environment.reported()
    assert (await environment.before_call("m", "ada")).allowed


async def test_two_models_are_probed_once_each(environment: Environment) -> None:
    """An outage of their provider opens both, and both turn half-open together."""
    for model in ("a", "b"):
        for _ in range(3):
            environment.breaker.record(await environment.before_call(model, "ada"), Sign.FAILURE)
    await asyncio.sleep(2.1)
    permits = await asyncio.gather(*(environment.before_call("ab"[n % 2], "ada") for n in range(20)))
    assert sum(permit.probe for permit in permits) == sum(permit.allowed for permit in permits) == 2


async def test_a_late_success_of_before_the_last_change_says_nothing(environment: Environment) -> None:
    old = await environment.before_call("m", "ada")
    for _ in range(3):
        environment.breaker.record(await environment.before_call("m", "ada"), Sign.FAILURE)
    await asyncio.sleep(2.1)
    environment.report_success(await environment.before_call("m", "ada"), "m", 0, 10)  # the probe closes it
    await environment.reported()
    environment.report_success(await environment.before_call("m", "ada"), "m", 0, 10)
    await environment.reported()
    for _ in range(2):
        environment.breaker.record(await environment.before_call("m", "ada"), Sign.FAILURE)
    environment.report_success(old, "m", 0, 10)
    await environment.reported()
    assert (await environment.before_call("m", "ada")).failures == 2


@pytest.mark.parametrize("kind", ["valkey_url", "valkey_cluster_url"])
def test_watchers_of_many_tasks_are_found_in_one_trip(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", request.getfixturevalue(kind))
    settings.cache_clear()
    valkey.reset()
    valkey.client().flushall()
    watchers.add("one", "connection", 7)
    watchers.reading("two", 60)
    assert watchers.look_at(["one", "two", "three"]) == {
        "one": ({"connection": 7}, False, ()),
        "two": ({}, True, ()),
        "three": ({}, False, ()),
    }
    assert watchers.look_at(["one"]) == {"one": watchers.look("one")}
    valkey.client().close()
    valkey.reset()


@pytest.mark.parametrize("cluster", [False, True])
def test_a_trip_to_a_server_that_is_gone_fails_as_every_command_does(
    cluster: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit.valkey_fixture import start_server, stop_server, url_of

    server = start_server(cluster=cluster)
    monkeypatch.setenv("REDIS_URL", url_of(server, cluster=cluster))
    settings.cache_clear()
    valkey.reset()
    request.addfinalizer(valkey.reset)
    assert len(watchers.look_at(["one", "two"])) == 2
    stop_server(server)
    with pytest.raises(watchers.RedisError):
        watchers.look_at(["one", "two"])
    with pytest.raises(valkey.Away):  # it is left alone for a while, whoever asks
        watchers.look_at(["one", "two"])
