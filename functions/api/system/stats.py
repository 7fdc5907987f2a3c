"""What an operator's dashboard draws, gathered from where it lives: SQS, Valkey, the scaler's state.

A part that cannot be read is null; the others are shown all the same.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from functions.api.read import queue_hint
from functions.api.read.remembered import Remembered
from functions.api.submit.refusals import AWAY, refusals
from functions.api.system import probes
from shared import valkey
from shared.clock import day, iso, now
from shared.errors import DependencyDown
from shared.limits import names
from shared.limits.lane import Lanes, Owners
from shared.limits.provider import ProviderBudget
from shared.scaling import history as samples
from shared.scaling import memory
from shared.settings import settings
from shared.tasks import listing, owed, past_hours, spend
from shared.tasks.model import LANES

MINUTES = 60
"""How far back the minute counts go."""
CACHE_S = 1.0
PAST_CACHE_S = 20.0
MOST_DEAD = 100
"""Dead letters that are counted; where there are more it says so."""
MOST_OWNERS = 20
"""Owners (users; of trusted services the service) that are named with what they have under way."""
SHARED_LANES = ("high", "normal")
"""Lanes whose slots are shared out."""
SCALER_STATE = "{sluice:scaler}:state"
"""Where the scaler keeps its state."""


@cache
def _provider() -> ProviderBudget:
    return ProviderBudget()


def _gather() -> dict[str, Any]:
    scaler = _try(_scaler)
    return {
        "at": iso(now()),
        "lanes": {lane: _lane(lane, scaler) for lane in LANES if settings().queue_urls[lane]},
        "open_tasks": _try(lambda: int(valkey.client().zcard(names.OPEN))),
        "scaler": scaler,
        "replicas": {"min": settings().min_replicas, "max": settings().max_replicas},
        "runs_per_environment": settings().runs_per_environment,
        "breakers": probes.breakers(),
        "owner_breakers": probes.owners_breakers(),
        "provider": {
            "requests_per_minute": settings().provider_rpm or None,
            "tokens_per_minute": settings().provider_tpm or None,
            "minutes": _try(_calls),
        },
        "refusals": _try(lambda: refusals.minutes(MINUTES)),
        "spend": _try(_spend),
        "dependencies": probes.dependencies(),
        "dead_letters": _try(_dead_letters),
        "owners": _try(_owners),
    }


def _try[T](read: Callable[[], T]) -> T | None:
    try:
        return read()
    except (*AWAY, DependencyDown):
        return None


def _lane(lane: str, scaler: dict[str, Any] | None) -> dict[str, Any]:
    counts = _try(lambda: queue_hint.backlog(lane)) or dict.fromkeys(("visible", "in_flight", "delayed"))
    target = None if scaler is None else scaler["targets"].get(lane)
    paused = _try(lambda: _lanes().is_paused(lane))
    return {
        **counts,
        "target_replicas": target,
        "recent_wait_s": queue_hint.recent_wait(lane),
        "paused": paused,
    }


@cache
def _lanes() -> Lanes:
    return Lanes()


def _dead_letters() -> dict[str, Any]:
    """Count the tasks that failed as dead letters and were not run again, as far as `MOST_DEAD`."""
    found = listing.due(owed.DEAD, before=now(), limit=MOST_DEAD + 1)
    return {"count": min(len(found), MOST_DEAD), "more": len(found) > MOST_DEAD}


def _owners() -> list[dict[str, Any]]:
    """Return who has the most runs under way, with their part of each lane's slots, and how many open tasks."""
    running = {lane: _lanes().owners(lane, MOST_OWNERS) for lane in SHARED_LANES if settings().queue_urls[lane]}
    known = {owner for found in running.values() for owner, _ in found.owners}
    open_tasks: dict[str, float] = dict(valkey.client().zrevrange(names.OWNERS, 0, MOST_OWNERS - 1, withscores=True))
    rows = []
    for owner in known | open_tasks.keys():
        uses = {lane: use for lane, found in running.items() if (use := dict(found.owners).get(owner, 0))}
        has_open = int(open_tasks.get(owner, 0))
        shown = {
            "owner": owner,
            "running": sum(uses.values()),
            "open": has_open or None,
            "lanes": {lane: _of_lane(use, running[lane]) for lane, use in uses.items()},
        }
        rows.append(((-sum(uses.values()), -has_open, owner), shown))
    return [shown for _, shown in sorted(rows, key=lambda row: row[0])[:MOST_OWNERS]]


def _of_lane(use: int, lane: Owners) -> dict[str, Any]:
    return {"running": use, "slots": lane.slots, "share": round(use / max(1, lane.slots or lane.running), 3)}


def _scaler() -> dict[str, Any] | None:
    state = memory.load(valkey.client().get(SCALER_STATE))
    if state is None:
        return None
    return {
        "tick": int(state.at // 60),
        "targets": {lane: one.target for lane, one in state.lanes.items()},
        "ceiling": state.ceiling.most,
    }


def _calls() -> list[dict[str, int]]:
    return [
        {"minute": one.minute * 60, "calls": one.calls, "throttled": one.throttled}
        for one in _provider().windows(MINUTES)
    ]


def _spend() -> dict[str, Any]:
    """Everybody's day: what is recorded durably, what runs in flight hold, and the ceilings."""
    today = day(now())
    tokens, micro_usd = spend.load(spend.EVERYONE, today) if spend.has_global_ceiling() else (None, None)
    held: list[str | None] = valkey.client().hmget(names.spend_all_key(today), ["tr", "mr"])
    return {
        "day": today,
        "tokens": tokens,
        "usd": None if micro_usd is None else micro_usd / 1_000_000,
        "reserved_tokens": int(held[0] or 0),
        "reserved_usd": int(held[1] or 0) / 1_000_000,
        "tokens_per_day": settings().global_tokens_per_day or None,
        "usd_per_day": settings().global_usd_per_day or None,
    }


def history() -> list[dict[str, Any]] | None:
    """Return the lanes at each minute of the last hour, the oldest first; None without Valkey."""
    return _try(lambda: samples.read(MINUTES))


@cache
def past(hours: int) -> Remembered[list[dict[str, Any]]]:
    """Return what tells how tasks of the last hours fared, at most `PAST_CACHE_S` old."""
    return Remembered(lambda: past_hours.read(hours, now()), PAST_CACHE_S)


snapshot = Remembered(_gather, CACHE_S)
"""The state of the whole system, at most a second old."""
