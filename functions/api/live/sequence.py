"""One sequence of a run's events, out of what the log has and what is heard: numbers show gaps and repeats.

The text of a token event may come in pieces before the event is stored.
"""

from dataclasses import dataclass, replace

from shared.tasks import events
from shared.tasks.events import Event


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


@dataclass(frozen=True, slots=True)
class LogEvent:
    """An event of the log, or a part of a token event's text: ``event.data["text"]`` is then only what is new."""

    event: Event
    place: Place
    """Where one is behind it."""

    @property
    def whole(self) -> bool:
        """Whether this is the event's end."""
        return self.place.chars == 0


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Nothing has happened for a while."""


@dataclass(frozen=True, slots=True)
class End:
    """The last thing yielded: the run has ended with ``status``, or the stream has lived as long as it may (None)."""

    status: str | None
    place: Place


class Cursor:
    """Puts what the log has and what is heard into one sequence."""

    def __init__(self, after: Place) -> None:
        self.place = after

    def take(self, event: Event) -> LogEvent | None:
        """Take a stored event; None if it was had before.

        Raises:
            LookupError: it is not the next one.
        """
        if not self._is_next(event):
            return None
        had, self.place = self.place.chars, Place(event.seq)
        if had and events.is_written(event):
            text = str(event.data.get("text", ""))
            event = replace(event, data=event.data | {"text": text[had:]})
        # Else it is another event than the one whose text was had: that was never stored, and this one voids it.
        return LogEvent(event, self.place)

    def take_piece(self, event: Event) -> LogEvent | None:
        """Take the text so far of an event that will be stored; None if there is nothing new in it.

        Raises:
            LookupError: events before it are missing.
        """
        if not self._is_next(event):
            return None
        new = str(event.data["text"])[self.place.chars :]
        if not new:
            return None
        self.place = Place(self.place.seq, self.place.chars + len(new))
        return LogEvent(replace(event, data=event.data | {"text": new}), self.place)

    def _is_next(self, event: Event) -> bool:
        """Whether an event is the one that follows; not if it was had before."""
        if event.seq > self.place.seq + 1:
            raise LookupError(event.seq)
        return event.seq == self.place.seq + 1
