"""Reads JSON as providers write it: a character cut in two, a number of any length, several objects in one event."""

import json
import re
from typing import Any

__all__ = ["read", "several"]

LONG_NUMBER = 1_000
"""Digits of the longest number that is read."""
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*")


def read(data: bytes) -> Any:
    """Read JSON; None if it is none."""
    try:
        return _DECODER.decode(data.decode())  # nearly always: `json.loads` would look for other encodings first
    except (ValueError, RecursionError):
        pass  # the long way says what it is
    try:
        return json.loads(data)
    except UnicodeDecodeError:
        return _read_text(data.decode("utf-8", "replace"))  # a character that was cut in two by who counts bytes
    except ValueError:
        return _read_text(data) if len(data) > LONG_NUMBER else None
    except RecursionError:
        return None


def _read_text(data: str | bytes) -> Any:
    try:
        return json.loads(data, parse_int=_whole)
    except (ValueError, RecursionError):
        return None


def _whole(digits: str) -> int | None:
    """Read a whole number; one that is longer than Python reads is none that anybody needs."""
    return int(digits) if len(digits) <= LONG_NUMBER else None


def several(data: bytes) -> list[Any]:
    """Read several objects of JSON that stand in one event, one behind the other; none if there is anything else."""
    text = data.decode("utf-8", "replace")
    found: list[Any] = []
    at = 0
    try:
        while at < len(text):
            value, at = _DECODER.raw_decode(text, at)
            found.append(value)
            if (space := _SPACE.match(text, at)) is not None:
                at = space.end()
    except (ValueError, RecursionError):
        return []
    return found
