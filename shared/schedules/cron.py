"""When a cron expression comes round: instants in UTC, by the clock on the wall of a time zone.

Cron libraries answer differently where clocks change: some fire an hour twice, some name a time that no clock showed.
So the library is asked for times on the wall alone, without a zone, and the rule is applied here. It is the one that
EventBridge Scheduler documents: a time that is left out in spring is skipped, one that comes twice in autumn counts
once, the first time. Every answer is an instant that has not been before, whatever the wall shows.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from shared import zones
from shared.errors import BadSchedule

LIBRARY = "cronsim 2.8"
"""What reads expressions, kept with every schedule. Day of month and weekday both given: either is enough."""
CHARACTERS = 200
"""Longest expression."""
FURTHEST = timedelta(days=20 * 366)
"""How long a time may be that no clock shows before it never comes: the rarest, a leap day, is eight years off."""
LOOKED_AHEAD = 120
"""Instants that are looked at for the shortest time between two."""


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        BadSchedule: there is none of that name.
    """
    try:
        return zones.zone_of(name)
    except KeyError as error:
        shown = name.encode("ascii", "replace").decode()[:64]
        raise BadSchedule(f"there is no time zone {shown!r}; use a name as Europe/Berlin", param="timezone") from error


def instants(expression: str, zone: str, after: float) -> Iterator[float]:
    """Return the instants after ``after``, as epoch seconds, earliest first; none if it never comes round again.

    Raises:
        BadSchedule: the expression or the zone is none.
    """
    from cronsim import CronSim, CronSimError  # here: only what computes needs it

    where = zone_of(zone)
    fields = expression.split()
    if len(fields) != 5 or len(expression) > CHARACTERS:
        raise BadSchedule("must have five fields: minute, hour, day of month, month, weekday", param="cron")
    wall = datetime.fromtimestamp(after, where).replace(tzinfo=None)
    try:
        found = CronSim(" ".join(fields), wall)
    except CronSimError as error:
        raise BadSchedule(f"is no cron expression: {error}", param="cron") from error
    return _existing(found, where, after, wall)


def _existing(walls: Iterator[datetime], where: ZoneInfo, after: float, seen: datetime) -> Iterator[float]:
    for wall in walls:
        if wall - seen > FURTHEST:  # half past two on a day on which clocks are put forward, every year
            return
        at = wall.replace(tzinfo=where).timestamp()  # fold 0: the first of two
        if at > after and datetime.fromtimestamp(at, where).replace(tzinfo=None) == wall:
            seen = wall
            yield at


def next_after(expression: str, zone: str, after: float) -> float | None:
    """Return the first instant after ``after``. See ``instants`` for the errors."""
    return next(instants(expression, zone, after), None)


def shortest_gap(expression: str, zone: str, after: float) -> float | None:
    """Return the shortest time between two of the next instants, s; None if there are fewer than two.

    Raises:
        BadSchedule: the expression or the zone is none, or it never comes round.
    """
    found = list(islice(instants(expression, zone, after), LOOKED_AHEAD))
    if not found:
        raise BadSchedule("no day fits this expression", param="cron")
    return min((later - earlier for earlier, later in pairwise(found)), default=None)


def instant_of(text: str, zone: str) -> float:
    """Read a date and time: with an offset or ``Z``, or by the clock on the wall of the zone.

    Raises:
        BadSchedule: it is none, or no clock of the zone shows it.
    """
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            where = zone_of(zone)
            epoch = at.replace(tzinfo=where).timestamp()
            if datetime.fromtimestamp(epoch, where).replace(tzinfo=None) != at:
                raise BadSchedule("clocks are put forward over this time; it does not exist there", param="at")
            return round(epoch, 3)
        return round(at.timestamp(), 3)
    except (ValueError, OverflowError, OSError) as error:
        raise BadSchedule("must be a date and time as 2026-03-29T08:00:00Z", param="at") from error
