"""Runs that end at about the same moment are seen to in one thread; each gets its own answer."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from functions.worker.environment import gathered
from functions.worker.environment.gathered import AT_ONCE, MANY_RUNS, Gathered

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Work:
    """Answers with the number that it was given, or with an error for a negative one."""

    def __init__(self) -> None:
        self.done: list[list[int]] = []
        self.stands = threading.Event()
        self.stands.set()
        self.broken = False

    def do(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.done.append(list(numbers))
        assert self.stands.wait(60)
        if self.broken:
            raise ConnectionError("away")
        return [number if number >= 0 else ValueError(number) for number in numbers]


async def test_a_run_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "GATHER_SECONDS", 3600.0)
    work = Work()
    assert await Gathered(work.do, lambda: MANY_RUNS - 1).get(1) == 1


async def test_many_are_done_together_and_each_gets_its_own_answer() -> None:
    work = Work()
    together = Gathered(work.do, lambda: MANY_RUNS)
    found = await asyncio.gather(*(together.get(n) for n in (3, -1, 5)), return_exceptions=True)
    assert [found[0], found[2]] == [3, 5]
    assert isinstance(found[1], ValueError)
    assert work.done == [[3, -1, 5]]


async def test_as_many_as_one_trip_holds_wait_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "GATHER_SECONDS", 3600.0)
    work = Work()
    together = Gathered(work.do, lambda: MANY_RUNS)
    assert await asyncio.gather(*(together.get(n) for n in range(2 * AT_ONCE))) == [*range(2 * AT_ONCE)]
    assert sorted(map(len, work.done)) == [AT_ONCE, AT_ONCE]


async def test_who_comes_later_does_not_wait_for_those_under_way() -> None:
    work = Work()
    work.stands.clear()
    together = Gathered(work.do, lambda: 0)
    first = asyncio.create_task(together.get(1))
    async with asyncio.timeout(10):
        while not work.done:  # noqa: ASYNC110 - the other side is a thread
            await asyncio.sleep(0.005)
        second = asyncio.create_task(together.get(2))
        while len(work.done) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    work.stands.set()
    assert await asyncio.gather(first, second) == [1, 2]


async def test_a_failure_of_the_whole_is_everybodys() -> None:
    work = Work()
    work.broken = True
    together = Gathered(work.do, lambda: MANY_RUNS)
    found = await asyncio.gather(*(together.get(n) for n in range(3)), return_exceptions=True)
    assert [type(error) for error in found] == [ConnectionError] * 3


async def test_one_that_gives_up_leaves_the_others_theirs() -> None:
    work = Work()
    together = Gathered(work.do, lambda: MANY_RUNS)
    asks = [asyncio.create_task(together.get(n)) for n in range(3)]
    await asyncio.sleep(0)
    asks[0].cancel()
    assert await asyncio.gather(*asks[1:]) == [1, 2]
    assert asks[0].cancelled()
    assert work.done == [[0, 1, 2]], "what was asked for is done all the same"
