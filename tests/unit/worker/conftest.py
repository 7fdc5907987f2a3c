"""A worker in this process between real parts: moto's AWS, a Valkey server, the model simulator as a process."""

import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from functions.worker import agents
from sluice import AgentResult
from sluice.testing.bench import Bench as World
from sluice.testing.bench import bench

__all__ = [
    "LASTING", "Install", "OneAgent", "World", "install", "meanwhile", "until", "world", "written",
]  # fmt: skip

LASTING = "latency=60 ttft=0.05 words=1200"
"""Of a directive: the call writes twenty words a second, until it is cut off or `World.hurry` ends it."""


@pytest.fixture
def world(
    simulator: str, fake_aws: dict[str, str], redis_settings: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    assert redis_settings
    with bench(simulator, fake_aws, monkeypatch) as made:
        yield made


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to be so."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it does not come to be so"
        time.sleep(0.02)


def written(world: World, key: str) -> int:
    """Return how many tokens the last call of a directive's key has written."""
    calls = world.sim.get("/calls", params={"key": key}).json()["calls"]
    return int(calls[-1]["consumed"][1]) if calls else 0


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Do something beside what the context does; its failure is the context's."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(act)
        yield
        done.result()


class OneAgent:
    """Stands where an agent's module stands."""

    def __init__(self, run: Callable[[Any], Awaitable[AgentResult]]) -> None:
        self.run = run


Install = Callable[[Callable[[Any], Awaitable[AgentResult]]], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    return lambda run: monkeypatch.setattr(agents, "load", lambda name: OneAgent(run))
