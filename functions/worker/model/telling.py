"""Tells of a reply's tool calls while the model writes them: one after the other, each by an id that stays.

Providers mix the pieces of parallel calls, give ids late or never, and say calls twice. Who watches gets none of that:
a call begins when the one before it is whole, and what was told is never taken back. Only where a provider says
something else in the end is the call recorded by another id than it was told by.
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class CallPiece(NamedTuple):
    """A piece of the arguments of a reply's nth tool call, counted from 0."""

    n: int
    id: str
    name: str
    text: str
    signed: bool = False
    """Whether its provider wants something back with it, or with its message."""


class ShownCall(NamedTuple):
    """What watchers saw of a tool call of a reply that was never recorded."""

    id: str
    name: str
    text: str


@dataclass(slots=True)
class WrittenCall:
    """A tool call as far as its provider wrote it."""

    index: object
    id: str = ""
    """The provider's."""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    shown_id: str = ""
    """By which it is told, and recorded."""
    told: int = 0
    """How many pieces of its arguments were told."""
    otherwise: bool = False
    """Its provider says something else now than was told."""
    _looked: tuple[int, bool] = (-1, False)

    @property
    def text(self) -> str:
        """Its arguments so far."""
        return "".join(self.arguments)

    @property
    def whole(self) -> bool:
        """Whether its arguments are JSON already, so that what follows belongs to another call."""
        try:
            json.loads(self.text)
        except (ValueError, RecursionError):
            return False
        return True

    @property
    def object(self) -> bool:
        """Whether its arguments are a whole JSON object, to which nothing can be added."""
        if self._looked[0] != len(self.arguments):  # once for all the pieces of the calls behind it
            self._looked = len(self.arguments), read_object(self.text) is not None
        return self._looked[1]

    def begin_again(self) -> None:
        """Forget the arguments so far."""
        self.otherwise = self.otherwise or self.told > 0
        self.arguments, self.told, self._looked = [], 0, (-1, False)

    def say_again(self, arguments: str) -> None:
        """Take whole arguments in the place of others that were whole; what is the same stays as it was said first."""
        if self.object and read_object(arguments) == read_object(self.text):
            return
        self.begin_again()
        self.arguments = [arguments]


def read_object(text: str) -> dict[str, Any] | None:
    """Read a whole JSON object; None if it is none."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        return dict(json.loads(text))
    except (ValueError, RecursionError):
        return None


class Telling:
    """What was told of one reply's calls."""

    def __init__(self, ear: Callable[[CallPiece], None] | None, before: Mapping[int, ShownCall]) -> None:
        """Start with nothing told; ``before`` is what was shown of an attempt that died, by number of the call."""
        self._ear = ear
        self._before = before
        self._taken = {shown.id for shown in before.values()}
        self._ids: set[str] = set()
        self._at = 0

    def look(self, calls: Sequence[WrittenCall]) -> None:
        """Tell what is new of the calls."""
        if self._ear is None:
            return
        while self._at < len(calls):
            call, more = calls[self._at], self._at + 1 < len(calls)
            ends = more and call.object
            self._tell(self._at, call, ends=ends)
            if not ends:
                return
            self._at += 1

    def end(self, calls: Sequence[WrittenCall]) -> None:
        """Tell the rest, and see to it that each call has an id of its own."""
        for n, call in enumerate(calls):
            if self._ear is not None:
                self._tell(n, call, ends=True)
            if not call.shown_id or call.otherwise:
                call.shown_id = self._own(call.id if not call.otherwise else "")

    def _tell(self, n: int, call: WrittenCall, *, ends: bool) -> None:
        text = "".join(call.arguments[call.told :])
        if call.otherwise or (call.shown_id and not text):
            return
        # Some say {} first, and what they mean in its place; and some begin a call before they know its name.
        if not call.shown_id and not ((call.name and text and text.strip() != "{}") or ends):
            return
        if not call.shown_id and not self._named(n, call, text, ends=ends):
            return
        call.told = len(call.arguments)
        assert self._ear is not None  # noqa: S101 - for the type checker
        self._ear(CallPiece(n, call.shown_id, call.name, text, bool(call.extra)))

    def _named(self, n: int, call: WrittenCall, text: str, *, ends: bool) -> bool:
        """Choose a call's id; False while it may turn out to be the one that was shown before."""
        before = self._before.get(n)
        if before is not None and before.name == call.name and before.id not in self._ids:
            if text.startswith(before.text):
                call.shown_id = before.id
                self._ids.add(before.id)
                return True
            if before.text.startswith(text) and not ends:
                return False
        call.shown_id = self._own(call.id)
        return True

    def _own(self, call_id: str) -> str:
        """Return a call's id; one without, or with that of another, gets one of ours, which is recorded."""
        if not call_id or call_id in self._ids or call_id in self._taken:
            call_id = "c" + secrets.token_hex(4)
        self._ids.add(call_id)
        return call_id


class Ears(NamedTuple):
    """Who is told of the pieces of a reply as they come."""

    text: Callable[[str], None]
    reasoning: Callable[[str], None]
    tool: Callable[[str], None]
    """Of names and arguments of tool calls, to count them."""
    call: Callable[[CallPiece], None] | None = None
    """Of the arguments of tool calls, to show them."""
    before: Mapping[int, ShownCall] = {}
    """What was shown of the tool calls of an attempt that died, by their numbers."""


def _nothing(_: str) -> None:
    """Take no notice."""


DEAF = Ears(_nothing, _nothing, _nothing)
"""Nobody."""
