"""Fixtures: real Valkey servers, started once: a plain one and a cluster of one node."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis import Redis

from shared import valkey
from shared.settings import settings
from sluice.testing import bound, servers


class Server(NamedTuple):
    """A server that runs; it is gone when this process is, however that ends."""

    process: subprocess.Popen[str]
    port: int
    folder: Path
    host: str = "127.0.0.1"

    def client(self, **more: Any) -> Redis:
        """Return a client of this server, which the caller closes."""
        return Redis(host=self.host, port=self.port, **more)


def start_server(*, cluster: bool = False, port: int | None = None) -> Server:
    """Start a Valkey that keeps nothing on disk, on a free port unless one is given. The caller stops it."""
    # The default bus port, port + 10,000, may not exist.
    options = ["--cluster-enabled", "yes", "--cluster-port", str(servers.free_port())] if cluster else []
    folder, port = Path(tempfile.mkdtemp(prefix="sluice-valkey-")), port or servers.free_port()
    server = Server(servers.start_valkey(folder, port, *options), port, folder)
    if cluster:
        node = server.client()
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while node.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            time.sleep(0.02)
        node.close()
    return server


def stop_server(server: Server) -> None:
    """End a server."""
    bound.end(server.process)
    shutil.rmtree(server.folder)


def url_of(server: Server, *, cluster: bool = False) -> str:
    """Return the server's address as ``REDIS_URL`` wants it."""
    return f"redis://{server.host}:{server.port}" + ("?cluster=true" if cluster else "")


@cache
def _plain() -> Server:
    return start_server()


@cache
def _cluster() -> Server:
    return start_server(cluster=True)


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """Address of a plain server."""
    yield url_of(_plain())
    while _kept:
        _kept.popitem()[1].close()
    stop_server(_plain())
    _plain.cache_clear()


@pytest.fixture(scope="session")
def valkey_cluster_url() -> Iterator[str]:
    """Address of a server in cluster mode."""
    yield url_of(_cluster(), cluster=True)
    stop_server(_cluster())
    _cluster.cache_clear()


IMPATIENT = (valkey.CONNECT_S, valkey.ANSWER_S)
"""What a function's client has, for tests of servers that are silent: nobody else's is."""


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Let all clients wait for a server that is slow to answer: other tests have the processors, too."""
    with pytest.MonkeyPatch.context() as patch:
        servers.be_patient(patch)
        yield


@pytest.fixture(scope="session")
def valkey_client(valkey_url: str) -> Iterator[Any]:
    """A client of the plain server, which tests that ask any server share."""
    with closing(valkey.connect(valkey_url)) as client:
        yield client


@pytest.fixture(scope="session")
def valkey_cluster_client(valkey_cluster_url: str) -> Iterator[Any]:
    """A client of the server in cluster mode: to learn a cluster's places takes longer than most tests."""
    with closing(valkey.connect(valkey_cluster_url)) as client:
        yield client


@pytest.fixture(params=["plain", "cluster"])
def any_valkey(request: pytest.FixtureRequest) -> Any:
    """A client of an empty server; the test runs once on each kind."""
    name = "valkey_client" if request.param == "plain" else "valkey_cluster_client"
    client = request.getfixturevalue(name)
    client.flushall()
    return client


_kept: dict[str, Any] = {}
"""Clients of ``shared.valkey`` that earlier tests had, by address: to connect takes half of what it takes to begin."""


@contextmanager
def lent(url: str) -> Iterator[Any]:
    """Give ``shared.valkey`` the client of an earlier test, and take it back for a later one if nothing uses it."""
    valkey.reset()
    found = _kept.pop(url, None)
    if found is not None:
        valkey._client, valkey._made_at = found, time.time()
    client = valkey.client()
    yield client
    if valkey._failures or getattr(client.connection_pool, "_in_use_connections", True):
        client.close()  # who still waits for an answer would hold its connection to the end of all tests
    else:
        _kept[url] = client
    if valkey._client is not client and valkey._client is not None:
        valkey._client.close()
    valkey.reset()


@pytest.fixture
def redis_settings(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let ``shared.valkey.client()`` reach an empty plain server; yields its address."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    settings.cache_clear()
    with lent(valkey_url) as client:
        client.flushall()
        yield valkey_url
    settings.cache_clear()
