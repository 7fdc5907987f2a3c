"""What admission is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.settings import Settings

if TYPE_CHECKING:
    from shared.limits.tiers import Limits


@dataclass(frozen=True, slots=True)
class Ask:
    """A task that wants in, with the most that its first model call can cost."""

    user: str
    task_id: str
    day: str
    """UTC day that its spending counts for, ``YYYY-MM-DD``."""
    tokens: int
    micro_usd: int
    limits: Limits
    lane: str = "normal"
    deadline: float = 0.0
    """When it must have ended, epoch seconds; 0: no limit of its own."""


@dataclass(frozen=True, slots=True)
class Window:
    """One limit as a client sees it."""

    name: str
    quota: int
    window_s: int
    """0: the limit has no window (queue sizes)."""
    remaining: int
    reset_s: float
    """Seconds until more than ``remaining`` is available."""
    full_s: float = 0.0
    """Seconds until all of the quota is available again, if nothing else is used."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to an `Ask`."""

    admitted: bool
    limit: str | None = None
    """The limit that refused; of several, the one with the longest wait."""
    retry_after_s: float = 0.0
    """A client that waits so long is admitted (exact for requests, ingress and days; a hint for queues)."""
    slot: bool = True
    """Whether the task holds a running slot; without one it is parked."""
    windows: tuple[Window, ...] = ()
    degraded: bool = False
    """Decided without Redis, by this environment's stricter bucket."""
    precharge: bool = False
    """The estimate is reserved nowhere: the caller adds it to the day's SPEND item in the transaction that
    writes the task, on condition that used + estimate stays within the budget."""


BUDGETS = frozenset(f"{what}_per_day{whose}" for what in ("tokens", "usd") for whose in ("", "_key", "_global"))
"""Limits whose refusal means that money or tokens are spent (402), not that requests came too fast (429)."""
THRESHOLDS = (50, 80, 100)
"""Percent of a day's ceiling at which somebody is told (`shared.alerts`)."""


def verdict_of(reply: list[Any], limits: Limits, config: Settings) -> Verdict:
    """Read the reply of ``lua/admit.lua``."""
    word, limit, wait_us, slot, used, next_us, full_us, open_tasks, tokens, micro, midnight_us, *of_key = reply
    windows = []
    if limits.requests:
        left = max(0, limits.requests - used)
        windows.append(Window("requests", limits.requests, limits.window_s, left, next_us / 1e6, full_us / 1e6))
    if limits.tokens_per_day:
        windows.append(_day("tokens_per_day", limits.tokens_per_day, tokens, midnight_us))
    if limits.micro_usd_per_day:
        windows.append(_day("usd_per_day", limits.micro_usd_per_day, micro, midnight_us))
    key_open, key_tokens, key_micro = of_key
    if limits.key_tokens_per_day:
        windows.append(_day("tokens_per_day_key", limits.key_tokens_per_day, key_tokens, midnight_us))
    if limits.key_micro_usd_per_day:
        windows.append(_day("usd_per_day_key", limits.key_micro_usd_per_day, key_micro, midnight_us))
    if limit == "queued_key":
        windows.append(Window(limit, limits.key_queued, 0, max(0, limits.key_queued - key_open), wait_us / 1e6))
    if limit == "ingress":
        full_s = config.ingress_burst / config.ingress_rate
        windows.append(Window("ingress", config.ingress_burst, max(1, round(full_s)), 0, wait_us / 1e6, full_s))
    if limit == "queued":
        windows.append(Window("queued", limits.queued, 0, max(0, limits.queued - open_tasks), wait_us / 1e6))
    return Verdict(word == "ok", limit or None, wait_us / 1e6, bool(slot) and word == "ok", tuple(windows))


def _day(name: str, quota: int, left: int, midnight_us: int) -> Window:
    return Window(name, quota, 86_400, left, midnight_us / 1e6, midnight_us / 1e6)
