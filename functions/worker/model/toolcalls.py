"""Puts the tool calls of a reply together from their pieces, however a provider numbers and names these."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from functions.worker.model.contents import Halves, clean, merge
from functions.worker.model.telling import CallPiece, ShownCall, Telling, WrittenCall, read_object
from shared import storable
from shared.retry import ModelError
from sluice.types import ToolCall

MAX_TOOL_CALLS = 128
"""Tool calls of one reply; OpenAI lets a request define as many tools."""
_KNOWN = frozenset({"index", "id", "type", "function"})
_FLAT = _KNOWN | {"name", "arguments", "parameters", "input"}
_FENCE = re.compile(r"```(?:json)?\s*+(\{.*\})\s*```", re.S)
"""Arguments as small models write them: as code in a text."""
_HOLLOW = frozenset({"{}", "null"})
"""Arguments that may stand there only because something has to."""


def _arguments(function: dict[str, Any]) -> Any:
    """Return the arguments of a call: some have other names for them, and no texts then."""
    if (given := function.get("arguments")) is not None:
        return given
    return next((function[name] for name in ("parameters", "input") if isinstance(function.get(name), dict)), None)


def _plain(name: Any) -> str:
    """Return a tool's name without what some write around it: spaces, and marks of a model's own (vLLM's gpt-oss)."""
    return str(name or "").partition("<|")[0].strip()


def _meant(call: WrittenCall) -> str | None:
    """Return what arguments mean that are no object as they stand: each piece was all so far, or they are quoted."""
    if call.object or not call.arguments:
        return None
    if read_object(call.arguments[-1]) is not None and not call.whole:
        return call.arguments[-1]
    if (fenced := _FENCE.fullmatch(call.text.strip())) is not None and read_object(fenced[1]) is not None:
        return fenced[1]
    if not call.text.lstrip().startswith('"') or not call.whole:
        return None
    inner = str(json.loads(call.text))
    return inner if read_object(inner) is not None else None


def _number(index: object) -> object:
    """Return the number of a call, which a few write as a text."""
    return int(index) if isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < 4 else index


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
        self._halves: dict[int, Halves] = {}
        """By its call's identity: these live as long as this does."""
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
        function = piece.get("function") or (piece if "name" in piece else {})  # some leave the inner object out
        call_id, name, arguments = piece.get("id") or "", _plain(function.get("name")), _arguments(function)
        if arguments is not None and not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)  # as an object, not as its text
        call = self._find(_number(piece.get("index")), str(call_id), name, arguments)
        call.id = call.id or storable.text(str(call_id))
        if name and name != call.name:  # some repeat it in every piece
            name = storable.text(name)
            call.name = name if name.startswith(call.name) else call.name + name  # or as far as it is known
            self._grow(name)
        if arguments:
            arguments = storable.text(self._halves.setdefault(id(call), Halves()).join(arguments))
            if call.text.strip() in _HOLLOW and arguments.lstrip().startswith("{"):
                call.begin_again()  # some say {} first, and then what they mean
            if read_object(arguments) is not None and call.object:  # some repeat the whole call at its end
                call.say_again(arguments)
            else:
                call.arguments.append(arguments)
            self._grow(arguments)
        for key, value in piece.items():
            if key not in (_FLAT if function is piece else _KNOWN) and value not in (None, "", [], {}):
                call.extra[key] = merge(call.extra.get(key), clean(value))
        self._telling.look(self._calls)

    def _find(self, index: object, call_id: str, name: str, arguments: str | None) -> WrittenCall:
        """Return the call that a piece belongs to: what has an id of its own, or begins anew, is a call of its own."""
        if call_id:
            for call in self._calls:
                if call.id == call_id and (call.index == index or index is None):
                    other = index is None and name and call.whole and not name.startswith(call.name)
                    return self._begin(index) if other and name not in call.name else call
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
        self._calls = [call for call in self._calls if call.name]  # what calls nothing is no call
        for call in self._calls:
            if (meant := _meant(call)) is not None:
                call.say_again(meant)
        self._telling.end(self._calls)
        return [ToolCall(call.shown_id, call.name, call.text, call.extra or None) for call in self._calls]
