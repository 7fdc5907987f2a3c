"""Secrets of users, kept so that a copy of the table reveals nothing: encrypted, and bound to whose they are.

AES-256-GCM of `cryptography`, with a random nonce for each text; the owner's name is authenticated beside it. The key
is derived (HKDF, RFC 5869) from the deployment's secret (``WEBHOOK_SECRET``), so whoever has the table alone has none.
"""

from __future__ import annotations

import base64
import secrets as random
from typing import TYPE_CHECKING

from shared import secrets
from shared.errors import SettingError, SluiceError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE_BYTES = 12
"""What NIST SP 800-38D recommends for a random one."""
_TAG_BYTES = 16
_PURPOSE = b"sluice credentials"


class Unreadable(SluiceError):
    """A sealed text that no secret in force opens: it was changed, is another's, or its secret is no longer given."""

    code = "credentials_unreadable"


def seal(text: str, owner: str) -> str:
    """Encrypt a text of an owner's, with the newest secret.

    Raises:
        SettingError: the deployment has no secret.
    """
    found = secrets.webhook_secrets()
    if not found:
        raise SettingError("WEBHOOK_SECRET is not set: nothing can be encrypted", param="WEBHOOK_SECRET")
    nonce = random.token_bytes(_NONCE_BYTES)
    body = _cipher(found[0]).encrypt(nonce, text.encode(), owner.encode())
    return base64.urlsafe_b64encode(_VERSION + nonce + body).decode()


def unseal(sealed: str, owner: str) -> str:
    """Decrypt what ``seal`` made.

    Raises:
        Unreadable: no secret in force opens it.
    """
    from cryptography.exceptions import InvalidTag  # here: few have a key of their own

    try:
        raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
    except ValueError as error:  # binascii's own, too
        raise Unreadable("the key is stored in no form that is known here") from error
    nonce, body = raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :]
    if raw[:1] == _VERSION and len(body) > _TAG_BYTES:
        for secret in secrets.webhook_secrets():
            try:
                text: bytes = _cipher(secret).decrypt(nonce, body, owner.encode())
                return text.decode()
            except InvalidTag:
                continue
    raise Unreadable("the key cannot be read any more: set it again")


def _cipher(secret: str) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(SHA256(), 32, salt=None, info=_PURPOSE).derive(secret.encode()))
