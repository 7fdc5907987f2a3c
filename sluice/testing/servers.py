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

START_SECONDS = 20.0


@contextmanager
def simulator() -> Iterator[str]:
    """Yield the address of a model simulator that answers at once."""
    command = [sys.executable, "-m", llm.__name__, "--port", "0", "--latency", "0"]
    environment = {**os.environ, "PYTHONPATH": str(IMPORTED_FROM)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http://" not in line:
            raise RuntimeError("the model simulator did not start")
        try:
            yield line.split()[-1]
        finally:
            process.kill()  # it would wait for calls that hang on purpose


@contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """Yield the address of a Valkey server that keeps nothing on disk."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(valkey_binary()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    quiet = ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
    with subprocess.Popen([*command, *quiet], stdout=subprocess.DEVNULL) as process:
        try:
            give_up = time.monotonic() + START_SECONDS
            while not _answers(port):
                if process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError("Valkey did not start")
                time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.kill()


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
    settings.cache_clear()
    client.reset()
    client.client().flushall()
    yield
    client.client().close()
    client.reset()
    settings.cache_clear()
