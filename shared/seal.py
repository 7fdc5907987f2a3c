"""Secrets of users, kept so that a copy of the table reveals nothing: encrypted, and bound to whose they are.

The bundles hold no library for this, so it is made of what Python has: HMAC-SHA256. As a stream cipher it is run over a
counter, with a random nonce for each text (a pseudo-random function in counter mode, NIST SP 800-108's construction); a
second key authenticates nonce, owner and text (encrypt, then MAC). Both keys are derived from the deployment's secret
(``WEBHOOK_SECRET``), so whoever has the table alone has neither.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets as random

from shared import secrets
from shared.errors import SettingError, SluiceError

_VERSION = b"\x01"
_NONCE_BYTES = 16
_TAG_BYTES = 32


class Unreadable(SluiceError):
    """A sealed text that no secret in force opens: it was changed, is another's, or its secret is no longer given."""

    code = "credentials_unreadable"


def seal(text: str, owner: str) -> str:
    """Encrypt a text of an owner's, with the newest secret.

    Raises:
        SettingError: the deployment has no secret.
        DependencyDown: it cannot be read right now.
    """
    found = secrets.webhook_secrets()
    if not found:
        raise SettingError("WEBHOOK_SECRET is not set: nothing can be encrypted", param="WEBHOOK_SECRET")
    nonce = random.token_bytes(_NONCE_BYTES)
    body = _mixed(found[0], nonce, text.encode())
    return base64.urlsafe_b64encode(_VERSION + nonce + body + _tag(found[0], nonce, owner, body)).decode()


def unseal(sealed: str, owner: str) -> str:
    """Decrypt what ``seal`` made.

    Raises:
        Unreadable: no secret in force opens it.
        DependencyDown: the secret cannot be read right now.
    """
    try:
        raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
    except ValueError as error:  # binascii's own, too
        raise Unreadable("the key is stored in no form that is known here") from error
    nonce, body, tag = raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES : -_TAG_BYTES], raw[-_TAG_BYTES:]
    if raw[:1] == _VERSION and len(raw) > 1 + _NONCE_BYTES + _TAG_BYTES:
        for secret in secrets.webhook_secrets():
            if hmac.compare_digest(tag, _tag(secret, nonce, owner, body)):
                return _mixed(secret, nonce, body).decode()
    raise Unreadable("the key cannot be read any more: set it again")


def _key(secret: str, purpose: bytes) -> bytes:
    return hmac.new(secret.encode(), b"sluice credentials " + purpose, hashlib.sha256).digest()


def _tag(secret: str, nonce: bytes, owner: str, body: bytes) -> bytes:
    name = owner.encode()
    parts = _VERSION + nonce + len(name).to_bytes(4) + name + body
    return hmac.new(_key(secret, b"mac"), parts, hashlib.sha256).digest()


def _mixed(secret: str, nonce: bytes, text: bytes) -> bytes:
    """Encrypt, or decrypt: the same thing."""
    key, stream = _key(secret, b"cipher"), b""
    for counter in range(-(-len(text) // hashlib.sha256().digest_size)):
        stream += hmac.new(key, nonce + counter.to_bytes(4), hashlib.sha256).digest()
    return bytes(one ^ other for one, other in zip(text, stream, strict=False))
