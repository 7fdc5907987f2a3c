"""What ``GET /limits`` shows: every limit of a caller, used and left."""

from collections.abc import Callable
from typing import Any

from shared import clock
from shared.limits import names
from shared.limits.scripts import script
from shared.limits.shares import owner_of
from shared.limits.tiers import Limits
from shared.valkey import RedisError


def usage(
    user: str,
    limits: Limits,
    *,
    load: Callable[[str, str], tuple[int, int]],
    on: Any,
    now: int | str,
    fresh_us: int,
) -> dict[str, dict[str, Any]]:
    """Return limit name -> ``{limit, used, left, reset_s}``; without a limit the first and third are None.

    ``reserved`` (runs in flight) is shown apart and counts as not left. USD as numbers of dollars. Without
    Valkey only durable figures are known, the others are None.
    """
    day = clock.day(now / 1e6 if isinstance(now, int) else clock.now())
    keys = names.user_keys(user)
    known: list[Any] | None
    try:
        args = [now, limits.requests, limits.window_s * 1_000_000, fresh_us, owner_of(user)]
        service = names.key_name(user)
        spends = [names.spend_key(user, day), names.spend_key(service, day)]
        known = script("usage")([keys.log, keys.entries, keys.slots, *spends, names.OWNERS], args, on=on)
    except RedisError:
        known = None
    used, next_us, _, queued, running, midnight_us, fresh, *spent = (known or [None] * 7)[:11]
    tokens, held_tokens, micro, held_micro = spent if fresh else (*_pairs(load(user, day), spent),)
    midnight_s = round(midnight_us / 1e6, 3) if midnight_us is not None else round(86_400 - clock.now() % 86_400, 3)
    requests = _row(limits.requests, used, reset_s=None if next_us is None else round(next_us / 1e6, 3))
    requests["window_s"] = limits.window_s
    shown = {
        "requests": requests,
        "queued": _row(limits.queued, queued),
        "running": _row(limits.running, running),
        "tokens_per_day": _row(limits.tokens_per_day, tokens, held_tokens, reset_s=midnight_s),
        "usd_per_day": _dollars(_row(limits.micro_usd_per_day, micro, held_micro, reset_s=midnight_s)),
    }
    return shown | (_of_key(user, day, limits, load, known, midnight_s) if limits.trusted else {})


def _of_key(
    user: str,
    day: str,
    limits: Limits,
    load: Callable[[str, str], tuple[int, int]],
    known: list[Any] | None,
    midnight_s: float,
) -> dict[str, dict[str, Any]]:
    """Return the ceilings of a trusted service's key, which all its users share."""
    queued: int | None
    queued, fresh, *spent = known[11:] if known else (None, 0)
    tokens, held_tokens, micro, held_micro = spent if fresh else (*_pairs(load(names.key_name(user), day), spent),)
    money = _row(limits.key_micro_usd_per_day, micro, held_micro, reset_s=midnight_s)
    return {
        "queued_key": _row(limits.key_queued, queued),
        "tokens_per_day_key": _row(limits.key_tokens_per_day, tokens, held_tokens, reset_s=midnight_s),
        "usd_per_day_key": _dollars(money),
    }


def _dollars(money: dict[str, Any]) -> dict[str, Any]:
    for name in ("limit", "used", "left", "reserved"):
        money[name] = None if money[name] is None else money[name] / 1_000_000
    return money


def _pairs(durable: tuple[int, int], spent: list[int]) -> tuple[int, int, int, int]:
    held = (spent[1], spent[3]) if spent else (0, 0)
    return durable[0], held[0], durable[1], held[1]


def _row(limit: int, used: int | None, reserved: int | None = None, *, reset_s: float | None = None) -> dict[str, Any]:
    left = max(0, limit - used - (reserved or 0)) if limit and used is not None else None
    row: dict[str, Any] = {"limit": limit or None, "used": used, "left": left, "reset_s": reset_s}
    return row if reserved is None else row | {"reserved": reserved}
