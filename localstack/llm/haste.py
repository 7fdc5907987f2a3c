"""Calls that are told to take no more time: a test says when a slow one ends, and need not guess how long it lasts."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

KEYS_KEPT = 10_000
"""Keys that are remembered; one more, and the oldest is forgotten."""


class Haste:
    """The keys that are in a hurry, and who waits for the time of a call."""

    def __init__(self) -> None:
        """Starts with nobody in a hurry."""
        self._keys: dict[str, None] = {}
        self._waiting: defaultdict[str, set[Callable[[], None]]] = defaultdict(set)

    def __contains__(self, key: str) -> bool:
        """Whether the calls of a key take no time."""
        return key in self._keys

    def hurry(self, key: str) -> int:
        """Ends the waits of a key's calls, those under way and those to come; returns how many were under way."""
        if key not in self._keys and len(self._keys) >= KEYS_KEPT:
            del self._keys[next(iter(self._keys))]
        self._keys[key] = None
        waiting = list(self._waiting.get(key, ()))
        for wake in waiting:
            wake()
        return len(waiting)

    @contextmanager
    def wakes(self, key: str, wake: Callable[[], None]) -> Iterator[None]:
        """Has a call's wait ended by `hurry`, for as long as the context lasts."""
        self._waiting[key].add(wake)
        try:
            yield
        finally:
            self._waiting[key].discard(wake)
            if not self._waiting[key]:
                del self._waiting[key]

    def reset(self) -> None:
        """Forgets the keys; calls under way go on as they were asked to."""
        self._keys.clear()
