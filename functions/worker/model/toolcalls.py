"""Puts the tool calls of a reply together from their pieces, however a provider numbers and names these."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from functions.worker.model.handback import clean, merge
from functions.worker.model.telling import Telling, WrittenCall, read_object
from shared import storable
from shared.retry import ModelError
from sluice.types import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from functions.worker.model.telling import CallPiece, ShownCall

MAX_TOOL_CALLS = 128
"""Tool calls of one reply; OpenAI lets a request define as many tools."""
_KNOWN = frozenset({"index", "id", "type", "function"})


def _continues(last: WrittenCall, name: str, arguments: str | None) -> bool:
    """Tell whether a piece with another id goes on with a call: some give each piece an id of its own."""
    if (name and name != last.name) or not arguments or last.whole:
        return False
    return bool(last.text.strip()) or not (name and read_object(arguments) is not None)


class ToolCalls:
    """The calls of one reply, in the order in which they began."""

    def __init__(
        self,
        grow: Callable[[str], None],
        ear: Callable[[CallPiece], None] | None = None,
        before: Mapping[int, ShownCall] | None = None,
    ) -> None:
        """Start empty; ``grow`` is told each piece of a name or of arguments, and ``ear`` as `Telling` says."""
        self._calls: list[WrittenCall] = []
        self._grow = grow
        self._telling = Telling(ear, before or {})

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self._calls)

    def take(self, piece: dict[str, Any]) -> None:
        """Take one entry of ``tool_calls``.

        Raises:
            ModelError: there are too many.
            TypeError, AttributeError: it is none.
        """
        function = piece.get("function") or {}
        call_id, name, arguments = piece.get("id") or "", function.get("name") or "", function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)  # as an object, not as its text
        call = self._find(piece.get("index"), str(call_id), str(name), arguments)
        call.id = call.id or storable.text(str(call_id))
        if name and name != call.name:  # some repeat it in every piece
            call.name += storable.text(str(name))
            self._grow(storable.text(str(name)))
        if arguments:
            arguments = storable.text(arguments)
            if read_object(arguments) is not None and call.object:  # some repeat the whole call at its end
                call.say_again(arguments)
            else:
                call.arguments.append(arguments)
            self._grow(arguments)
        for key, value in piece.items():
            if key not in _KNOWN and value not in (None, "", [], {}):
                call.extra[key] = merge(call.extra.get(key), clean(value))
        self._telling.look(self._calls)

    def _find(self, index: object, call_id: str, name: str, arguments: str | None) -> WrittenCall:
        """Return the call that a piece belongs to: what has an id of its own, or begins anew, is a call of its own."""
        if call_id:
            for call in self._calls:
                if call.id == call_id and (call.index == index or index is None):
                    return call
        last = self._last(index)
        if last is None:
            return self._begin(index)
        if call_id and last.id and last.id != call_id:
            return last if _continues(last, name, arguments) else self._begin(index)
        if name and last.name and (last.arguments or name == last.name or index is None):
            again = name == last.name and not last.whole  # a name that is repeated in every piece
            return last if again else self._begin(index)
        return last

    def _last(self, index: object) -> WrittenCall | None:
        """Return the newest call of a number; without numbers, the newest."""
        for call in reversed(self._calls):
            if index is None or call.index == index:
                return call
        return None

    def _begin(self, index: object) -> WrittenCall:
        if len(self._calls) >= MAX_TOOL_CALLS:
            raise ModelError("the reply calls too many tools", status=200, code="reply_too_long")
        self._calls.append(WrittenCall(index))
        return self._calls[-1]

    def calls(self) -> list[ToolCall]:
        """Return them, in the order in which they began, once no more comes."""
        self._telling.end(self._calls)
        return [ToolCall(call.shown_id, call.name, call.text, call.extra or None) for call in self._calls]
