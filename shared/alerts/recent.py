"""What was told of a user's budget lately: each threshold that a day came to, and what came of its webhook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared import webhooks
from shared.alerts.model import UNITS, place_of
from shared.clock import day, iso, now
from shared.limits.verdict import THRESHOLDS
from shared.tasks import table
from shared.tasks.items import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.tasks.items import Attributes

DAYS = 7
"""How many UTC days are looked at, today among them: the names of their alerts are known."""
_DAY_SECONDS = 86_400


def told(whose: Sequence[str]) -> list[dict[str, Any]]:
    """Return what was noticed of users, or services (``service/*``), newest first.

    Raises:
        DependencyDown: DynamoDB is away.
    """
    days = [day(now() - n * _DAY_SECONDS) for n in range(DAYS)]
    places = [place_of(one, at, unit, n) for one in whose for at in days for unit in UNITS for n in THRESHOLDS]
    keys = [{"pk": {"S": place}, "sk": {"S": sk}} for place in places for sk in ("ALERT", "WEBHOOK#user")]
    rows = {(row["pk"]["S"], row["sk"]["S"]): row for row in table.get_many(keys)}
    found = [
        (plain(row["at"]), _shown(row, rows.get((place, "WEBHOOK#user"))))
        for place in places
        if (row := rows.get((place, "ALERT"))) is not None
    ]
    return [one for _, one in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _shown(row: Attributes, outcome: Attributes | None) -> dict[str, Any]:
    unit = str(plain(row["unit"]))
    scale = 1_000_000 if unit == "usd" else 1
    return {
        "scope": "service" if str(plain(row["whose"])).endswith("/*") else "user",
        "day": str(plain(row["day"])),
        "unit": unit,
        "threshold": int(plain(row["threshold"])),
        "limit": int(plain(row["ceiling"])) / scale,
        "used": int(plain(row["used"])) / scale,
        "at": iso(float(plain(row["at"]))),
        "delivery": webhooks.outcome(outcome) if "user" in str(plain(row["told"])).split(",") else None,
    }
