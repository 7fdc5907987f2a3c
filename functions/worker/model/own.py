"""Calls with a user's own key: its own client, address and failures; nothing of it touches what others share."""

from __future__ import annotations

import asyncio
from functools import cache, lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING

import httpx2

from functions.worker.environment import clients
from functions.worker.model import phases
from shared import credentials
from shared.credentials import Credentials
from shared.errors import SluiceError
from shared.guarded_http import AsyncGuardedTransport, was_forbidden
from shared.limits.permits import NONE, Permit
from shared.limits.provider import ProviderBudget
from shared.limits.shares import owner_of
from shared.retry import ModelError
from shared.settings import settings

if TYPE_CHECKING:
    import openai


CLIENTS = 256
"""Clients of own keys that are kept; all share their connections by address."""
REFUSED = frozenset({401, 403})
HIDDEN = "[key]"


class CredentialsRefused(SluiceError):
    """The provider does not take the user's own key, or its address may not be reached."""

    code = "credentials_refused"


async def of(user: str) -> Credentials | None:
    """Return the key that a user's runs call the model with; None: the deployment's.

    Raises:
        Unreadable, DependencyDown: see `credentials.of_user`.
    """
    if credentials.remembered(user):
        return credentials.of_user(user)
    return await asyncio.to_thread(credentials.of_user, user)


def permit(model: str, user: str) -> Permit:
    """Return leave to call: a breaker is for what is shared, and this is one user's own."""
    return Permit(allowed=True, retry_after_s=0.0, scope=NONE, name=f"own {model}", owner=owner_of(user))


@lru_cache(CLIENTS)
def _budget(holder: str, requests_per_minute: int) -> ProviderBudget:
    return ProviderBudget(own=(holder, requests_per_minute))


def budget(own: Credentials) -> ProviderBudget:
    """Return what keeps a key's requests a minute, of all its holder's runs together; without a limit it has room."""
    return _budget(own.holder, own.requests_per_minute)


@cache
def _guarded() -> httpx2.AsyncClient:
    most, kept = settings().pool_limits
    limits = httpx2.Limits(
        max_connections=most, max_keepalive_connections=kept, keepalive_expiry=clients.KEEPALIVE_SECONDS
    )
    return httpx2.AsyncClient(
        transport=AsyncGuardedTransport(limits),
        timeout=httpx2.Timeout(
            settings().model_timeout_seconds,
            read=None,
            connect=clients.CONNECT_SECONDS,
            pool=clients.POOL_WAIT_SECONDS,
        ),
        event_hooks={"request": [phases.follow]},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        trust_env=False,
    )


def http(base_url: str) -> httpx2.AsyncClient:
    """Return the HTTP client of a key with an address of its own, or of the deployment's address."""
    return _guarded() if base_url else clients.http()


@lru_cache(CLIENTS)
def client(base_url: str, api_key: str) -> openai.AsyncOpenAI:
    """Return the client of a key. One with an address of its own reaches public addresses only."""
    import openai

    return openai.AsyncOpenAI(
        api_key=api_key,
        base_url=base_url or settings().openai_base_url or None,
        http_client=http(base_url),
        max_retries=0,
    )


def forget() -> None:
    """Start anew (between tests)."""
    client.cache_clear()
    _guarded.cache_clear()
    _budget.cache_clear()
    credentials.forget()


def told(error: ModelError, own: Credentials) -> Exception:
    """Return the error as the key's owner is to see it: providers repeat keys, and a refused one has a name."""
    if error.status in REFUSED:
        return CredentialsRefused(f"the provider refuses your own key (it ends in {own.last4}) with {error.status}")
    if was_forbidden(error):
        return CredentialsRefused("the address of your own provider cannot be reached from here")
    error.message = error.message.replace(own.api_key, HIDDEN)
    error.args = (error.message,)
    return error
