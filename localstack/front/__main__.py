"""Starts the front: reads its configuration, starts the environments, serves until told to stop."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import uvicorn

from localstack.front.environment import Environment
from localstack.front.url import FunctionUrl


async def serve(config: dict[str, Any]) -> None:
    """Serve a function.

    ``config``: port, command (a list), variables (of the environments), processes, at_once (requests of one process at
    the same time), seconds (the function's timeout).
    """
    waiting: asyncio.Queue[Any] = asyncio.Queue()
    variables = config["variables"] | {"AWS_LAMBDA_MAX_CONCURRENCY": str(config["at_once"])}
    pool = [Environment(config["command"], variables, waiting) for _ in range(config["processes"])]
    url = FunctionUrl(waiting, config["processes"] * config["at_once"], config["seconds"])
    url.ready = lambda: all(environment.ready.is_set() for environment in pool)
    server = uvicorn.Server(
        uvicorn.Config(
            url,
            host="127.0.0.1",
            port=config["port"],
            log_level="critical",
            lifespan="off",
            access_log=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=60,
        )
    )
    running = [asyncio.create_task(environment.run()) for environment in pool]
    try:
        await server.serve()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
