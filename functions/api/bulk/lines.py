"""The lines of a batch's file: read by ranges, held against what a line must be, and turned into what is to be run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.api.contract.problem import invalid
from functions.api.door.body import decode_any
from shared.bulk import objects
from shared.errors import NotFound

if TYPE_CHECKING:
    from functions.api.door.identity import Caller
    from functions.api.submit.submission import Submission
    from shared.bulk.model import Line

RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"
LINE_BYTES = 6 * 1024 * 1024
"""Longest line: a request of this API, and what stands around it."""
ID_CHARACTERS = 256
"""Longest ``custom_id``."""
BLOCK_BYTES = 8 * 1024 * 1024
"""How much of a file is read at a time when it is read through."""
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
ALONE = ("stream", "background", "conversation", "previous_response_id", "session_id", "priority")
"""Parameters that no line can have: it stands alone, waits for nobody, and runs in what others leave."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a line."""

    code: str
    message: str
    param: str | None = None

    def public(self, number: int) -> dict[str, Any]:
        """Return it as OpenAI's error of a batch; ``number`` is the line's, from 1."""
        return {"code": self.code, "line": number, "message": self.message, "param": self.param}


def read_through(key: str, offset: int, size: int, block: int = BLOCK_BYTES) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file from ``offset`` on: where each begins, and its bytes.

    Raises:
        NotFound: the file is not there any more, or is shorter than it was.
    """
    at, rest, position = offset, b"", offset
    while position < size:
        data = objects.read(key, position, min(block, size - position))
        if not data:
            raise NotFound("the file's content is not there any more")
        position += len(data)
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield at, line
            at += len(line) + 1
        if len(rest) > LINE_BYTES:
            yield at, rest  # whoever reads this reads no further
            return
    if rest:
        yield at, rest


def fault_of(raw: bytes, endpoint: str) -> Fault | str:
    """Say what is wrong with a line, or return its ``custom_id``. Its body is looked at when it is run."""
    if len(raw) > LINE_BYTES:
        return Fault("line_too_long", f"a line may have {LINE_BYTES} bytes")
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Fault("invalid_json_line", "the line is not UTF-8")
    except (ValueError, RecursionError):
        return Fault("invalid_json_line", "the line is not JSON")
    if not isinstance(value, dict):
        return Fault("invalid_json_line", "a line is a JSON object")
    for name in ("custom_id", "method", "url", "body"):
        if name not in value:
            return Fault("missing_required_parameter", f"the line has no {name}", name)
    custom_id = value["custom_id"]
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= ID_CHARACTERS or _NO_TEXT.search(custom_id):
        return Fault("invalid_custom_id", f"a custom_id is a text of 1 to {ID_CHARACTERS} characters", "custom_id")
    if value["method"] != "POST":
        return Fault("invalid_method", "the method of a line is POST", "method")
    if value["url"] != endpoint:
        return Fault("invalid_url", f"all lines of this batch are for {endpoint}", "url")
    if not isinstance(value["body"], dict):
        return Fault("invalid_body", "the body of a line is a JSON object", "body")
    return custom_id


def wanted_of(caller: Caller, endpoint: str, raw: bytes) -> Submission:
    """Return what a line wants run.

    Raises:
        Problem: its body is not one that can be run here.
    """
    body = decode_any(raw.removeprefix(b"\xef\xbb\xbf"), None)["body"]
    for name in ALONE:
        if body.get(name) not in (None, False):
            raise invalid("a line of a batch cannot have it", name)
    user = body.get("user")
    if caller.limits.trusted and user is not None and caller.user != f"{caller.key_user}/{user}":
        whose = (
            "all lines belong to the batch's own user: begin the batch, and its file, with `?user_id=` for each user"
        )
        raise invalid(whose, "user")
    from functions.api.dialect.request import ResponsesRequest, checked

    if endpoint == RESPONSES:
        from functions.api.dialect.turn import submission_of

        return submission_of(caller, checked(ResponsesRequest, body))
    from functions.api.dialect import chat_turn
    from functions.api.dialect.chat_request import ChatRequest

    return chat_turn.submission_of(checked(ChatRequest, body))


def read_line(key: str, line: Line) -> bytes:
    """Read a line again. Raises as `read_through`."""
    raw = objects.read(key, line.offset, line.size)
    if len(raw) != line.size:
        raise NotFound("the file's content is not there any more")
    return raw
