"""Where users are told of their budgets: an address of each user, or else of the service that they belong to."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from shared import clock
from shared.limits.shares import owner_of
from shared.limits.verdict import THRESHOLDS
from shared.tasks import table
from shared.tasks.items import Attributes, item, table_key, values_of


@dataclass(frozen=True, slots=True)
class Target:
    """An address, and the API key that set it: its webhook secret signs what is sent there."""

    url: str
    key_id: str
    created: str
    thresholds: tuple[int, ...] = THRESHOLDS
    """At which of them it is told, percent."""

    def public(self) -> dict[str, Any]:
        """Return what its user sees."""
        return {"webhook_url": self.url, "thresholds": list(self.thresholds), "created_at": self.created}


def partition(user: str) -> str:
    """Return the partition of a user's address."""
    return f"ALERTS#{user}"


def _key(user: str) -> Attributes:
    return table_key(partition(user), "ALERTS")


def put(user: str, url: str, key_id: str, thresholds: Iterable[int] = THRESHOLDS) -> Target:
    """Store a user's address, in the place of any before.

    Raises:
        Contended, DependencyDown: nothing was stored.
    """
    made = Target(url, key_id, clock.iso(clock.now()), tuple(sorted(set(thresholds))))
    values = {"url": url, "key_id": key_id, "made": made.created, "at_percent": list(made.thresholds)}
    table.put(table.put_op(_key(user) | item(values)))
    return made


def own(user: str) -> Target | None:
    """Return a user's own address."""
    row = table.get(_key(user))
    if row is None:
        return None
    found = values_of(row)
    chosen = json.loads(found["at_percent"]) if "at_percent" in found else THRESHOLDS  # older rows name none
    return Target(found["url"], found["key_id"], found["made"], tuple(chosen))


def of(whose: str) -> Target | None:
    """Return where a user, or a service (``service/*``), is told: its own address, or else its service's."""
    found = (own(one) for one in dict.fromkeys([whose, owner_of(whose)]) if not one.endswith("/*"))
    return next((target for target in found if target), None)
