"""The simulator as a real process on a free port, and real clients for it."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx2
import openai
import pytest

from sluice.testing import bound
from tests.unit.simulator_fixture import launch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have one copy run these tests: each copy would begin a simulator for them, and all of them take seconds."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.together("the simulator"))


class Simulator:
    """A running simulator with its admin calls."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.admin = httpx2.Client(base_url=f"{url}/_sim", timeout=30)

    def config(self, **settings: object) -> dict[str, Any]:
        answer = self.admin.post("/config", json=settings)
        assert answer.status_code == 200, answer.text
        return cast(dict[str, Any], answer.json())

    def stats(self, **query: str | int) -> dict[str, Any]:
        return cast(dict[str, Any], self.admin.get("/stats", params=query).json())

    def calls(self, **query: str | int) -> list[dict[str, Any]]:
        return cast(list[dict[str, Any]], self.admin.get("/calls", params=query).json()["calls"])

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Polls the statistics until they meet a condition; a test that never does is ended from outside."""
        while True:
            stats = self.stats()
            if condition(stats):
                return stats

    async def until_in_flight(self, number: int) -> None:
        """The same within an event loop, for a number of calls in flight."""
        # The simulator tells nobody when a call begins, so it has to be asked.
        while self.stats()["in_flight"] != number:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def running() -> Iterator[Simulator]:
    process, url = launch("--latency", "0")
    simulator = Simulator(url)
    yield simulator
    simulator.admin.close()
    bound.end(process)


@pytest.fixture
def sim(running: Simulator) -> Simulator:
    running.until(lambda stats: stats["in_flight"] == 0)
    running.admin.post("/reset")
    return running


@pytest.fixture
def client(sim: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{sim.url}/v1", api_key="test", max_retries=0) as made:
        yield made


@pytest.fixture
def raw(sim: Simulator) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=sim.url, headers={"authorization": "Bearer test"}, timeout=30) as made:
        yield made


@pytest.fixture
def ask(client: openai.OpenAI) -> Callable[..., Any]:
    """Sends one user message."""

    def send(message: str, model: str = "gpt-4o-mini", **more: object) -> Any:
        messages = [{"role": "user", "content": message}]
        return client.chat.completions.create(model=model, messages=messages, **more)  # type: ignore[call-overload]

    return send
