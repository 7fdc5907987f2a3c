"""A run's text as its watcher may have it: one piece a model call, and what becomes of it when a call is void.

A fold over the run's log without any other input: whoever reads the log again gets the same operations, so a stream
that was cut goes on exactly where it stopped. When a call is made once more after a crash, and says what it said
before, its text simply goes on; else what was shown of it is broken off, and the new text is a piece of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Begin(NamedTuple):
    """Piece ``n`` begins."""

    n: int


class Delta(NamedTuple):
    """Piece ``n`` goes on."""

    n: int
    text: str


class End(NamedTuple):
    """Piece ``n`` ends; not ``whole``: it was broken off and is not part of the answer."""

    n: int
    text: str
    whole: bool


type Operation = Begin | Delta | End


@dataclass(slots=True)
class Piece:
    """What was shown of one call."""

    n: int
    text: str = ""


@dataclass(slots=True)
class Segments:
    """The pieces of one run."""

    began: int = 0
    _open: dict[str, Piece] = field(default_factory=dict)
    """By call: still being written."""
    _stand: list[Piece] = field(default_factory=list)
    """Recorded, not yet shown as ended: one of them may be the answer."""
    _void: dict[str, Piece] = field(default_factory=dict)
    """By step: shown, and void; the call that is made in its place may say the same."""
    _again: dict[str, str] = field(default_factory=dict)
    """By call: what a call in the place of a void one said so far, all of it shown before."""

    def token(self, call: str, text: str) -> list[Operation]:
        """Take a piece of a call's text."""
        piece = self._open.get(call)
        if piece is not None:
            piece.text += text
            return [Delta(piece.n, text)]
        void = self._void.get(step_of(call))
        if void is None:
            return self._begin(call, text)
        said = self._again.get(call, "") + text
        if void.text.startswith(said):
            self._again[call] = said
            return []
        self._again.pop(call, None)
        del self._void[step_of(call)]
        if not said.startswith(void.text):
            return [End(void.n, void.text, whole=False), *self._begin(call, said)]
        rest, void.text = said[len(void.text) :], said
        self._open[call] = void
        return [Delta(void.n, rest)]

    def _begin(self, call: str, text: str) -> list[Operation]:
        ended: list[Operation] = [End(piece.n, piece.text, whole=True) for piece in self._stand]
        self._stand.clear()
        piece = self._open[call] = Piece(self.began, text)
        self.began += 1
        return [*ended, Begin(piece.n), Delta(piece.n, text)]

    def recorded(self, call: str) -> list[Operation]:
        """Note that a call's reply is recorded: its text stands."""
        operations: list[Operation] = []
        said = self._again.pop(call, None)
        if said is not None:
            void = self._void.pop(step_of(call))
            if said == void.text:
                self._open[call] = void
            else:  # it says less than was shown
                operations = [End(void.n, void.text, whole=False), *self._begin(call, said)]
        piece = self._open.pop(call, None)
        if piece is not None:
            self._stand.append(piece)
        return operations

    def void(self, calls: Iterable[str]) -> None:
        """Note that calls are void."""
        for call in calls:
            self._again.pop(call, None)
            piece = self._open.pop(call, None)
            if piece is not None:
                self._void[step_of(call)] = piece

    def standing(self) -> list[int]:
        """Return the pieces that are not void: shown as going on, whether or not their reply is recorded."""
        return [piece.n for piece in (*self._stand, *self._open.values())]

    def answered(self, response: str) -> tuple[list[Operation], Piece | None]:
        """End all pieces but the one whose text the answer begins with, which is returned: completed, not ended."""
        standing, void = [*self._stand, *self._open.values()], [*self._void.values()]
        answer = next((piece for piece in [*reversed(standing), *void] if response.startswith(piece.text)), None)
        operations: list[Operation] = [
            End(piece.n, piece.text, whole=piece in standing) for piece in [*standing, *void] if piece is not answer
        ]
        self._clear()
        if answer is None:
            return operations, None
        if response != answer.text:
            operations.append(Delta(answer.n, response[len(answer.text) :]))
            answer.text = response
        return operations, answer

    def broken(self) -> list[Operation]:
        """End all pieces: the run ended without an answer."""
        pieces = [*self._stand, *self._open.values(), *self._void.values()]
        self._clear()
        return [End(piece.n, piece.text, whole=False) for piece in pieces]

    def _clear(self) -> None:
        self._stand.clear()
        self._open.clear()
        self._void.clear()
        self._again.clear()


def step_of(call: str) -> str:
    """Return the step of a call: its id less the number of the lease that it was made under."""
    return call.rpartition(".")[0]
