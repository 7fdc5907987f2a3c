"""May they? The limits, as this environment holds requests against them."""

from functools import cache

from shared.limits.admission import Gate
from shared.tasks import spend


@cache
def gate() -> Gate:
    """Return the limits of this environment."""
    return Gate(spend.load)
