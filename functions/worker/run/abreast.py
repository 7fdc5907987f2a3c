"""Many small works of one run at the same time, none of which outlives it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable


async def abreast(work: Callable[[int], Awaitable[None]], numbers: Iterable[int], *, most: int) -> None:
    """Do something for each number, ``most`` at the same time.

    After a failure nothing more begins. It is raised once what was under way has ended: `asyncio.gather` leaves that
    behind, and it would go on whenever the environment has its next run.
    """
    limit = asyncio.Semaphore(most)
    failed: list[Exception] = []

    async def one(n: int) -> None:
        async with limit:
            if failed:
                return
            try:
                await work(n)
            except Exception as error:  # raised below
                failed.append(error)

    await asyncio.gather(*map(one, numbers))
    if failed:
        raise failed[0]
