"""Tiers: named sets of limits, kept as data in ``tiers.json``, with overrides per API key."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from shared.errors import SettingError
from shared.limits.spelling import undated
from shared.settings import settings
from shared.tasks.model import Task

LANES = ("high", "normal")
"""Lanes that a client may ask for."""

_COUNTS = ("requests", "window_s", "queued", "running", "schedules", "tokens_per_day", "message_bytes")
_LISTS = ("lanes", "agents", "models", "approve")
_FLAGS = ("trusted", "operator")
_ON_BUDGET = ("fail", "ask")
_OF_USERS = ("requests", "window_s", "queued", "running", "schedules", "tokens_per_day", "usd_per_day")
FIELDS = (*_COUNTS, "usd_per_day", *_LISTS, *_FLAGS, "on_budget", "users")
"""What a tier or an override may set."""
_MOST = 10**12


@dataclass(frozen=True, slots=True)
class Limits:
    """A key's tier with its overrides resolved. A count of 0 means "no limit"; money in micro-USD."""

    tier: str
    lane: str
    """Lane of a request that names none."""
    requests: int
    window_s: int
    queued: int
    running: int
    tokens_per_day: int
    micro_usd_per_day: int
    agents: tuple[str, ...]
    models: tuple[str, ...]
    lanes: tuple[str, ...] = ("normal",)
    """Lanes (priorities) that may be asked for."""
    message_bytes: int = 0
    approve: tuple[str, ...] = ()
    """Tools whose calls an owner must allow, ``*`` in their names; agents that call tools by the model's choice ask."""
    on_budget: str = "fail"
    """What a run does that would pass a ceiling, unless its submit says otherwise: ``fail``, or ``ask``."""
    trusted: bool = False
    """A service that acts for its own users (``user_id`` counts). Each of them has these limits, or what ``users`` of
    the tier or the override changes of them; all of them together have the ``key_…`` ones: the service's own."""
    key_queued: int = 0
    key_tokens_per_day: int = 0
    key_micro_usd_per_day: int = 0
    schedules: int = 0
    """Schedules of a user that have not ended. Here 0 means none."""
    key_schedules: int | None = None
    """The same of all users of a trusted service together; None: this is no service."""
    operator: bool = False
    """May read what concerns all users (``GET /stats``)."""

    @property
    def budgeted(self) -> bool:
        """Whether tokens or money are limited per day."""
        return any((self.tokens_per_day, self.micro_usd_per_day, self.key_tokens_per_day, self.key_micro_usd_per_day))

    def allows_agent(self, name: str) -> bool:
        """Tell whether the tier may run this agent."""
        return _matches(name, self.agents)

    def allows_model(self, name: str) -> bool:
        """Tell whether the tier may use this model. Patterns also cover a name's dated snapshots."""
        return _matches(name, self.models) or _matches(undated(name), self.models)

    def allows_lane(self, name: str) -> bool:
        """Tell whether the tier may ask for this lane."""
        return name in self.lanes


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@cache
def _table() -> dict[str, dict[str, Any]]:
    raw: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "tiers.json").read_text())
    return {name: values | _checked(values, where=f"tier {name}", blanks=True) for name, values in raw.items()}


def names() -> tuple[str, ...]:
    """Return the tiers' names."""
    return tuple(_table())


def resolve(tier: str, overrides: Mapping[str, Any] | None = None) -> Limits:
    """Return the limits of a tier, changed by a key's overrides (``{"requests": 5, "usd_per_day": 2.5}``).

    Raises:
        SettingError: unknown tier or field, or a value of the wrong kind; the message names it.
    """
    if tier not in _table():
        raise SettingError(f"tier must be one of {', '.join(_table())}, not {tier!r}", param="tier")
    values = _table()[tier] | _checked(overrides or {}, where="limits", blanks=False)
    trusted = values.get("trusted", False)
    of_key = values if trusted else {"queued": 0, "tokens_per_day": 0, "usd_per_day": 0}
    of_service = _schedules(values.get("schedules")) if trusted else None
    if trusted:
        values = values | {"schedules": None} | values.get("users", {})
    schedules = _schedules(values.get("schedules"))
    # The standard tier's quota is a parameter of the deployment.
    requests = settings().quota_requests if values["requests"] is None else values["requests"]
    window_s = settings().quota_window_seconds if values["window_s"] is None else values["window_s"]
    lanes = tuple(values["lanes"])
    return Limits(
        tier=tier,
        lane=lanes[0],
        lanes=lanes,
        requests=requests,
        window_s=window_s,
        queued=values["queued"],
        running=values["running"],
        tokens_per_day=values["tokens_per_day"],
        micro_usd_per_day=round(values["usd_per_day"] * 1_000_000),
        message_bytes=values["message_bytes"],
        agents=tuple(values["agents"]),
        models=tuple(values["models"]),
        approve=tuple(values.get("approve", ())),
        on_budget=values.get("on_budget", "fail"),
        trusted=trusted,
        schedules=schedules if of_service is None else min(schedules, of_service),
        key_schedules=of_service,
        key_queued=of_key["queued"],
        key_tokens_per_day=of_key["tokens_per_day"],
        key_micro_usd_per_day=round(of_key["usd_per_day"] * 1_000_000),
        operator=values.get("operator", False),
    )


def _schedules(own: int | None) -> int:
    """Return how many schedules are allowed: a tier's own number, or the deployment's, which may take none at all."""
    most = settings().max_schedules
    return most if own is None or not most else own


def of_task(task: Task) -> Limits:
    """Return a task's tier with the daily ceilings that it was admitted under, as they were raised for it since."""

    def ceiling(cap: int, name: str) -> int:
        return cap and cap + int(task.raised.get(name, 0))  # 0: there is none

    return replace(
        resolve(task.tier),
        tokens_per_day=ceiling(task.cap_tokens, "tokens_per_day"),
        micro_usd_per_day=ceiling(task.cap_micro_usd, "usd_per_day"),
        key_tokens_per_day=ceiling(task.cap_key_tokens, "tokens_per_day_key"),
        key_micro_usd_per_day=ceiling(task.cap_key_micro_usd, "usd_per_day_key"),
    )


def _checked(values: Mapping[str, Any], *, where: str, blanks: bool) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise SettingError(f"{where} must be an object", param="limits")
    for name, value in values.items():
        if name not in FIELDS:
            raise SettingError(f"{where} has no field {name!r}; it may set {', '.join(FIELDS)}", param=name)
        wrong = None if blanks and value is None else _wrong(name, value)
        if wrong:
            raise SettingError(f"{name} in {where} must be {wrong}, not {value!r}", param=name)
    return dict(values)


def _wrong(name: str, value: Any) -> str | None:
    """Say what the field must be, when the value is not that."""
    if name in _FLAGS:
        return None if isinstance(value, bool) else "true or false"
    if name == "on_budget":
        return None if value in _ON_BUDGET else f"one of {', '.join(_ON_BUDGET)}"
    if name in _LISTS:
        if not isinstance(value, list) or not value or not all(isinstance(part, str) and part for part in value):
            return "a list of names"
        return f"a list of {' and '.join(LANES)}" if name == "lanes" and not set(value) <= set(LANES) else None
    if name == "users":
        if not isinstance(value, dict) or not set(value) <= set(_OF_USERS):
            return f"an object with some of {', '.join(_OF_USERS)}"
        return next((f"such that {of} is {wrong}" for of, each in value.items() if (wrong := _wrong(of, each))), None)
    number = isinstance(value, int) and not isinstance(value, bool)
    if name == "usd_per_day":
        fits = (number or isinstance(value, float)) and 0 <= value <= _MOST / 1_000_000  # NaN fails both
        return None if fits else "an amount of USD, 0 or more"
    least = 1 if name == "window_s" else 0
    return None if number and least <= value <= _MOST else f"a whole number, {least} or more"
