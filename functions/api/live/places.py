"""Where in a run's sequence of events a client is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a run's sequence: behind event ``seq`` and ``chars`` characters of the token event that follows it."""

    seq: int = 0
    chars: int = 0

    def __str__(self) -> str:
        """Return ``12`` or ``12.340``; `place` reads it."""
        return f"{self.seq}.{self.chars}" if self.chars else str(self.seq)


def place(text: str) -> Place:
    """Read a place.

    Raises:
        ValueError: it is none.
    """
    seq, _, chars = text.strip().partition(".")
    for digits in (seq, chars or "0"):
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 9):
            raise ValueError(f"{text[:40]!r} is no place in a run's events")
    return Place(int(seq), int(chars or "0"))
