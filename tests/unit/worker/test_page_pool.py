"""Connections to pages, shared among the runs of an environment."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx2
import pytest

from functions.worker.tools.pool import RUN, Pool, Run, SharedTransport


class Silent(httpx2.AsyncBaseTransport):
    """A page that answers `quick` at once and anything else never."""

    def __init__(self) -> None:
        self.asked: Counter[Run] = Counter()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked[RUN.get()] += 1
        if request.url.path != "/quick":
            await asyncio.Event().wait()
        return httpx2.Response(200, stream=httpx2.ByteStream(b"hello"))


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


Asks = list[asyncio.Task[httpx2.Response]]


async def ask(client: httpx2.AsyncClient, run: Run, path: str, times: int) -> Asks:
    """Let a run ask for a page so many times at once."""

    async def within() -> Asks:
        RUN.set(run)
        return [asyncio.create_task(client.get(f"http://example.org/{path}")) for _ in range(times)]

    return await asyncio.create_task(within())


async def end(asked: list[Asks]) -> None:
    for task in [task for tasks in asked for task in tasks]:
        task.cancel()
    await asyncio.gather(*(task for tasks in asked for task in tasks), return_exceptions=True)


@pytest.mark.parametrize("owner", ["ann", "ben"], ids=["of the same owner", "of another"])
def test_a_run_that_waits_for_silent_pages_keeps_nobody_waiting(owner: str) -> None:
    async def main() -> None:
        silent = Silent()
        async with httpx2.AsyncClient(transport=SharedTransport(silent, 50)) as client:
            greedy = [await ask(client, Run("ann", f"run{n}"), "silent", 32) for n in range(4)]
            await settled()
            assert silent.asked.total() <= 100
            assert silent.asked[Run("ann", "run0")] == 32, "alone it had all it wanted"
            quick = await ask(client, Run(owner, "neighbour"), "quick", 8)
            answers = await asyncio.gather(*quick)  # none of the silent ones has to end for it
            assert [answer.text for answer in answers] == ["hello"] * 8
            await end(greedy)
            again = await asyncio.gather(*await ask(client, Run("ann", "run0"), "quick", 60))
            assert len(again) == 60, "every place came back"

    asyncio.run(main())


def test_a_whole_environment_of_one_owners_runs_leaves_other_owners_their_share() -> None:
    async def main() -> None:
        silent = Silent()
        async with httpx2.AsyncClient(transport=SharedTransport(silent, 50)) as client:
            greedy = [await ask(client, Run("svc", f"run{n}"), "silent", 32) for n in range(10)]
            await settled()
            assert silent.asked.total() == 100
            quick = await ask(client, Run("other", "run"), "quick", 25)
            assert len(await asyncio.gather(*quick)) == 25
            for n in range(8):  # and nobody makes it grow without end
                greedy.append(await ask(client, Run(f"owner{n}", "run"), "silent", 32))
            await settled()
            assert silent.asked.total() - silent.asked[Run("other", "run")] <= 150
            await end(greedy)

    asyncio.run(main())


@pytest.mark.parametrize("capacity", [2, 3])
def test_a_place_that_comes_free_is_for_who_has_fewest(capacity: int) -> None:
    async def main() -> None:
        pool = Pool(capacity)
        order: list[str] = []

        async def hold(run: str) -> None:
            async with pool.place(Run(run, run)):
                order.append(run)
                await asyncio.sleep(0)

        for _ in range(capacity):
            await pool.take(Run("a", "a"))
        waiting = [asyncio.create_task(hold(run)) for run in ("a", "a", "b", "c", "d", "e")]
        await settled()
        for _ in range(capacity):
            pool.leave(Run("a", "a"))
        await asyncio.gather(*waiting)
        assert order.index("b") < max(n for n, run in enumerate(order) if run == "a")
        assert not pool._uses
        assert not pool._waiting

    asyncio.run(main())
