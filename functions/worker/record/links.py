"""What stands behind an error: the members of a group, and what it was raised from."""

from collections.abc import Callable, Iterable, Iterator

MOST_LINKS = 100
"""Errors that are looked at."""


def links(
    error: BaseException, follow: Callable[[BaseException], Iterable[BaseException | None]]
) -> Iterator[BaseException]:
    """Yield an error and all that stands behind it: the members of groups, and what ``follow`` names of each."""
    left, seen = [error], set[int]()
    while left and len(seen) < MOST_LINKS:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        left += filter(None, follow(one))
        if isinstance(one, BaseExceptionGroup):
            left += reversed(one.exceptions)
