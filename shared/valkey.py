"""The Valkey (or Redis) client of this environment and the Lua scripts it runs.

Sluice keeps here only what may be lost: counters that are rebuilt, never a task. Every caller handles `RedisError`.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry

from shared.settings import settings

__all__ = ["RedisError", "Script", "client", "reset"]

_lock = threading.Lock()
_client: Any = None


def connect(url: str) -> Any:
    """Make a client; the scheme may be redis, rediss or unix, and ``?cluster=true`` asks for a cluster.

    Timeouts are short (1 s) because no caller may hang on a cache. One immediate retry covers a pooled socket that
    died while the environment was frozen.
    """
    options: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "decode_responses": True}
    base, _, query = url.partition("?")
    if "cluster=true" in query:
        return RedisCluster.from_url(base, **options)
    retry = Retry(NoBackoff(), 1)
    return redis.Redis.from_url(url, retry=retry, retry_on_timeout=False, max_connections=64, **options)


def client() -> Any:
    """Return the client of this environment.

    Raises:
        RedisError: ``REDIS_URL`` is empty: there is none.
    """
    global _client  # noqa: PLW0603 - one per environment is the point
    if _client is None:
        with _lock:
            if _client is None:
                if not settings().redis_url:
                    raise RedisError("no REDIS_URL is set")
                _client = connect(settings().redis_url)
    return _client


def reset() -> None:
    """Drop the client, so that the next use reconnects (after a SnapStart restore, between tests)."""
    global _client  # noqa: PLW0603
    with _lock:
        _client = None


class Script:
    """A Lua script by file, run with EVALSHA and loaded when the server does not know it."""

    def __init__(self, path: Path) -> None:
        """Read the script's source."""
        self.source = path.read_text()
        self._sha = _sha(self.source)

    def __call__(self, keys: list[str], args: list[Any], *, on: Any = None) -> Any:
        """Run it in one round trip (two the first time after a server restart).

        Raises:
            RedisError: the server is away or refused.
        """
        server = on if on is not None else client()
        try:
            return server.evalsha(self._sha, len(keys), *keys, *args)
        except NoScriptError:
            return server.eval(self.source, len(keys), *keys, *args)


@cache
def _sha(source: str) -> str:
    import hashlib

    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
