"""Calls from the event loop into `shared`, which is synchronous and never sleeps: the waiting is done here."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from shared.clock import now
from shared.errors import Contended, DependencyDown

PATIENCE_SECONDS = 60.0
"""How long a write that records paid work is tried while DynamoDB is away. A lapsed lease does not end it: as long as
nobody took the task over, the write still succeeds."""


async def persist[**P, T](fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``fn`` in a thread, again and again while its table is contended or away.

    Raises:
        Contended, DependencyDown: still so after ``PATIENCE_SECONDS``.
    """
    return await patiently(lambda: asyncio.to_thread(fn, *args, **kwargs))


async def patiently[T](write: Callable[[], Awaitable[T]]) -> T:
    """Do the same for what finds its thread by itself."""
    give_up = now() + PATIENCE_SECONDS
    pause = 0.02
    while True:
        try:
            return await write()
        except (Contended, DependencyDown) as error:
            if now() >= give_up:
                raise
            top = 0.25 if isinstance(error, Contended) else 3.0
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(pause * 2, top)


async def whatever_comes(recording: asyncio.Future[None]) -> None:
    """Wait until what was paid for is recorded, even while the run is being cancelled."""
    try:
        await asyncio.shield(recording)
    except asyncio.CancelledError:
        await asyncio.wait([recording])
        if not recording.cancelled():
            recording.exception()  # what it says is kept: no step begins after it
        raise
