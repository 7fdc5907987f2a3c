"""Max-min fairness among owners: the one rule by which everything that is shared is shared.

An *owner* is a user; for a trusted service it is the service, however many users it names. Whatever is shared (slots of
a lane, submits a second, places in the queue, held requests, page fetches, webhook deliveries) has a capacity, the one
that exists now. An owner alone may use all of it. When another comes, its fair share is at once within its reach:

- what cannot be taken back (a task in the queue, a request let in) is let in above the capacity as long as its owner is
  below its share, up to `OVERDRAFT` times the capacity in all; whoever is above its share waits until the whole is
  below the capacity again;
- what can be taken back (a slot, a held request) is given back by whoever holds the most, one for each that waits.

``lua/common.lua`` holds the same arithmetic for the scripts (`may_take`); a test compares the two.
"""

from collections.abc import Iterable, Mapping

OVERDRAFT = 2
"""Most that is in use of something, as a multiple of its capacity, while owners below their share are let in."""


def owner_of(user: str) -> str:
    """Return the owner that a user counts for: itself, or the trusted service that acts for it (``service/user``)."""
    return user.partition("/")[0]


def fair_share(capacity: int, owners: int) -> int:
    """Return what each of so many owners may have at least, if it wants that much."""
    return capacity // max(1, owners)


def divide(wants: Mapping[str, int], capacity: int) -> dict[str, int]:
    """Divide max-min fairly, in whole units: nobody can have more but from one that has no more than itself.

    What does not divide evenly goes to the first that want it.
    """
    given = dict.fromkeys(wants, 0)
    hungry = [owner for owner, want in wants.items() if want > 0]
    left = capacity
    while hungry and left > 0:
        part = left // len(hungry)
        for owner in hungry if part else hungry[:left]:
            more = min(max(part, 1), wants[owner] - given[owner])
            given[owner] += more
            left -= more
        hungry = [owner for owner in hungry if given[owner] < wants[owner]]
    return given


def may_take(mine: int, total: int, owners: int, capacity: int) -> bool:
    """Tell whether an owner that uses ``mine`` of ``total`` may take one more; ``owners`` counts all that are there.

    For what cannot be taken back.
    """
    if total < capacity:
        return True
    return mine < fair_share(capacity, owners) and total < OVERDRAFT * capacity


def gives_back(mine: int, theirs: int) -> bool:
    """Tell whether an owner that holds ``mine`` owes one to another that waits and holds ``theirs``."""
    return theirs + 1 < mine


def first(waiting: Iterable[str], uses: Mapping[str, int]) -> str | None:
    """Return which of the owners that wait is to have what came free: the one that uses least, of several the first."""
    return min(waiting, key=lambda owner: uses.get(owner, 0), default=None)
