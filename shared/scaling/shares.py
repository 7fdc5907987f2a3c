"""Dividing environments between lanes so that neither can starve the other.

Each lane owns a reserve that is never lent, because a loan could not be called back: a running environment is
not interrupted, so a lane that lent its last ones would wait for the other's longest run. What is left is a
pool, divided max-min fairly among the lanes that want more than their reserve.
"""

import math
from collections.abc import Mapping

from shared.limits import shares

RESERVED_SHARE = 0.2
"""A lane's own part of the whole."""
KEPT_SHARE = 0.1
"""The part of the whole that no lane gets in place of environments that end."""
AWS_LEAST = 2
"""Lambda's smallest ``MaximumConcurrency``."""
AWS_MOST = 1000
"""Lambda's largest ``MaximumConcurrency``."""


def floors(lanes: tuple[str, ...], least: int) -> dict[str, int]:
    """Split the least number of environments between lanes; each gets at least Lambda's minimum."""
    base, extra = divmod(least, len(lanes))
    return {lane: max(AWS_LEAST, base + (n < extra)) for n, lane in enumerate(lanes)}


def reserves(floor: Mapping[str, int], total: int) -> dict[str, int]:
    """Return each lane's own environments out of ``total``, which must cover the floors."""
    spare = total - sum(floor.values())
    return {lane: max(least, min(math.floor(total * RESERVED_SHARE), spare + least)) for lane, least in floor.items()}


def divide(wants: Mapping[str, int], floor: Mapping[str, int], total: int) -> dict[str, int]:
    """Give each lane what it wants, up to its reserve and a fair part of the pool: at most ``total``."""
    own = reserves(floor, total)
    given = {lane: min(want, own[lane]) for lane, want in wants.items()}
    more = shares.divide({lane: want - given[lane] for lane, want in wants.items()}, total - sum(own.values()))
    return {lane: size + more[lane] for lane, size in given.items()}


def replace_ending(wants: Mapping[str, int], given: Mapping[str, int], total: int) -> dict[str, int]:
    """Give lanes whose environments end what they want in their place, out of what nobody was given.

    A part of the whole stays: it could not be called back, and the other lane may need it in a moment.
    """
    more = {lane: max(0, want - given[lane]) for lane, want in wants.items()}
    got = shares.divide(more, max(0, total - math.floor(total * KEPT_SHARE) - sum(given.values())))
    return {lane: size + got[lane] for lane, size in given.items()}


def await_drain(
    given: Mapping[str, int],
    current: Mapping[str, int],
    busy: Mapping[str, int],
    floor: Mapping[str, int],
    total: int,
) -> dict[str, int]:
    """Let a lane grow out of the pool only as the others' running environments end.

    ``busy`` is what the lanes' runs may still hold. Reserved concurrency stays the hard limit.
    """
    own = reserves(floor, total)
    result = dict(given)
    for lane, size in given.items():
        if size > current[lane]:
            others = sum(max(given[other], busy[other]) for other in given if other != lane)
            result[lane] = max(min(size, total - others), min(size, own[lane]), current[lane])
    return result
