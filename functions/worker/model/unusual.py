"""What of a model call may be unusual, for its price: as asked for, and as the provider says (see `terms`)."""

from dataclasses import dataclass, field
from typing import NamedTuple

MOST_SEARCHES = 1_000
"""A call that is said to have searched more often is not believed."""


class Asked(NamedTuple):
    """What of a call is not usual as it is asked for."""

    tiers: tuple[str, ...] = ()
    in_region: bool = False
    at_region: bool = False
    searches: int = 0
    """Searches that it makes in any case."""
    offered: int = 0
    """Searches that the model may make besides."""
    speaks: bool = False
    """Its answer may be audio."""
    draws: bool = False
    """Its answer may hold images."""
    long_cache: bool = False
    """Its cache may last an hour or more."""
    images: int = 0
    """Tokens that images may have which stand elsewhere."""


PLAIN = Asked()


@dataclass(slots=True)
class Told:
    """What the provider says of it so far; the newest word counts, and of numbers the largest."""

    tier: str = ""
    speed: str = ""
    region: str = ""
    micro_usd: int = 0
    """What it says that the call cost."""
    counts: dict[str, int] = field(default_factory=dict)
    """By the fields of `surcharges.Terms`."""
