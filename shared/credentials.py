"""Keys of one's own: a user's own key for a model provider, stored encrypted, with which their runs call the model.

A user of a trusted service has their own, or else the service's. Who looks for one remembers the answer for
``CACHE_S``, which is the lag of a change.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared import clock, seal
from shared.limits.shares import owner_of
from shared.tasks import table
from shared.tasks.items import item, plain

if TYPE_CHECKING:
    from shared.tasks.items import Attributes

KEY_CHARACTERS = 512
"""Longest key of a provider."""
LEAST_CHARACTERS = 8
"""Shortest: of a shorter one the four characters that are shown would give away too much."""
SHOWN = 4
"""How many characters of a key, its last ones, are shown to recognize it by."""
CACHE_S = 60.0
CACHED = 10_000
"""Users remembered; the longest unused goes first."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key and where it is good; an empty address is the deployment's provider's."""

    holder: str
    """Whose it is: the user, or the service that they belong to."""
    base_url: str
    created: str
    last4: str
    api_key: str = field(repr=False)


def _key(user: str) -> Attributes:
    return {"pk": {"S": f"CREDENTIALS#{user}"}, "sk": {"S": "CREDENTIALS"}}


def put(user: str, api_key: str, base_url: str) -> Credentials:
    """Store a user's key, in the place of any before.

    Raises:
        SettingError: the deployment has no secret to encrypt it with.
        Contended, DependencyDown: nothing was stored.
    """
    made = Credentials(user, base_url, clock.iso(clock.now()), api_key[-SHOWN:], api_key)
    values = {"sealed": seal.seal(api_key, user), "base_url": base_url, "made": made.created, "last4": made.last4}
    table.put(table.put_op(_key(user) | item(values)))
    forget(user)
    return made


def shown(user: str) -> dict[str, str] | None:
    """Return what may be seen of a user's own key; None if there is none.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    row = table.get(_key(user))
    if row is None:
        return None
    return {"base_url": plain(row["base_url"]), "last4": plain(row["last4"]), "created_at": plain(row["made"])}


_lock = threading.Lock()
_known: OrderedDict[str, tuple[float, Credentials | None]] = OrderedDict()


def of_user(user: str) -> Credentials | None:
    """Return the key that a user's runs call the model with; None: the deployment's.

    Raises:
        Unreadable: it is stored, and cannot be decrypted.
        DependencyDown: DynamoDB is away, or the secret cannot be read.
    """
    at = time.time()
    with _lock:
        until, found = _known.get(user, (0.0, None))
        if at < until <= at + CACHE_S:
            _known.move_to_end(user)
            return found
    found = next((one for whose in dict.fromkeys([user, owner_of(user)]) if (one := _read(whose))), None)
    with _lock:
        _known[user] = at + CACHE_S, found
        while len(_known) > CACHED:
            _known.popitem(last=False)
    return found


def remembered(user: str) -> bool:
    """Tell whether ``of_user`` would answer at once."""
    until, _ = _known.get(user, (0.0, None))
    return time.time() < until


def _read(user: str) -> Credentials | None:
    row = table.get(_key(user), consistent=False)
    if row is None:
        return None
    return Credentials(
        holder=user,
        base_url=plain(row["base_url"]),
        created=plain(row["made"]),
        last4=plain(row["last4"]),
        api_key=seal.unseal(plain(row["sealed"]), user),
    )


def forget(user: str | None = None) -> None:
    """Drop one user's, or all, from this environment's memory."""
    with _lock:
        if user is None:
            _known.clear()
        else:
            _known.pop(user, None)
