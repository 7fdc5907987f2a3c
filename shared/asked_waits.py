"""How long a provider asks to wait: in the headers and words that providers have for it."""

from __future__ import annotations

import datetime
import email.utils
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_SECONDS = 86_400.0
"""Longest wait that is believed: daily allowances come back once a day."""
EPOCH_SECONDS = 1_000_000_000
"""Numbers above are points in time, and not waits."""

_UNITS = {
    "d": 86_400.0,
    "h": 3_600.0,
    "m": 60.0,
    "min": 60.0,
    "s": 1.0,
    "sec": 1.0,
    "ms": 0.001,
    "us": 1e-6,
    "ns": 1e-9,
}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s*(ms|us|ns|d|h|min|m|sec|s)(?=[\d\s.,)]|$)", re.I)
_AGAIN = re.compile(
    r"(?:try|retry|retrying|again|available|wait|resets?)\b[^.\d]{0,40}?((?:\d{1,12}(?:\.\d{1,12})?\s*(?:hours?|minutes?|seconds?|"
    r"milliseconds?|ms|d|h|min|m|sec|s)(?![a-z])(?:\s*,)?(?:\s*and\b)?\s*){1,4})",
    re.I,
)
_LONG = re.compile(r"\s*(hour|minute|second|millisecond)s?\b", re.I)
_BETWEEN = re.compile(r",|\band\b", re.I)
_SHORT = {"hour": "h", "minute": "m", "second": "s", "millisecond": "ms"}


def from_headers(headers: Mapping[str, str], now_s: float, *, limited: bool = False) -> float | None:
    """Read how long to wait, s: ``retry-after-ms``, ``Retry-After`` in seconds or as a date; None for none understood.

    With ``limited``, for an answer that says that a rate is used up, also when that comes back:
    ``x-ratelimit-reset-…`` of what has nothing remaining. Never negative, at most ``MOST_SECONDS``.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, MOST_SECONDS)
    if text := headers.get("retry-after"):
        return moment(text, now_s)
    return _reset(headers, now_s) if limited else None


def _reset(headers: Mapping[str, str], now_s: float) -> float | None:
    waits: list[float] = []
    for name, text in headers.items():
        name = name.lower()
        if "ratelimit" not in name.replace("-", "").replace("_", "") or "reset" not in name:
            continue
        wait = moment(text, now_s)
        if wait is None:
            continue
        if not _number(headers.get(name.replace("reset", "remaining"))):  # nothing, or nobody says
            waits.append(wait)
    return max(waits, default=None)


def moment(text: str, now_s: float) -> float | None:
    """Read a wait, s: a number of seconds, a duration like ``6m0s``, a date, or a point in time as a number."""
    text = text.strip()
    value = _number(text)
    if value is not None:
        if value > EPOCH_SECONDS:
            value = value / 1000 if value > EPOCH_SECONDS * 100 else value
            return _bounded(value - now_s)
        return _bounded(value)
    wait = duration(text)
    if wait is not None:
        return wait
    for parse in (email.utils.parsedate_to_datetime, datetime.datetime.fromisoformat):
        try:
            at = parse(text)
            if at.tzinfo is None:
                at = at.replace(tzinfo=datetime.UTC)
            return _bounded(at.timestamp() - now_s)
        except (ValueError, OverflowError, TypeError):
            continue
    return None


def duration(text: str) -> float | None:
    """Read ``6m0s``, ``1h2m``, ``250ms``, ``34.07s`` or a number of seconds; None if it is none."""
    text = text.strip()
    value = _number(text)
    if value is not None:
        return _bounded(value)
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        return None
    return _bounded(sum(float(number) * _UNITS[unit.lower()] for number, unit in parts))


def from_words(message: str) -> float | None:
    """Read a wait out of a message like "Please try again in 7m12s"."""
    found = _AGAIN.search(message[:2_000])
    if found is None:
        return None
    plain = _BETWEEN.sub(" ", found[1])
    return duration(_LONG.sub(lambda unit: _SHORT[unit[1].lower()], plain).strip())


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), MOST_SECONDS)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None
