"""The client's tool calls as its stream shows them while the model writes them, and what becomes of them when one dies.

Like `segments`, a fold over the run's log without any other input. A model call that is made again after a crash may
write the same tool call once more: then it has the same id (the worker sees to that), and what was shown goes on. Else
what was shown is broken off, and the new one is a call of its own. A call ends only with the answer that holds it:
before that its run may still be taken over, and a client that acted on it would act on nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from functions.api.dialect.segments import step_of

EVENT = "tool_arguments"
"""Type of the log's event that holds a piece of a call's arguments."""


@dataclass(slots=True, eq=False)
class Shown:
    """What was shown of one tool call; ``n`` counts those of the stream."""

    n: int
    id: str
    name: str
    text: str = ""


class Begin(NamedTuple):
    """A call begins; its arguments follow."""

    call: Shown


class Delta(NamedTuple):
    """A call's arguments go on."""

    call: Shown
    text: str


class End(NamedTuple):
    """A call ends; not ``whole``: it was broken off and is not part of the answer."""

    call: Shown
    whole: bool


type Operation = Begin | Delta | End


@dataclass(slots=True)
class Called:
    """The tool calls of one run's stream."""

    most: int | None = None
    """The client wants so many calls of an answer; further ones are never shown."""
    began: int = 0
    _open: dict[tuple[str, str], Shown] = field(default_factory=dict)
    """By model call and id: being written, or recorded and not yet ended."""
    _places: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    """Of each of these: its step, and its number in the reply."""
    _void: dict[tuple[str, int], Shown] = field(default_factory=dict)
    """By step and number: shown, and void; the model call that is made in its place may write the same."""
    _again: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """By model call and id: name of one in the place of a void one, and what it has so far, all of it shown before."""

    def take(self, data: dict[str, Any]) -> list[Operation]:
        """Take an event's piece of a call's arguments."""
        call, number, text, name = data["call"], data["n"], data["text"], data["tool"]
        key, place = (call, data["id"]), (step_of(call), number)
        shown = self._open.get(key)
        if shown is not None:
            return self._grow(shown, text)
        if self.most is not None and number >= self.most:
            return []
        self._places[key] = place
        void = self._void.get(place)
        if void is None:
            return self._begin(key, name, text)
        said = self._again.get(key, ("", ""))[1] + text
        if (void.id, void.name) == (key[1], name):
            if said.startswith(void.text):
                self._again.pop(key, None)
                self._open[key] = self._void.pop(place)
                return self._grow(void, said[len(void.text) :])
            if void.text.startswith(said):
                self._again[key] = name, said
                return []
        self._again.pop(key, None)
        return [End(self._void.pop(place), whole=False), *self._begin(key, name, said)]

    def _begin(self, key: tuple[str, str], name: str, text: str) -> list[Operation]:
        shown = self._open[key] = Shown(self.began, key[1], name)
        self.began += 1
        return [Begin(shown), *self._grow(shown, text)]

    def _grow(self, shown: Shown, text: str) -> list[Operation]:
        shown.text += text
        return [Delta(shown, text)] if text else []

    def recorded(self, call: str) -> list[Operation]:
        """Note that a model call's reply is recorded: what its step showed before and it does not hold is void."""
        again = {key: self._again.pop(key) for key in [*self._again] if key[0] == call}
        gone = [place for place in self._void if place[0] == step_of(call)]
        operations: list[Operation] = [End(self._void.pop(place), whole=False) for place in gone]
        for key, (name, said) in again.items():
            operations += self._begin(key, name, said)
        return operations

    def void(self, calls: Iterable[str]) -> None:
        """Note that model calls are void."""
        gone = set(calls)
        for key in [key for key in self._again if key[0] in gone]:
            del self._again[key]
        for key in [key for key in self._open if key[0] in gone]:
            self._void[self._places[key]] = self._open.pop(key)

    def answered(self, calls: Sequence[dict[str, Any]]) -> list[Operation]:
        """End all: those of the answer are whole. What of them was not shown yet is."""
        standing = {shown.id: shown for shown in self._open.values()}
        kept: list[tuple[Shown, str]] = []
        missing: list[dict[str, Any]] = []
        operations: list[Operation] = []
        for call in calls:
            shown = standing.get(call["id"])
            if shown is None or shown.name != call["name"] or not call["arguments"].startswith(shown.text):
                missing.append(call)
                continue
            del standing[call["id"]]
            kept.append((shown, call["arguments"][len(shown.text) :]))
        for broken in [*self._open.values(), *self._void.values()]:
            if all(broken is not shown for shown, _ in kept):
                operations.append(End(broken, whole=False))
        for shown, rest in kept:
            operations += [*self._grow(shown, rest), End(shown, whole=True)]
        self._clear()
        for call in missing:
            operations += self._begin(("", call["id"]), call["name"], call["arguments"])
            operations.append(End(self._open.pop(("", call["id"])), whole=True))
        return operations

    def broken(self) -> list[Operation]:
        """End all: the run ended without an answer."""
        ended: list[Operation] = [End(shown, whole=False) for shown in [*self._open.values(), *self._void.values()]]
        self._clear()
        return ended

    def _clear(self) -> None:
        for kept in (self._open, self._places, self._void, self._again):
            kept.clear()
