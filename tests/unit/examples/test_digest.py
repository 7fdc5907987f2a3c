"""The custom agent: pages read and summed up beside each other, once each, whatever happens."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from examples.agents import digest
from functions.worker.tools.page import PageError
from shared.tasks import checkpoints, events
from tests.unit.examples.conftest import crash_and_take_over, die_after, result_of
from tests.unit.worker.conftest import World

PAGES = {"https://a.example/one": "The first page.", "https://b.example/two": "The second page."}
MESSAGE = "[[sim key=d words=6]] compare https://a.example/one and https://b.example/two and https://c.example/none"


@pytest.fixture
def read(install: Callable[[ModuleType], None], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Install the agent on a web of two pages; returns what it read."""
    install(digest)
    urls: list[str] = []

    async def fetch(_: Any, url: str) -> str:
        urls.append(url)
        if url not in PAGES:
            raise PageError("there is no such page")
        return f'[[sim key=d say="about {url[-3:]}"]] {PAGES[url]}'

    monkeypatch.setattr(digest, "fetch_page", fetch)
    return urls


def test_it_reads_sums_up_and_answers(world: World, read: list[str]) -> None:
    task = world.submit(MESSAGE, agent="example")
    world.work()
    found = result_of(task)
    assert len(found["response"].split()) == 6
    assert found["data"]["pages"] == [*PAGES, "https://c.example/none"]
    assert sorted(read) == sorted(found["data"]["pages"])
    names = {name for name, _ in checkpoints.load(task.task_id)}
    assert names == {"read.1", "read.2", "read.3", "summary.1", "summary.2", "summary.3", "model"}
    progress = [event.data for event in events.read(task.task_id, 0).events if event.type == "progress"]
    assert progress == [{"done": 0, "of": 3}, {"done": 3, "of": 3}]


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_a_crash_repeats_no_finished_step(
    world: World, read: list[str], monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    die_after(monkeypatch, steps)
    task = world.submit(MESSAGE, agent="example")
    crash_and_take_over(world)
    assert len(result_of(task)["response"].split()) == 6
    assert len(read) == len(set(read)) == 3


def test_a_message_without_a_page_costs_nothing(world: World, read: list[str]) -> None:
    task = world.submit("hello", agent="example")
    world.work()
    assert "https://" in result_of(task)["response"]
    assert read == []


@pytest.mark.usefixtures("copied")
def test_it_runs_from_a_copy_among_the_agents(world: World) -> None:
    task = world.submit("hello", agent="digest")
    world.work()
    assert "https://" in result_of(task)["response"]
