"""What several of the limits' tests use."""

from __future__ import annotations

from typing import Any

from shared.limits import names
from shared.limits.admission import Ask, Gate
from shared.limits.tiers import Limits
from shared.settings import Settings

DAY = "2026-01-31"
START_US = 1_769_817_600_000_000 + 3_600_000_000
"""01:00 UTC of DAY, in microseconds."""


class Clock:
    """A clock that stands still until it is moved. Microseconds."""

    def __init__(self, at: int = START_US) -> None:
        self.at = at

    def __call__(self) -> int:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += round(seconds * 1_000_000)


def limits(**changes: Any) -> Limits:
    """Limits without any limit but the given ones."""
    base: dict[str, Any] = {
        "tier": "test",
        "lane": "normal",
        "requests": 0,
        "window_s": 3600,
        "queued": 0,
        "running": 0,
        "tokens_per_day": 0,
        "micro_usd_per_day": 0,
        "agents": ("*",),
        "models": ("*",),
    }
    return Limits(**(base | changes))


def ask(task: str, of: Limits, *, user: str = "ada", tokens: int = 100, micro_usd: int = 50, day: str = DAY) -> Ask:
    """A request of a user."""
    return Ask(user, task, day, tokens, micro_usd, of)


class Ledger:
    """Durable spending in memory, as the store would hold it; counts how often it is read."""

    def __init__(self) -> None:
        self.spent: dict[tuple[str, str], tuple[int, int]] = {}
        self.reads = 0

    def __call__(self, user: str, day: str) -> tuple[int, int]:
        self.reads += 1
        return self.spent.get((user, day), (0, 0))

    def add(self, user: str, day: str, tokens: int, micro_usd: int) -> None:
        for who in (user, "*"):
            had = self.spent.get((who, day), (0, 0))
            self.spent[who, day] = (had[0] + tokens, had[1] + micro_usd)


def gate(client: Any, clock: Clock | None = None, *, ledger: Ledger | None = None, **config: Any) -> Gate:
    """A gate on this server; no ingress limit unless asked for."""
    values = {"ingress_rate": 0.0} | config
    return Gate(ledger or Ledger(), config=Settings(**values), on=client, now_us=clock)


def dump(client: Any) -> dict[str, Any]:
    """Everything that the server holds, except how long it lives."""
    found: dict[str, Any] = {}
    for key in sorted(client.keys("*")):
        kind = client.type(key)
        if kind == "string":
            found[key] = client.get(key)
        elif kind == "hash":
            found[key] = client.hgetall(key)
        else:
            found[key] = client.zrange(key, 0, -1, withscores=True)
    return found


def counted(client: Any) -> dict[str, Any]:
    """What counts for limits: all but who was here lately, by which the ingress bucket is shared."""
    lately = (names.INGRESS_OWNERS, names.INGRESS_WANTS)
    return {key: value for key, value in dump(client).items() if key not in lately}
