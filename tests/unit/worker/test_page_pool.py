"""Connections to pages, shared among the runs of an environment."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx2
import pytest

from functions.worker.tools.pool import RUN, Pool, SharedTransport


class Silent(httpx2.AsyncBaseTransport):
    """A page that answers `quick` at once and anything else never."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked[RUN.get()] += 1
        if request.url.path != "/quick":
            await asyncio.Event().wait()
        return httpx2.Response(200, stream=httpx2.ByteStream(b"hello"))


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_run_that_waits_for_silent_pages_keeps_nobody_waiting() -> None:
    async def main() -> None:
        silent = Silent()
        async with httpx2.AsyncClient(transport=SharedTransport(silent, 50)) as client:

            async def run(name: str, path: str, times: int) -> list[asyncio.Task[httpx2.Response]]:
                RUN.set(name)
                return [asyncio.create_task(client.get(f"http://example.org/{path}")) for _ in range(times)]

            greedy = [await asyncio.create_task(run(f"run{n}", "silent", 32)) for n in range(4)]
            await settled()
            assert silent.asked.total() <= 100
            assert silent.asked["run0"] == 32, "alone it had all it wanted"
            quick = await asyncio.create_task(run("neighbour", "quick", 8))
            answers = await asyncio.gather(*quick)  # none of the silent ones has to end for it
            assert [answer.text for answer in answers] == ["hello"] * 8
            for task in [task for tasks in greedy for task in tasks]:
                task.cancel()
            await asyncio.gather(*(task for tasks in greedy for task in tasks), return_exceptions=True)
            again = await asyncio.gather(*await asyncio.create_task(run("run0", "quick", 60)))
            assert len(again) == 60, "every place came back"

    asyncio.run(main())


@pytest.mark.parametrize("capacity", [2, 3])
def test_a_place_that_comes_free_is_for_who_has_fewest(capacity: int) -> None:
    async def main() -> None:
        pool = Pool(capacity)
        order: list[str] = []

        async def hold(run: str) -> None:
            async with pool.place(run):
                order.append(run)
                await asyncio.sleep(0)

        for _ in range(capacity):
            await pool.take("a")
        waiting = [asyncio.create_task(hold(run)) for run in ("a", "a", "b", "c", "d", "e")]
        await settled()
        for _ in range(capacity):
            pool.leave("a")
        await asyncio.gather(*waiting)
        assert order.index("b") < max(n for n, run in enumerate(order) if run == "a")
        assert not pool._uses
        assert not pool._waiting

    asyncio.run(main())
