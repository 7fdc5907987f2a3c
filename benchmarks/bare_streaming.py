"""The floor of every figure about streams: a bare streaming function of one chunk, behind the same kind of front."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx2

from localstack.environ import ROOT
from localstack.processes import answers, minimal_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAUSE_S = 0.2


@contextmanager
def bare_function(folder: Path) -> Iterator[str]:
    """Run the function behind a front of its own; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = {
        "port": port,
        "command": [sys.executable, "-m", "tests.unit.api.streaming_app"],
        "processes": 1,
        "at_once": 4,
        "seconds": 60,
        "variables": minimal_environment(PYTHONPATH=str(ROOT)),
    }
    path = folder / "bare-streaming.json"
    path.write_text(json.dumps(config))
    process = subprocess.Popen([sys.executable, "-m", "localstack.front", str(path)], cwd=ROOT)
    try:
        give_up = time.monotonic() + 20
        while not answers(f"http://127.0.0.1:{port}/_front/health", well=True):
            if time.monotonic() > give_up:
                raise SystemExit("the bare function does not start")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


async def first_bytes(url: str, until: asyncio.Event) -> list[float]:
    """Ask the function now and then; returns the seconds from each request to the first byte of its answer."""
    took: list[float] = []
    async with httpx2.AsyncClient(base_url=url, timeout=30) as http:
        while not until.is_set():
            began = time.monotonic()
            async with http.stream("POST", "/echo", content=b"x", headers={"x-sent": "y"}) as answer:
                async for _ in answer.aiter_bytes():
                    break
            took.append(time.monotonic() - began)
            await asyncio.sleep(PAUSE_S)
    return took
