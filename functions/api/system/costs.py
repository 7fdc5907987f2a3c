"""What runs cost, added up from the days' counters of users."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from typing import Any

from functions.api.contract.problem import invalid
from shared import clock
from shared.tasks import costs, table
from shared.tasks.costs import Cost

MOST_DAYS = 400
"""Most days that one request may ask for."""
MOST_COUNTERS = 20_000
"""Most counters (one for each user and day) that one request adds up: about 200 reads, 5 MB."""
READERS = 8
"""Reads at once."""
_DAY_SECONDS = 86_400


def days_of(first: str | None, last: str | None, *, default: int) -> list[str]:
    """Return the UTC days of a period, both ends included; the last ``default`` days if nothing is said.

    Raises:
        Problem: 422, naming the parameter.
    """
    until = _day(last, "to") if last else _day(clock.day(clock.now()), "to")
    since = _day(first, "from") if first else until - (default - 1) * _DAY_SECONDS
    count = round((until - since) / _DAY_SECONDS) + 1
    if count < 1:
        raise invalid("must not be after `to`", "from")
    if count > MOST_DAYS:
        raise invalid(f"at most {MOST_DAYS} days can be asked for at once", "from")
    return [clock.day(since + n * _DAY_SECONDS) for n in range(count)]


def _day(text: str, name: str) -> float:
    try:
        at = clock.epoch(f"{text}T00:00:00+00:00")
    except ValueError:
        raise invalid("must be a day, like 2026-01-31", name) from None
    if not _DAY_SECONDS * MOST_DAYS <= at <= 250_000_000_000:
        raise invalid("must be a day of this age", name)
    return at


def counters(days: list[str], *, user: str | None, under: str | None = None) -> list[tuple[str, str]]:
    """Return which counters a request is about: a user's, or those of all who spent (of a service: ``under``).

    Raises:
        Problem: 422, they are too many.
    """
    if user is not None:
        return [(user, day) for day in days]
    found: list[tuple[str, str]] = []
    for day in days:
        for spender in costs.spenders(day, f"{under}/" if under else ""):
            found.append((spender, day))
            if len(found) > MOST_COUNTERS:
                why = f"more than {MOST_COUNTERS} users' days would have to be read: ask for fewer days at once"
                raise invalid(why, "from")
        if under is not None:
            found.append((under, day))
    return found


def add_up(wanted: list[tuple[str, str]], by: str) -> dict[str, Cost]:
    """Return what the counters say by ``user``, ``day`` or a kind of `costs.KINDS`."""
    found: dict[str, Cost] = {}
    for user, day, row in _read(wanted):
        named = costs.of_row(row, by) if by in costs.KINDS else {user if by == "user" else day: costs.total(row)}
        for name, cost in named.items():
            found[name] = found.get(name, costs.Cost()).plus(cost)
    return {name: cost for name, cost in found.items() if any(cost)}


def _read(wanted: list[tuple[str, str]]) -> Iterator[tuple[str, str, Any]]:
    parts = [list(part) for part in batched(wanted, table.READ_AT_ONCE, strict=False)]
    if len(parts) <= 1:
        yield from costs.read(wanted)
        return
    with ThreadPoolExecutor(READERS, thread_name_prefix="costs") as pool:
        for rows in pool.map(costs.read, parts):
            yield from rows


def shown(cost: Cost) -> dict[str, Any]:
    """Return a cost as clients see it."""
    return {"cost_usd": cost.micro_usd / 1_000_000, "tokens": cost.tokens, "runs": cost.runs}


def page(found: dict[str, Cost], by: str, *, limit: int, start: int) -> dict[str, Any]:
    """Return a page of groups: days in their order, anything else by what it cost, the dearest first."""
    order = sorted(found) if by == "day" else sorted(found, key=lambda name: (-found[name].micro_usd, name))
    groups = [{by: name, **shown(found[name])} for name in order[start : start + limit]]
    more = start + limit if start + limit < len(order) else None
    return {"total": shown(costs.summed(found.values())), "groups": groups, "next_cursor": more}
