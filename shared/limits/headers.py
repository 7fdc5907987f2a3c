"""Limits as response headers.

``RateLimit`` and ``RateLimit-Policy`` follow draft-ietf-httpapi-ratelimit-headers-11, ``x-ratelimit-*``
OpenAI's API reference (https://platform.openai.com/docs/guides/rate-limits), so that either kind of client
knows what to do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.limits.verdict import Verdict, Window

_NAMES = {
    "usd_per_day": "micro_usd_per_day",
    "usd_per_day_key": "micro_usd_per_day_key",
}  # both fields take integers only
_UNITS = {"requests": "requests", "ingress": "requests"}
_OPENAI = {"requests": "requests", "tokens_per_day": "tokens"}


def rate_limit_headers(verdict: Verdict) -> dict[str, str]:
    """Return the headers of an answer, admitted or refused.

    A refusal names only the limit that refused in ``RateLimit``: the draft wants ``Retry-After`` not to end
    before a shown window. Seconds are rounded up, so that nobody comes back too early.
    """
    headers: dict[str, str] = {}
    shown = [w for w in verdict.windows if verdict.admitted or w.name == verdict.limit]
    if verdict.windows:
        headers["RateLimit-Policy"] = ", ".join(_policy(window) for window in verdict.windows)
    if shown:
        headers["RateLimit"] = ", ".join(_state(window, verdict) for window in shown)
    for window in verdict.windows:
        if window.name in _OPENAI:
            unit = _OPENAI[window.name]
            headers[f"x-ratelimit-limit-{unit}"] = str(window.quota)
            headers[f"x-ratelimit-remaining-{unit}"] = str(window.remaining)
            headers[f"x-ratelimit-reset-{unit}"] = duration(window.full_s)
    if not verdict.admitted:
        headers["Retry-After"] = str(retry_after(verdict))
    return headers


def retry_after(verdict: Verdict) -> int:
    """Return whole seconds to wait, at least one."""
    return max(1, _up(verdict.retry_after_s))


def duration(seconds: float) -> str:
    """Write a duration, rounded up, as OpenAI does: ``20ms``, ``1s``, ``6m0s``, ``1h0m0s``."""
    if seconds < 1:
        millis = _up(seconds * 1000)
        return "1s" if millis >= 1000 else f"{millis}ms"
    whole = _up(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _policy(window: Window) -> str:
    text = f'"{_NAMES.get(window.name, window.name)}";q={window.quota}'
    if window.name in _UNITS:
        text += f';qu="{_UNITS[window.name]}"'
    return f"{text};w={window.window_s}" if window.window_s else text


def _state(window: Window, verdict: Verdict) -> str:
    refused = not verdict.admitted
    # A budget can refuse with something left, less than the task needs; then nothing can be used until the
    # reset.
    remaining = 0 if refused else window.remaining
    until = verdict.retry_after_s if refused else window.reset_s
    text = f'"{_NAMES.get(window.name, window.name)}";r={remaining}'
    return f"{text};t={max(1, _up(until)) if refused else _up(until)}" if window.window_s else text


def _up(value: float) -> int:
    return math.ceil(round(value, 6))  # microseconds are the clock's grain; below is the noise of binary fractions
