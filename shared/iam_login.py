"""Logging in to a managed Valkey as an IAM user: a signed request in place of a password.

Asked for by the address: ``rediss://USER@HOST:6379?iam=CACHE``. A token is good for 15 minutes, and is only looked at
when a connection logs in; the server ends a connection 12 hours after its last log-in
(https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html, 2026-11).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from redis.credentials import CredentialProvider

TOKEN_SECONDS = 900
"""How long a token can be used to log in."""
RENEW_SECONDS = 600
"""Age at which the next connection gets a new one."""
CONNECTION_SECONDS = 11 * 3600
"""Age at which an environment gives up its connections, an hour before the server would."""


def login_of(url: str) -> tuple[str, Login | None]:
    """Take the IAM log-in out of an address; returns the address without it, and None where it asks for none."""
    parts = urlsplit(url)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    cache = next((value for name, value in asked if name.lower() == "iam"), "")
    if not cache:
        return url, None
    rest = urlencode([(name, value) for name, value in asked if name.lower() != "iam"])
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=place, query=rest)), Login(cache, unquote(parts.username or "default"))


class Login(CredentialProvider):
    """Gives each new connection its user and a token that is young enough."""

    def __init__(self, cache: str, user: str, *, clock: Callable[[], float] = time.time) -> None:
        """Log in to a serverless cache by its name. Names are in lower case, whatever was given."""
        self.cache, self.user = cache.lower(), user.lower()
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._made = 0.0

    def get_credentials(self) -> tuple[str, str]:
        """Return user and token."""
        with self._lock:
            if not self._token or self._clock() - self._made >= RENEW_SECONDS:
                self._token, self._made = self._sign(), self._clock()
            return self.user, self._token

    def _sign(self) -> str:
        import boto3
        from botocore.model import ServiceId
        from botocore.signers import RequestSigner

        session: Any = boto3.DEFAULT_SESSION or boto3.session.Session()
        region = session.region_name
        signer = RequestSigner(
            ServiceId("elasticache"), region, "elasticache", "v4", session.get_credentials(), session.events
        )
        query = urlencode({"Action": "connect", "User": self.user, "ResourceType": "ServerlessCache"})
        request = {"method": "GET", "url": f"https://{self.cache}/?{query}", "body": {}, "headers": {}, "context": {}}
        signed: str = signer.generate_presigned_url(
            request, operation_name="connect", expires_in=TOKEN_SECONDS, region_name=region
        )
        return signed.removeprefix("https://")  # signing wants a scheme, the cache wants none
