"""Puts a chat completion together from the bytes of its server-sent events, or of its one JSON object.

What came is told by its first byte, not by what was asked for: some gateways stream always, and some never. Lines end
at a line feed only: readers of text lines also split at U+2028 and U+0085, which JSON may hold as they are.
"""

import itertools
import json
from enum import Enum
from typing import Any

from functions.worker.model import finish as ends
from functions.worker.model import read_json, refusal
from functions.worker.model.assembler import Parts
from functions.worker.model.progress import Progress
from functions.worker.model.telling import DEAF, Ears
from shared.retry import ModelError
from sluice.types import ModelReply

__all__ = ["DEAF", "LINE_BYTES", "Assembler", "Ears", "WholeReply"]

LINE_BYTES = 4_000_000
"""Longest line of the stream, and longest answer in one piece."""
PAGE_BYTES = 64 * 1024
"""How much of an answer that is no JSON at all is read for its words."""
_DONE = frozenset({b"[DONE]", b'"[DONE]"', b"DONE", b"[DONE].", b"[END]", b"[EOF]", b"[FINISHED]", b"[STOP]"})
_LAST = frozenset({"done", "end", "complete", "close", "finish"})
"""Names of an event after which nothing comes."""
_BEFORE = b" \t\r\n\xef\xbb\xbf\x1e"
"""White space, a byte order mark, and what begins a record of a JSON text sequence (RFC 7464)."""


class _Kind(Enum):
    STREAM = "stream"
    WHOLE = "whole"
    PAGE = "page"


class Assembler:
    """Collects the chunks of one reply."""

    _unseen = False
    """Whether a reply that cannot be read may have been written, and is billed, without anything of it being seen."""

    def __init__(self, model: str, ears: Ears, progress: Progress, most_tokens: int | None = None) -> None:
        """Start empty; ``progress`` is what is charged by if the provider reports no usage.

        A reply that passes ``most_tokens`` is cut there: it ends as ``length``, whatever the provider was told.
        """
        self._parts = Parts(model, ears, progress, most_tokens)
        self._kind: _Kind | None = None
        self._rest = b""
        self._joined = b""
        """Lines of an event that are only together JSON."""
        self._bare = False
        """Whether those lines are not in the form of an event."""
        self._event = ""
        self._noise = b""
        """The first data that nobody understood."""
        self.done = False
        """The stream said that it is complete, or it is cut."""

    @property
    def cut(self) -> bool:
        """Whether we ended the reply, not the provider."""
        return self._parts.cut

    @property
    def finished(self) -> bool:
        """Whether the model has ended its reply, though the answer may not have."""
        if self._kind is _Kind.WHOLE:
            return read_json.read(self._rest) is not None
        return self.done or self._parts.ended

    @property
    def nothing(self) -> bool:
        """Whether a stream brought nothing at all, though it ended well: not even what was used."""
        parts, unread = self._parts, self._rest.strip() or self._joined or self._noise
        if self._kind not in (None, _Kind.STREAM) or unread:
            return False
        return parts.empty and not parts.counted and parts.finish in (None, ends.STOP)

    def feed(self, data: bytes) -> None:
        """Take some bytes of the answer.

        Raises:
            ModelError: they are no chunks, too many, or the provider reports an error in the middle.
        """
        if self._kind is None:
            data = (self._rest + data).lstrip(_BEFORE)
            self._rest = b""
            if not data:
                return
            self._kind = _kind_of(data)
        if self._kind is _Kind.STREAM:
            self._feed_lines(data)
            return
        if self.done:
            return
        self._rest += data
        if self._kind is _Kind.PAGE and len(self._rest) > PAGE_BYTES:
            self.done = True
        elif len(self._rest) > LINE_BYTES:
            raise ModelError("the reply is too long", status=200, code="reply_too_long", unseen=self._unseen)

    def _feed_lines(self, data: bytes) -> None:
        data = self._rest + data
        if b"\r" in data:
            data, held = (data[:-1], b"\r") if data.endswith(b"\r") else (data, b"")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        *lines, self._rest = data.split(b"\n")
        for line in lines:
            if self.done:
                self._late(line)
            else:
                self._line(line)
        if self.done and len(self._rest) > PAGE_BYTES:
            self._rest = b""
        if len(self._rest) > LINE_BYTES:
            raise ModelError("the provider sent an endless line", status=200, code="reply_too_long")

    def _late(self, line: bytes) -> None:
        """Take from what comes behind the end only what was used; some tell it there."""
        if b'"usage' in line and line.startswith(b"data:") and not self.cut:
            value = read_json.read(line[5:].strip())
            if isinstance(value, dict):
                self._parts.count_late(value)

    def _line(self, line: bytes) -> None:
        if self._joined and self._bare and line.strip():  # JSON in several lines, behind comments
            if line[:1] in (b"}", b"]"):
                self._data(line)
            else:
                self._joined += b"\n" + line
            if len(self._joined) > LINE_BYTES:
                raise ModelError("the reply is too long", status=200, code="reply_too_long")
            return
        if not line:
            self._end_event()
        elif line.startswith(b"data:"):
            data = line[5:].strip()
            while data.startswith(b"data:"):  # a proxy packed it once more
                data = data[5:].strip()
            self._data(data)
        elif line.startswith(b"{"):  # some report an error without the form of an event
            self._data(line)
            self._bare = bool(self._joined)
        elif line.startswith(b"error:"):  # llama.cpp's server did for long
            self._event = "error"
            self._data(line[6:].strip())
        elif line[:1] in b" \t" and line.lstrip().startswith(b"data:"):
            self._line(line.lstrip())
        elif line.startswith(b"event:"):
            self._event = line[6:].strip().decode("utf-8", "replace")
        elif not line.strip():
            self._end_event()
        elif not line.startswith((b":", b"id:", b"retry:")):
            self._noise = self._noise or line

    def _data(self, data: bytes) -> None:
        if _is_done(data) or (self._event.lower() in _LAST and data in (b"", b"{}")):
            self._end_event()
            self.done = self._parts.said_done = True
            return
        if not data:  # keeps the connection alive
            return
        if self._joined:
            data = self._joined + b"\n" + data
        value = read_json.read(data)
        if value is None and data[-1:] in b"}]" and (several := read_json.several(data)):
            self._joined = b""
            for value in several:
                self._take(value)
        elif value is not None:
            self._joined = b""
            self._take(value)
        elif self._parts.whole:
            return  # a usage in pieces, or the like
        elif data[:1] in b"{[":
            self._joined = data  # the event may have more lines
            if len(data) > LINE_BYTES:
                raise ModelError("the provider sent an endless line", status=200, code="reply_too_long")
        elif self._event == "error":
            raise refusal.read(data, 200, {}, unseen=self._unseen)
        else:
            self._noise = self._noise or data

    def _end_event(self) -> None:
        if self._joined:
            raise self._malformed("the provider sent a malformed chunk: no JSON")
        self._event, self._bare = "", False

    def _take(self, value: Any) -> None:
        whole = self._parts.whole
        if isinstance(value, str) and value[:1] == "{":  # JSON as the text of JSON
            value = read_json.read(value.encode("utf-8", "replace"))
        try:
            if self._event == "error" and isinstance(value, dict) and "choices" not in value and "error" not in value:
                value = {"error": value}
            if not self._parts.take(value):
                self._noise = self._noise or json.dumps(value).encode()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if whole:
                return
            raise self._malformed(f"the provider sent a malformed chunk: {type(error).__name__}") from error
        except ModelError as error:
            if whole and error.code != "reply_too_long":
                return  # what was to come after a reply that is paid for and needs nothing more
            error.unseen = error.unseen or (self._unseen and error.code == "reply_too_long")
            raise
        self.done = self.done or self._parts.cut

    def _malformed(self, message: str) -> ModelError:
        return ModelError(message, status=200, unseen=self._unseen)

    def reply(self) -> ModelReply:
        """Return the whole reply.

        Raises:
            ModelError: it is none, reports an error, ended early, or a content filter ended it.
        """
        rest, self._rest = self._rest, b""
        if self._kind is _Kind.PAGE:
            raise refusal.page(rest, 200, unseen=self._unseen)
        if self._kind is _Kind.WHOLE and not self.done:
            self._take_whole(rest)
        elif rest.strip() and not self.done:  # the last line may lack its end
            self._line(rest.rstrip(b"\r"))
        if self._joined and not self.done:
            raise self._malformed("the provider sent a malformed chunk: no JSON")
        if self._noise and self._parts.empty:
            raise refusal.read(self._noise, 200, {}, unseen=self._unseen)
        try:
            return self._parts.reply(whole=self._kind is _Kind.WHOLE)
        except ModelError as error:
            if self._noise and error.code == "truncated_reply" and (said := refusal.said(self._noise)):
                error = ModelError(f"{error.message} ({said})", status=200, code=error.code)
            error.unseen = error.unseen or (self._unseen and error.code == "truncated_reply")
            raise error from None

    def _take_whole(self, data: bytes) -> None:
        value = read_json.read(data)
        if value is not None:
            self._take(value)
            return
        lines = [line.strip(b"\x1e \t\r") for line in data.split(b"\n")]
        lines = [line for line in lines if line and not _is_done(line)]
        read = list(itertools.takewhile(lambda value: value is not None, map(read_json.read, lines)))
        if len(lines) < 2 or not read:
            raise self._malformed("the provider's answer is malformed: no JSON")
        for value in read:  # of a stream that is cut, all that came
            self._take(value)
        self._kind = _Kind.STREAM


class WholeReply(Assembler):
    """Reads a reply that was not to be streamed: one JSON object, of ``LINE_BYTES`` at most."""

    _unseen = True


def _kind_of(data: bytes) -> _Kind:
    if data[:1] in b"{[":
        return _Kind.WHOLE
    return _Kind.PAGE if data[:1] == b"<" else _Kind.STREAM


def _is_done(data: bytes) -> bool:
    return len(data) < 12 and data.upper() in _DONE
