"""How long a provider asks to wait: in the headers and words that providers have for it."""

import datetime
import email.utils
import re
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
_BARE = re.compile(r"\b[Rr]etry[ -][Aa]fter:?\s{1,2}(\d{1,6})(?:\.\d{1,6})?(?=[\s,.;)\"']*(?:$|[A-Z(;,\"']))")
"""Seconds that do not say so, at the end of a sentence."""
_CHINESE = re.compile(r"(\d{1,6})\s{0,2}(\u79d2|\u5206\u949f|\u5c0f\u65f6)\u949f?(?:\u4e4b|\u4ee5)?\u540e")
_CHINESE_UNITS = {"\u79d2": "s", "\u5206\u949f": "m", "\u5c0f\u65f6": "h"}
_AT = re.compile(
    r"\b(?:resets?|again|available|access|retry)\b\D{0,40}(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:\.\d{1,9})?) ?"
    r"(UTC|Z|[+-]\d\d:?\d\d)",
    re.I,
)
"""A point in time, with its zone: without one it is anybody's guess."""
_POLICY = re.compile(r"\b(?:r|remaining)=0\b[^,\"]{0,40}?\b(?:t|reset)=(\d{1,9})|remaining=0\b.{0,20}\breset=(\d{1,9})")
"""What is used up in a ``RateLimit`` header, and when it comes back, s (two drafts of the IETF's)."""
_SHORT = {"hour": "h", "minute": "m", "second": "s", "millisecond": "ms"}


def from_headers(headers: Mapping[str, str], now_s: float, *, limited: bool = False) -> float | None:
    """Read how long to wait, s: ``retry-after-ms`` (Azure's ``x-ms-…`` too), ``Retry-After`` in seconds or as a date.

    None for none understood.

    With ``limited``, for an answer that says that a rate is used up, also when that comes back:
    ``x-ratelimit-reset-…`` of what has nothing remaining. Never negative, at most ``MOST_SECONDS``.
    """
    milliseconds = _number(headers.get("retry-after-ms") or headers.get("x-ms-retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, MOST_SECONDS)
    if text := headers.get("retry-after"):
        if (wait := moment(text, now_s)) is not None:
            return wait
        # Two headers, of a provider and of what stands before it, are read as one.
        return max([one for part in text.split(",") if (one := moment(part, now_s)) is not None], default=None)
    return _reset(headers, now_s) if limited else None


def _reset(headers: Mapping[str, str], now_s: float) -> float | None:
    waits: list[float] = []
    for name, text in headers.items():
        name = name.lower()
        if name == "ratelimit":
            waits += [_bounded(float(structured or older)) for structured, older in _POLICY.findall(text)]
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


def from_words(message: str, now_s: float) -> float | None:
    """Read a wait out of a message like "Please try again in 7m12s", or "resets at 2026-11-29 12:00:00 UTC"."""
    message = message[:2_000]
    if (at := _AT.search(message)) is not None:
        zone = "Z" if at[2].upper() == "UTC" else at[2]
        return moment(at[1].replace(" ", "T") + zone, now_s)
    if (chinese := _CHINESE.search(message)) is not None:
        return duration(chinese[1] + _CHINESE_UNITS[chinese[2]])
    found = _AGAIN.search(message)
    if found is None:
        bare = _BARE.search(message)
        return duration(bare[1]) if bare is not None else None
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
