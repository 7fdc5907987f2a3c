"""The Valkey (or Redis) client of this environment and the Lua scripts it runs.

Sluice keeps here only what may be lost: counters that are rebuilt, never a task. Every caller handles
`RedisError`.

No call may hang on a cache, and none may pay for the same dead server again: a failed call costs at most
about two timeouts (1.6 s), and for a while afterwards calls fail at once (`Away`).
"""

import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis.backoff import NoBackoff
from redis.client import Redis
from redis.exceptions import (
    ClusterError,
    InvalidResponse,
    NoScriptError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from shared import secrets
from shared.errors import SluiceError
from shared.iam_login import CONNECTION_SECONDS, login_of
from shared.settings import settings

__all__ = ["Away", "RedisError", "Script", "client", "connect", "reset"]

CONNECT_S = 0.5
ANSWER_S = 0.8
REST_S = 2.0
"""How long a server that failed is left alone, s; doubles while it goes on failing."""
MAX_REST_S = 10.0
IDLE_S = 30.0
"""Sockets unused for so long are closed, s: the other side may have dropped them during a freeze."""

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_client: Any = None
_rest_until = 0.0
_failures = 0
_last_use = 0.0
_made_at = 0.0


_COSTLY = (RedisConnectionError, RedisTimeoutError, ClusterError, InvalidResponse)
"""Failures of the server; other errors are answers and came at once."""


class Away(RedisConnectionError):
    """The server failed a moment ago and is not asked again yet, or there is none."""


def _password() -> str:
    try:
        return secrets.redis_password()
    except SluiceError as error:  # callers know how to do without Valkey
        raise Away(f"its password could not be read: {error.message}") from error


def connect(url: str, *, password: str = "") -> Any:
    """Make a client; the scheme may be redis, rediss or unix, and ``?cluster=true`` asks for a cluster.

    With ``?iam=CACHE`` its connections log in with a token (`shared.iam_login`).

    One immediate retry covers a pooled socket that died meanwhile. redis-py itself would retry ten times with
    back-off, and for a cluster ask for its whole topology each time; the scripts are written so that a repeat
    after a lost answer does no harm, but for two whose figures heal by themselves: `provider_adjust` then gives a
    call's tokens back twice, `breaker_record` counts a failure twice.
    """
    options: dict[str, Any] = {
        "socket_timeout": ANSWER_S,
        "socket_connect_timeout": CONNECT_S,
        "socket_keepalive": True,
        "decode_responses": True,
        "max_connections": 2 * settings().runs_per_environment + 64,
        # Each new connection would tell the client's name and version, and ask whether the server will announce its
        # maintenance, which only Redis Enterprise does: three round trips, and 3 ms to look the version up.
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    url, login = login_of(url)
    if login is not None:
        options["credential_provider"] = login
    base, _, query = url.partition("?")
    asked = [part for part in query.split("&") if part]
    rest = [part for part in asked if part.lower() != "cluster=true"]
    if password and login is None:
        options["password"] = password
    url = base + ("?" + "&".join(rest) if rest else "")
    if len(rest) < len(asked):
        # asking only the given endpoint for the topology keeps the bound on a silent cluster of any size
        from shared.valkey_cluster import with_words  # here: few have one, and it takes half as long as the client

        try:
            return with_words(_Noted).from_url(url, retry=Retry(NoBackoff(), 1), dynamic_startup_nodes=False, **options)
        except RedisClusterException as error:
            raise RedisConnectionError(str(error)) from error
    return _Server.from_url(url, retry=Retry(NoBackoff(), 1), **options)


class _Noted:
    """Commands whose failures are all `RedisError`, and of which the environment's own client takes note."""

    noted = False

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        try:
            answer = super().execute_command(*args, **kwargs)  # type: ignore[misc]
        except NoScriptError:
            raise
        except RedisClusterException as error:  # not a RedisError in redis-py: no node answered
            down = RedisConnectionError(str(error))
            if self.noted:
                _failed(down)
            raise down from error
        except RedisError as error:
            if self.noted:
                _failed(error)
            raise
        if self.noted:
            _answered()
        return answer


class _Server(_Noted, Redis):
    pass


def client() -> Any:
    """Return the client of this environment.

    A command that fails, or `in_one_trip`, has it left alone for a while. (A pipeline's failure is not noted.)

    Raises:
        Away: ``REDIS_URL`` is empty, or the server failed a moment ago.
        RedisError: a cluster's topology could not be read.
    """
    global _client, _last_use, _made_at  # noqa: PLW0603 - one per environment is the point
    if time.monotonic() < _rest_until:
        raise Away("Valkey failed a moment ago")
    now = time.time()  # wall clock: it goes on while the environment is frozen
    if _client is None or now - _made_at > CONNECTION_SECONDS:
        with _lock:
            if _client is None or now - _made_at > CONNECTION_SECONDS:
                if not settings().redis_url:
                    raise Away("no REDIS_URL is set")
                # After so long a fresh one: a token's connection would be ended soon. Who holds the old one goes on.
                _client, _made_at = _connected(), now
    if now - _last_use > IDLE_S and _last_use:
        _drop_idle(_client)
    _last_use = now
    return _client


def in_one_trip(commands: Sequence[tuple[str, ...]]) -> list[Any]:
    """Run commands of this environment's client in one round trip (of a cluster, one a node); returns their answers.

    Raises:
        RedisError: one of them failed; others may have been done.
    """
    server = client()
    if len(commands) == 1:
        return [server.execute_command(*commands[0])]
    pipeline = server.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    try:
        answers: list[Any] = pipeline.execute()
    except RedisClusterException as error:  # not a RedisError in redis-py: no node answered
        down = RedisConnectionError(str(error))
        _failed(down)
        raise down from error
    except RedisError as error:
        _failed(error)
        raise
    _answered()
    return answers


def _connected() -> Any:
    try:
        made = connect(settings().redis_url, password=_password())
    except RedisError as error:
        _failed(error)
        raise
    made.noted = True
    return made


def _drop_idle(server: Any) -> None:
    nodes = (
        [node.redis_connection for node in server.nodes_manager.nodes_cache.values()]
        if hasattr(server, "nodes_manager")
        else [server]
    )
    for node in nodes:
        if node is not None:
            node.connection_pool.disconnect(inuse_connections=False)


def reset() -> None:
    """Drop the client, so that the next use reconnects (after a SnapStart restore, between tests)."""
    global _client, _rest_until, _failures, _last_use, _made_at
    with _lock:
        _client, _rest_until, _failures, _last_use, _made_at = None, 0.0, 0, 0.0, 0.0


def _failed(error: RedisError) -> None:
    global _rest_until, _failures  # noqa: PLW0603
    if isinstance(error, Away):
        return
    _log.warning("valkey failed: %s: %s", type(error).__name__, error)
    if isinstance(error, _COSTLY):
        _rest_until = time.monotonic() + min(MAX_REST_S, REST_S * 2**_failures)
        _failures = min(_failures + 1, 10)


def _answered() -> None:
    global _failures  # noqa: PLW0603
    _failures = 0


class Script:
    """A Lua script, run by its hash and sent in full when the server does not know it."""

    def __init__(self, *paths: Path) -> None:
        self.source = "\n".join(path.read_text() for path in paths)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, keys: list[str], args: list[Any], *, on: Any = None) -> Any:
        """Run it in one round trip (two the first time after a server restart).

        ``on`` names another client than this environment's.

        Raises:
            RedisError: the server is away or refused; for the environment's client the next calls fail at
            once.
        """
        server = on if on is not None else client()
        try:
            return server.evalsha(self.sha, len(keys), *keys, *args)
        except NoScriptError:
            return server.eval(self.source, len(keys), *keys, *args)
