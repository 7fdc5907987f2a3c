"""Time zones of the pinned package ``tzdata``, whatever the machine has.

A machine's own folder of zones may be older, and holds names that mean something else on each machine (``localtime``)
or count leap seconds, by which clocks there are an hour off (``right/Europe/Berlin``).
"""

from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo


@cache
def names() -> frozenset[str]:
    """Return the IANA names of all zones."""
    return frozenset((files("tzdata") / "zones").read_text().split())


@lru_cache(256)
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        KeyError: there is none of that name.
    """
    if name not in names():
        raise KeyError(name)
    with (files("tzdata") / "zoneinfo" / name).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)
