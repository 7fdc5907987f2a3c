"""Keys of one's own: a user's own key for a model provider, stored encrypted, with which their runs call the model.

A user of a trusted service has their own, or else the service's. Who looks for one remembers the answer for
``CACHE_S``, which is the lag of a change.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared import clock, seal
from shared.limits.models import Model
from shared.limits.shares import owner_of
from shared.memory import Memory
from shared.tasks import table
from shared.tasks.items import Attributes, item, table_key, values_of
from shared.tasks.model import dumps

KEY_CHARACTERS = 512
"""Longest key of a provider."""
LEAST_CHARACTERS = 8
"""Shortest: of a shorter one the four characters that are shown would give away too much."""
SHOWN = 4
"""How many characters of a key, its last ones, are shown to recognize it by."""
PRICES = 50
"""Most models that one may price."""
MOST_USD = 10_000.0
"""Highest price of a million tokens; the dearest listed model costs a sixteenth of it."""
MOST_RPM = 1_000_000
"""Most requests a minute that one may name."""
ANY = "*"
"""Names the price of every model that has none of its own."""
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
    prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What its provider charges its holder, USD per million tokens: model, or ``*``, -> input, output, cached."""
    requests_per_minute: int = 0
    """How many requests a minute its runs make at most, all together; 0: no limit."""

    def price(self, model: str) -> Model:
        """Return what a model costs its holder; nothing where they did not say."""
        said = self.prices.get(model) or self.prices.get(ANY) or {}
        read, wrote, cached = (round(said.get(name, 0.0) * 1_000_000) for name in ("input", "output", "cached"))
        return Model(read, wrote, cached=cached)


def _key(user: str) -> Attributes:
    return table_key(f"CREDENTIALS#{user}", "CREDENTIALS")


def put(
    user: str,
    api_key: str,
    base_url: str,
    *,
    prices: Mapping[str, Mapping[str, float]] | None = None,
    requests_per_minute: int = 0,
) -> Credentials:
    """Store a user's key, in the place of any before, with what is said of its price and rate.

    Raises:
        SettingError: the deployment has no secret to encrypt it with.
        Contended, DependencyDown: nothing was stored.
    """
    shown = clock.iso(clock.now()), api_key[-SHOWN:]
    made = Credentials(user, base_url, *shown, api_key, prices or {}, requests_per_minute)
    values: dict[str, Any] = {"sealed": seal.seal(api_key, user), "base_url": base_url}
    values |= {"made": made.created, "last4": made.last4}
    values |= {"prices": dumps(prices) if prices else None, "rpm": requests_per_minute or None}
    table.put(table.put_op(_key(user) | item(values)))
    forget(user)
    return made


def shown(user: str) -> dict[str, Any] | None:
    """Return what may be seen of a user's own key; None if there is none."""
    row = table.get(_key(user))
    if row is None:
        return None
    found = values_of(row)
    return {
        "base_url": found["base_url"],
        "last4": found["last4"],
        "created_at": found["made"],
        "prices": json.loads(found.get("prices", "null")),
        "requests_per_minute": found.get("rpm"),
    }


def there_are(user: str) -> bool:
    """Tell whether a user's runs call the model with a key of their own, or of the service that they belong to."""
    return any(table.get(_key(whose)) is not None for whose in dict.fromkeys([user, owner_of(user)]))


_known: Memory[Credentials] = Memory(CACHED, CACHE_S)


def of_user(user: str) -> Credentials | None:
    """Return the key that a user's runs call the model with; None: the deployment's.

    Raises:
        Unreadable: it is stored, and cannot be decrypted.
    """
    return _known.get(user, _find)


def remembered(user: str) -> bool:
    """Tell whether ``of_user`` would answer at once."""
    return _known.holds(user)


def _find(user: str) -> Credentials | None:
    return next((one for whose in dict.fromkeys([user, owner_of(user)]) if (one := _read(whose))), None)


def _read(user: str) -> Credentials | None:
    row = table.get(_key(user), consistent=False)
    if row is None:
        return None
    found = values_of(row)
    return Credentials(
        holder=user,
        base_url=found["base_url"],
        created=found["made"],
        last4=found["last4"],
        api_key=seal.unseal(found["sealed"], user),
        prices=json.loads(found.get("prices", "{}")),
        requests_per_minute=found.get("rpm", 0),
    )


def forget(user: str | None = None) -> None:
    """Drop one user's, or all, from this environment's memory."""
    _known.forget(user)
