"""The Valkey client: bounded, quick to give up, and safe after a freeze or a restart."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from shared import valkey
from shared.settings import settings
from shared.valkey import Away, RedisError, Script
from tests.unit.valkey_fixture import IMPATIENT, start_server, stop_server, url_of


@pytest.fixture
def answer(tmp_path: Path) -> Script:
    path = tmp_path / "answer.lua"
    path.write_text("return redis.call('INCR', KEYS[1])")
    return Script(path)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that accepts and never answers; lists the connections that it got."""
    monkeypatch.setattr(valkey, "CONNECT_S", IMPATIENT[0])
    monkeypatch.setattr(valkey, "ANSWER_S", IMPATIENT[1])
    listener = socket.create_server(("127.0.0.1", 0))
    got: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                got.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"redis://127.0.0.1:{listener.getsockname()[1]}", got
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in got:
        connection.close()


def use(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    settings.cache_clear()
    valkey.reset()


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    settings.cache_clear()
    valkey.reset()


@pytest.mark.parametrize("kind", ["", "?cluster=true"])
def test_a_silent_server_is_tried_twice_and_then_left_alone(
    kind: str, silent: tuple[str, list[socket.socket]], answer: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got = silent
    use(url + kind, monkeypatch)
    with pytest.raises(RedisError):
        answer(["{t}"], [])
    tried = len(got)
    assert 1 <= tried <= 2
    for _ in range(50):
        with pytest.raises(Away):
            answer(["{t}"], [])
    assert len(got) == tried


@pytest.mark.parametrize("kind", ["", "?cluster=true"])
def test_plain_commands_fail_as_scripts_do_and_are_noted_too(
    kind: str, silent: tuple[str, list[socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got = silent
    use(url + kind, monkeypatch)
    with pytest.raises(RedisError):
        valkey.client().hgetall("{t}")
    tried = len(got)
    for _ in range(20):
        with pytest.raises(Away):
            valkey.client().hgetall("{t}")
    assert len(got) == tried


def test_a_cluster_that_went_away_is_a_redis_error(monkeypatch: pytest.MonkeyPatch, answer: Script) -> None:
    server = start_server(cluster=True)
    use(url_of(server, cluster=True), monkeypatch)
    assert valkey.client().hset("{h}", "a", "b") == 1
    stop_server(server)
    for ask in (
        lambda: valkey.client().hgetall("{h}"),
        lambda: valkey.client().get("{x}"),
        lambda: answer(["{t}"], []),
    ):
        monkeypatch.setattr(valkey, "_rest_until", 0.0)
        with pytest.raises(RedisError):
            ask()
        assert valkey._rest_until > 0


def test_a_script_that_the_server_does_not_know_is_no_failure(redis_settings: str, answer: Script) -> None:
    valkey.client().script_flush()
    assert answer(["{t}"], []) >= 1
    assert valkey._failures == 0


def test_no_url_is_away(answer: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    use("", monkeypatch)
    with pytest.raises(Away, match="REDIS_URL"):
        answer(["{t}"], [])


def test_a_refused_script_does_not_rest_the_server(redis_settings: str, answer: Script) -> None:
    valkey.client().hset("{h}", "a", "b")
    with pytest.raises(RedisError, match="WRONGTYPE"):
        answer(["{h}"], [])
    assert answer(["{t}"], []) == 1


def test_sockets_that_the_server_closed_are_replaced(any_valkey: Any, answer: Script) -> None:
    assert answer(["{t}"], [], on=any_valkey) == 1
    node = any_valkey.get_nodes()[0].redis_connection if hasattr(any_valkey, "get_nodes") else any_valkey
    # As many as tests before had at once: all are known before the first is closed, and none is the one that closes.
    sockets = [connection_id(connection) for connection in node.connection_pool._available_connections]
    where = node.connection_pool.connection_kwargs
    with Redis(host=where["host"], port=where["port"]) as other:
        assert sum(other.client_kill_filter(_id=str(one)) for one in sockets) == len(sockets) > 0
    assert answer(["{t}"], [], on=any_valkey) == 2


def connection_id(connection: Any) -> int:
    connection.send_command("CLIENT", "ID")
    return int(connection.read_response())


def test_sockets_unused_for_long_are_not_used_again(
    redis_settings: str, answer: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = valkey.client().client_id()
    assert valkey.client().client_id() == before
    monkeypatch.setattr(valkey, "_last_use", valkey._last_use - valkey.IDLE_S - 1)
    assert valkey.client().client_id() != before


@pytest.mark.parametrize("cluster", [False, True])
def test_a_server_that_comes_back_is_used_again(cluster: bool, answer: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_server(cluster=cluster)
    port = server.port
    use(url_of(server, cluster=cluster), monkeypatch)
    assert answer(["{t}"], []) == 1
    stop_server(server)
    for _ in range(2):
        monkeypatch.setattr(valkey, "_rest_until", 0.0)
        with pytest.raises(RedisError):
            answer(["{t}"], [])
    server = start_server(cluster=cluster, port=port)
    try:
        monkeypatch.setattr(valkey, "_rest_until", 0.0)
        assert answer(["{t}"], []) == 1
    finally:
        stop_server(server)
