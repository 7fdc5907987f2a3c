"""The environment's pooled clients, made on first use and bound to its one event loop.

`openai` is the slowest import of the worker, so it waits for the first model call. Stale sockets: the pool drops a
connection that the server closed while the environment was frozen when it next takes it; should one slip through, the
call is repeated once (see `functions.worker.model.exchange`).
"""

from __future__ import annotations

import asyncio
from functools import cache, lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.request import getproxies

import httpx2

from functions.worker.environment import openai_types
from functions.worker.model import phases, request
from functions.worker.tools.page import pages_client
from functions.worker.wire.transport import Transport
from shared import secrets, tls
from shared.settings import settings

if TYPE_CHECKING:
    import openai

openai_types.put_off()

CONNECT_SECONDS = 10.0
"""Long enough for a whole pool that connects at once on a fraction of a processor."""
POOL_WAIT_SECONDS = 30.0
"""Longest wait for a free connection; running out of them is no failure of the provider."""
KEEPALIVE_SECONDS = 55.0
"""Idle connections are dropped before the usual 60 s of load balancers."""


@cache
def http() -> httpx2.AsyncClient:
    """Return the client under the model client: one connection pool per environment."""
    most, kept = settings().pool_limits
    limits = httpx2.Limits(max_connections=most, max_keepalive_connections=kept, keepalive_expiry=KEEPALIVE_SECONDS)
    return httpx2.AsyncClient(
        transport=None if _proxied() else Transport(limits, tls.context()),
        verify=tls.context(),
        limits=limits,
        # How long an answer may take is held by `model.limits`: no fixed clock cuts a stream that flows.
        timeout=httpx2.Timeout(
            settings().model_timeout_seconds, read=None, connect=CONNECT_SECONDS, pool=POOL_WAIT_SECONDS
        ),
        event_hooks={"request": [phases.follow]},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # a provider's cookies serve nothing here
    )


def _proxied() -> bool:
    """Whether the environment names a proxy, through which only httpx2's own transport knows the way."""
    return not {"http", "https", "all"}.isdisjoint(getproxies())


async def ready() -> None:
    """Prepare for the model client what would block the loop: its key may have to be fetched first."""
    if settings().openai_secret_arn and not model.cache_info().currsize:
        await asyncio.to_thread(secrets.openai_api_key)


@cache
def model() -> openai.AsyncOpenAI:
    """Return the model client. Retrying is Sluice's business, so it does not."""
    import openai

    return openai.AsyncOpenAI(
        api_key=secrets.openai_api_key() or "none",
        base_url=settings().openai_base_url or None,
        http_client=http(),
        max_retries=0,
    )


@lru_cache(maxsize=1)
def _first_url(client: openai.AsyncOpenAI, base: str) -> str:
    return request.completions(base or str(client.base_url))


def completions_url(client: openai.AsyncOpenAI, base: str = "") -> str:
    """Return the whole address of chat completions: putting it together costs a twentieth of a call.

    ``base`` is another address than the deployment's.
    """
    url = request.completions(base) if base else _first_url(client, settings().openai_base_url)
    return _moved.get(url, url)


_moved: dict[str, str] = {}


def forget_moves() -> None:
    """Use the addresses that the settings say."""
    _moved.clear()


def move(url: str, target: str) -> None:
    """Use another address in this environment: the provider redirected a call to it."""
    first = next((old for old, new in _moved.items() if new == url), url)
    _moved[first] = target


@cache
def pages() -> httpx2.AsyncClient:
    """Return the client for pages and APIs out there; it reaches no private address."""
    return pages_client()
