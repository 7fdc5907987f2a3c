"""A worker in this process between real parts: moto's AWS, a Valkey server, the model simulator as a process."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from functions.worker import agents
from sluice import AgentResult
from sluice.testing import bound
from sluice.testing.bench import Bench as World
from sluice.testing.bench import bench
from tests.unit.llm.conftest import launch

__all__ = ["Install", "OneAgent", "World", "install", "simulator", "world"]


@pytest.fixture(scope="session")
def simulator() -> Iterator[str]:
    process, url = launch("--latency", "0")
    yield url
    bound.end(process)


@pytest.fixture
def world(
    simulator: str, fake_aws: dict[str, str], redis_settings: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    assert redis_settings
    with bench(simulator, fake_aws, monkeypatch) as made:
        yield made


class OneAgent:
    """Stands where an agent's module stands."""

    def __init__(self, run: Callable[[Any], Awaitable[AgentResult]]) -> None:
        self.run = run


Install = Callable[[Callable[[Any], Awaitable[AgentResult]]], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    return lambda run: monkeypatch.setattr(agents, "load", lambda name: OneAgent(run))
