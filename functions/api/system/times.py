"""Times and days in addresses, as people write them."""

import re
from datetime import UTC, datetime

from functions.api.contract.problem import invalid

FIRST, LAST = 0.0, 250_000_000_000.0
"""Times before and after these (1970, and the year 9892) count as these: the clock's own functions end near them."""
_PLUS = re.compile(r"(?<=\d) (?=\d\d(:?\d\d)?$)")
"""Where a ``+`` stood that was not escaped: it arrives as a space, before the zone's hours."""


def instant(text: str, name: str) -> float:
    """Read a date and time of any zone, or of UTC where none is named; a date alone is its first moment.

    Raises:
        Problem: 422, it is none.
    """
    try:
        written = _PLUS.sub("+", text) if "T" in text else text
        found = datetime.fromisoformat(written)
        at = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise invalid("must be a date and time, like 2026-01-31T12:00:00Z", name) from None
    return min(max(at, FIRST), LAST)


def day(text: str, name: str) -> str:
    """Hold a UTC day against the calendar.

    Raises:
        Problem: 422, there is no such day.
    """
    try:
        datetime.fromisoformat(f"{text}T00:00:00+00:00")
    except ValueError:
        raise invalid("must be a day, like 2026-01-31", name) from None
    return text
