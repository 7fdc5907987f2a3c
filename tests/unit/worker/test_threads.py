"""The environment's threads: few while work is short, as many as are wanted when it blocks."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from functions.worker.environment import loop, threads
from functions.worker.environment.threads import FEW, Threads

if TYPE_CHECKING:
    from collections.abc import Coroutine

WAIT_SECONDS = 20


def run[T](work: Coroutine[None, None, T]) -> T:
    with asyncio.Runner(loop_factory=loop.new) as runner:
        return runner.run(work)


def test_runs_that_begin_together_share_a_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PATIENCE_SECONDS", WAIT_SECONDS)

    async def go() -> None:
        executor = Threads(asyncio.get_running_loop(), 104)
        asyncio.get_running_loop().set_default_executor(executor)
        for _ in range(3):
            names = await asyncio.gather(*(asyncio.to_thread(threading.current_thread) for _ in range(300)))
            assert len(set(names)) <= FEW
        assert len(executor._threads) <= FEW

    run(go())


def test_tools_that_block_have_a_thread_each_and_keep_nobody_waiting() -> None:
    async def go() -> None:
        asyncio.get_running_loop().set_default_executor(Threads(asyncio.get_running_loop(), 104))
        together, over = threading.Barrier(50), threading.Event()
        blocked = [asyncio.to_thread(together.wait, WAIT_SECONDS) for _ in range(50)]
        assert len(set(await asyncio.gather(*blocked))) == 50  # raises unless all were there at once
        still = [asyncio.create_task(asyncio.to_thread(over.wait, WAIT_SECONDS)) for _ in range(80)]
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), WAIT_SECONDS / 2) == 7
        over.set()
        assert all(await asyncio.gather(*still))

    run(go())


def test_there_are_never_more_than_the_environment_may_have() -> None:
    async def go() -> None:
        most = FEW + 4
        executor = Threads(asyncio.get_running_loop(), most)
        asyncio.get_running_loop().set_default_executor(executor)
        together = threading.Barrier(most)
        # Three times as many as there may be: they come through in groups of that size.
        await asyncio.gather(*(asyncio.to_thread(together.wait, WAIT_SECONDS) for _ in range(3 * most)))
        assert len(executor._threads) == most

    run(go())


@pytest.mark.parametrize("most", [1, FEW, FEW + 1])
def test_work_that_was_given_up_holds_no_thread_back(most: int) -> None:
    async def go() -> None:
        asyncio.get_running_loop().set_default_executor(Threads(asyncio.get_running_loop(), most))
        over = threading.Event()
        given_up = [asyncio.create_task(asyncio.to_thread(over.wait, WAIT_SECONDS)) for _ in range(3 * FEW)]
        await asyncio.sleep(0)
        for one in given_up:
            one.cancel()
        over.set()
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), WAIT_SECONDS) == 7

    run(go())
