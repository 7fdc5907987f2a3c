"""What was told of a user's budget lately: each threshold that a day came to, and what came of its webhook."""

from collections.abc import Sequence
from typing import Any

from shared import webhooks
from shared.alerts.model import ALERT, UNITS, Alert, of_row, place_of
from shared.clock import day, iso, now
from shared.limits.verdict import THRESHOLDS
from shared.tasks import table
from shared.tasks.items import Attributes, table_key

OUTCOME = "WEBHOOK#user"
"""Sort key of what came of telling the user."""
DAYS = 7
"""How many UTC days are looked at, today among them: the names of their alerts are known."""
_DAY_SECONDS = 86_400


def told(whose: Sequence[str]) -> list[dict[str, Any]]:
    """Return what was noticed of users, or services (``service/*``), newest first."""
    days = [day(now() - n * _DAY_SECONDS) for n in range(DAYS)]
    places = [place_of(one, at, unit, n) for one in whose for at in days for unit in UNITS for n in THRESHOLDS]
    keys = [table_key(place, sk) for place in places for sk in (ALERT, OUTCOME)]
    rows = {(row["pk"]["S"], row["sk"]["S"]): row for row in table.get_many(keys)}
    alerts = [of_row(row) for place in places if (row := rows.get((place, ALERT))) is not None]
    alerts.sort(key=lambda alert: alert.at, reverse=True)
    return [_shown(alert, rows.get((alert.place, OUTCOME))) for alert in alerts]


def _shown(alert: Alert, outcome: Attributes | None) -> dict[str, Any]:
    scale = 1_000_000 if alert.unit == "usd" else 1
    return {
        "scope": "service" if alert.whose.endswith("/*") else "user",
        "day": alert.day,
        "unit": alert.unit,
        "threshold": alert.threshold,
        "limit": alert.limit / scale,
        "used": alert.used / scale,
        "at": iso(alert.at),
        "delivery": webhooks.outcome(outcome) if "user" in alert.to else None,
    }
