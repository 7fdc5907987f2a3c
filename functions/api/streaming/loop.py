"""The runtime loop of the streaming address: asks for events, serves them, on one event loop for all its life.

Python's managed runtime cannot stream (awslambdaric 4.2.2), so this takes its place. An environment of Lambda serves
one request at a time; ``AWS_LAMBDA_MAX_CONCURRENCY``, which Managed Instances set, lets it serve several.
"""

import asyncio
import os
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

from starlette.types import ASGIApp

from functions.api.streaming.runtime_api import Invocation, Refused, RuntimeApi

THREADS = 32
"""For what reads DynamoDB and Valkey on behalf of streams."""
ROUTE_THREADS = 40
"""For routes, besides one for each request that may be held (anyio's own default)."""


def main() -> None:
    """Serve until the runtime API is gone."""
    concurrency = int(os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY") or "1")
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        from functions.api.app import app
    except Exception as error:
        traceback.print_exc()
        asyncio.run(api.fail("/init", f"Sluice.{type(error).__name__}", str(error)))
        sys.exit(1)
    asyncio.run(_run(app, api, concurrency))


async def _run(app: ASGIApp, api: RuntimeApi, concurrency: int) -> None:
    from anyio.to_thread import current_default_thread_limiter

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="streams"))
    current_default_thread_limiter().total_tokens = ROUTE_THREADS + concurrency
    try:
        await asyncio.gather(*(_poll(app, api, alone=concurrency == 1) for _ in range(concurrency)))
    except (OSError, EOFError):
        return  # the runtime API is gone, and with it whoever started this


async def _poll(app: ASGIApp, api: RuntimeApi, *, alone: bool) -> None:
    """Serve one request after the other."""
    from functions.api.streaming.exchange import serve
    from shared.logs import get_logger

    log = get_logger("streaming")
    while True:
        invocation: Invocation = await api.next()
        if alone:
            os.environ["_X_AMZN_TRACE_ID"] = invocation.trace
        try:
            await serve(app, api, invocation)
        except (OSError, EOFError, Refused) as error:
            # Too late, too large, or given up by Lambda: there is nobody to tell. The next event shows what lives.
            log.warning("answer not taken", extra={"request_id": invocation.request_id, "error": str(error)})
