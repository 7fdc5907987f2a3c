"""The processes of the test world: a Valkey server and the model simulator, each on a free port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.paths import IMPORTED_FROM
from localstack import llm
from localstack.parts import valkey_binary
from shared import valkey as client
from shared.settings import settings
from sluice.testing import bound

START_SECONDS = 60.0
PATIENCE_SECONDS = 30.0
"""How long a test waits for Valkey. A machine that is busy, or stands still, must not look like a dead server."""


@contextmanager
def simulator() -> Iterator[str]:
    """Yield the address of a model simulator that answers at once."""
    command = [sys.executable, "-m", llm.__name__, "--port", "0", "--latency", "0"]
    environment = {**os.environ, "PYTHONPATH": str(IMPORTED_FROM)}
    process = bound.begin(command, env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http://" not in line:
            raise RuntimeError("the model simulator did not start")
        yield line.split()[-1]
    finally:
        bound.end(process)


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """Yield the address of a Valkey server that keeps nothing on disk."""
    port = free_port()
    process = start_valkey(folder, port)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        bound.end(process)


def free_port() -> int:
    """Return a port of the loopback interface that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def start_valkey(folder: Path, port: int, *options: str) -> subprocess.Popen[str]:
    """Start a server with a folder of its own, and return when it answers; `bound.end` ends it."""
    command = [str(valkey_binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    quiet = ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
    process = bound.begin([*command, *quiet, *options], stdout=subprocess.DEVNULL)
    give_up = time.monotonic() + START_SECONDS
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > give_up:
            bound.end(process)
            raise RuntimeError("Valkey did not start")
        time.sleep(0.02)
    return process


def be_patient(patch: pytest.MonkeyPatch) -> None:
    """Have this process' clients of Valkey that are made from now on wait for a slow machine."""
    patch.setattr(client, "CONNECT_S", PATIENCE_SECONDS)
    patch.setattr(client, "ANSWER_S", PATIENCE_SECONDS)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def emptied(url: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Sluice's own client reach the server at an address, with nothing in it."""
    patch.setenv("REDIS_URL", url)
    be_patient(patch)
    settings.cache_clear()
    client.reset()
    client.client().flushall()
    yield
    client.client().close()
    client.reset()
    settings.cache_clear()
