"""Lambda entry point of the worker: SQS batch in, partial batch response out.

One event loop per execution environment, for its whole life: pooled connections are bound to it.
"""

import asyncio
import gc
from functools import cache
from typing import Any

from functions.worker.environment import loop
from functions.worker.environment.environment import environment
from functions.worker.lane.batch import run_batch
from shared.clock import now

_runner = asyncio.Runner(loop_factory=loop.new)
if not gc.isenabled():  # as it is while a function starts
    gc.freeze()  # what is imported stays
    gc.enable()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run one batch of task messages."""
    return _runner.run(_invoke(event, now() + context.get_remaining_time_in_millis() / 1000))


async def _invoke(event: dict[str, Any], deadline: float) -> dict[str, Any]:
    done = await run_batch(event, deadline, environment())
    _keep()
    return done


@cache
def _keep() -> None:
    """Have collections pass over all that the first batch loaded, and that stays: 60 ms each time."""
    gc.freeze()
