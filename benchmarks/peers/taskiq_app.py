"""taskiq: coroutines on one event loop, over a Redis stream, which acknowledges."""

from __future__ import annotations

import asyncio

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers import work

broker = RedisStreamBroker(work.BROKER).with_result_backend(RedisAsyncResultBackend(work.BROKER, result_ex_time=600))


@broker.task(task_name="reference.run")
async def run(message: str) -> str:
    """One run."""
    return await work.complete_async(message)


def submit(messages: list[str]) -> None:
    """Queue runs."""

    async def main() -> None:
        await broker.startup()
        for message in messages:
            await run.kiq(message)
        await broker.shutdown()

    asyncio.run(main())
