"""An ASGI application for the runtime loop's tests, and how it is started: one path for each way an answer can go."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from functions.api.streaming.loop import _run
from functions.api.streaming.runtime_api import RuntimeApi


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer by the path."""
    path = scope["path"]
    if path == "/early":
        raise ValueError("before the answer began")
    if path == "/die":
        os._exit(3)
    headers = [(b"content-type", b"text/plain"), (b"x-twice", b"1"), (b"x-twice", b"2")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    if path == "/echo":
        request = await receive()
        told = f"{scope['method']} {scope['query_string'].decode()} {dict(scope['headers'])[b'x-sent'].decode()} "
        await send({"type": "http.response.body", "body": told.encode() + request["body"]})
    elif path == "/chunks":
        for n in range(3):
            await send({"type": "http.response.body", "body": b"%d\n" % n, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            print("wrote a chunk", flush=True)
            while not os.path.exists(os.environ["GO_ON"]):  # noqa: ASYNC110, ASYNC240 - the test's own process makes it
                await asyncio.sleep(0.02)
        await send({"type": "http.response.body", "body": b"end\n"})
    elif path == "/broken":
        await send({"type": "http.response.body", "body": b"so far\n", "more_body": True})
        raise ValueError("in the middle")
    elif path == "/late":
        await send({"type": "http.response.body", "body": b"waiting\n", "more_body": True})
        await receive()
        message = await receive()
        print("told", message["type"], flush=True)
    elif path == "/abandoned":
        for _ in range(30):
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
            await asyncio.sleep(0.02)
        await send({"type": "http.response.body", "body": b""})
        print("went on to the end", flush=True)
    else:
        await send({"type": "http.response.body", "body": b"y" * 3_000_000})


if __name__ == "__main__":
    concurrency = int(os.environ["AWS_LAMBDA_MAX_CONCURRENCY"])
    asyncio.run(_run(app, RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"]), concurrency))
