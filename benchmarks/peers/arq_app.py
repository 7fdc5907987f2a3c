"""arq: coroutines on one event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.peers import work


async def run(_ctx: dict[str, Any], message: str) -> str:
    """One run."""
    return await work.complete_async(message)


class WorkerSettings:
    """Read by the ``arq`` command."""

    functions = [run]  # noqa: RUF012 - arq's own form
    redis_settings = RedisSettings.from_dsn(work.BROKER)
    max_jobs = work.SLOTS
    poll_delay = 0.1
    """Rather than 0.5 s: a second's run would otherwise mostly wait to be found."""


def submit(messages: list[str]) -> None:
    """Queue runs."""

    async def main() -> None:
        pool = await create_pool(RedisSettings.from_dsn(work.BROKER))
        for message in messages:
            await pool.enqueue_job("run", message)
        await pool.aclose()

    asyncio.run(main())
