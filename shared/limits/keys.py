"""API keys: who is calling, under which limits.

A key is 32 random bytes (``sk-sluice-`` and 43 URL-safe characters) and is stored as its SHA-256. Nothing
slower is needed: unlike a password, 256 random bits cannot be guessed from their hash, and there is nothing
to salt. A key that was read is remembered for ``CACHE_S``: that is the lag of a revocation.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared import clock
from shared.errors import Conflict, NotFound, SettingError
from shared.limits.tiers import Limits, resolve
from shared.memory import Memory
from shared.tasks import table
from shared.tasks.items import Attributes, item, table_key, values_of
from shared.tasks.ranges import OF_USER, under

PREFIX = "sk-sluice-"
CACHE_S = 60.0
UNKNOWN_S = 5.0
"""How long an unknown key is remembered, s: short, since it may be about to be made."""
CACHED = 20_000
"""Keys remembered; the longest unused goes first."""
SHOWN = len(PREFIX) + 8
"""Characters of a key that may be shown, to recognize it by."""

LISTED = "KEYS"
"""Under which name the index of a user's tasks lists the keys."""
RESERVED = ("*", LISTED)
"""Names that no user can have."""
_NOT_IN_USERS = re.compile(r"[\s/#{}]")
_FORM = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a key belongs to and what it may do."""

    user: str
    tier: str
    limits: Limits
    key_id: str
    """First 16 hex digits of the key's hash: names the key in logs and rows without revealing it."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A stored key, as ``list_keys`` shows it."""

    key_hash: str
    key_prefix: str
    user: str
    tier: str
    name: str
    created: str
    revoked: bool
    limits: dict[str, Any]


_cache: Memory[Identity] = Memory(CACHED, CACHE_S, none_seconds=UNKNOWN_S)


def lookup(key: str) -> Identity | None:
    """Return whose key this is, or None for one that is unknown, malformed or revoked.

    Raises:
        DependencyDown: DynamoDB cannot be asked and the key is not remembered.
    """
    return of_digest(digest_of(key)) if _FORM.fullmatch(key) else None


def of_digest(digest: str) -> Identity | None:
    """Return whose key has this digest, as ``lookup`` does: for what is done later under a key that asked for it.

    Raises:
        DependencyDown: DynamoDB cannot be asked and the key is not remembered.
    """
    return _cache.get(digest, _read)


def _read(digest: str) -> Identity | None:
    row = table.get(_key(digest))
    return None if row is None else _identity(digest, row)


def create_key(
    user: str, tier: str, name: str = "", *, key: str | None = None, limits: Mapping[str, Any] | None = None
) -> str:
    """Store a new key and return it: the only time that it can be seen. ``key`` brings one of your own.

    Raises:
        SettingError: unknown tier, wrong overrides, no user or one that cannot be, or a ``key`` not of this form.
        Conflict: the key exists already.
    """
    resolve(tier, limits)
    if not user or user in RESERVED:
        raise SettingError(f"a key needs a user, and {' and '.join(RESERVED)} are reserved", param="user")
    if _NOT_IN_USERS.search(user):
        raise SettingError("a user has no white space and none of / # { }: they have a meaning in names", param="user")
    key = key or PREFIX + secrets.token_urlsafe(32)
    if not _FORM.fullmatch(key):
        raise SettingError(f"a key is {PREFIX} and 43 URL-safe characters", param="key")
    digest = digest_of(key)
    values = {
        "user": user,
        "tier": tier,
        "name": name,
        "created": clock.iso(clock.now()),
        "revoked": False,
        "key_prefix": key[:SHOWN],
        "limits": json.dumps(dict(limits or {})),
        "by_user": LISTED,
    }
    if not table.placed(table.put_op(_key(digest) | item(values), condition="attribute_not_exists(pk)")):
        raise Conflict("this key exists already")
    forget(digest)
    return key


def list_keys() -> list[KeyInfo]:
    """Return every key, oldest first."""
    keys = [{"pk": one["pk"], "sk": one["sk"]} for one in table.query(**under(LISTED, index=OF_USER))]
    rows = {row["pk"]["S"]: row for row in table.get_many(keys)}
    return [_info(rows[key["pk"]["S"]]) for key in keys if key["pk"]["S"] in rows]


def revoke(which: str) -> KeyInfo:
    """Revoke a key, named by itself, its shown prefix, its id or its hash; effective within ``CACHE_S``.

    Raises:
        NotFound: no key, or several, answer to that name.
    """
    info = named(which)
    op = table.update_op(
        _key(info.key_hash),
        sets={"revoked": True, "revoked_at": clock.iso(clock.now())},
        condition="attribute_exists(pk)",
    )
    table.update(op)
    forget(info.key_hash)
    return info


def rotate(which: str) -> str:
    """Make a key with the same user, tier and limits; the old one goes on working until it is revoked.

    Raises:
        NotFound: no key, or several, answer to that name.
    """
    info = named(which)
    return create_key(info.user, info.tier, info.name, limits=info.limits)


def forget(digest: str | None = None) -> None:
    """Drop one key, or all, from this environment's memory."""
    _cache.forget(digest)


def named(which: str) -> KeyInfo:
    """Find a key by itself, its shown prefix, its id or its hash.

    Raises:
        NotFound: no key, or several, answer to that name.
    """
    digest = digest_of(which) if _FORM.fullmatch(which) else which
    found = [info for info in list_keys() if info.key_prefix == which or info.key_hash.startswith(digest)]
    if len(found) != 1 or len(which) < 16:  # shorter names would match by accident
        raise NotFound("no single key answers to that name")
    return found[0]


def key_id(key: str) -> str:
    """Return a key's id: it names the key in rows and logs without revealing it."""
    return digest_of(key)[:16]


def digest_of(key: str) -> str:
    """Return what a key is stored under: its SHA-256 in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def _key(digest: str) -> Attributes:
    return table_key(f"KEY#{digest}", "KEY")


def _identity(digest: str, row: Attributes) -> Identity | None:
    info = _info(row)
    if info.revoked:
        return None
    return Identity(info.user, info.tier, resolve(info.tier, info.limits), digest[:16])


def _info(row: Attributes) -> KeyInfo:
    values = values_of(row)
    return KeyInfo(
        key_hash=str(values["pk"]).removeprefix("KEY#"),
        key_prefix=str(values.get("key_prefix", "")),
        user=str(values["user"]),
        tier=str(values["tier"]),
        name=str(values.get("name", "")),
        created=str(values.get("created", "")),
        revoked=bool(values.get("revoked", False)),
        limits=json.loads(values.get("limits") or "{}"),
    )
