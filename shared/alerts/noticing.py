"""Noticing that a day's spending has come to a threshold, and having it told.

Valkey's script that counts an ended run compares the day's use with the ceilings, and notes in ``names.ALERTS`` whose
day is to be looked at, in the same step; so an ordinary run costs nothing more. What is then believed is the durable
item, which also holds the ceilings. Whoever noticed may die: the sweeper finds the note, and an alert that is not sent.
"""

from collections.abc import Iterable

from shared import valkey, webhooks
from shared.alerts import model, targets
from shared.alerts.model import EVERYONE, Alert
from shared.clock import now
from shared.errors import Contended, DependencyDown
from shared.limits import names
from shared.limits.scripts import script
from shared.limits.shares import owner_of
from shared.limits.verdict import THRESHOLDS
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import costs, spend, table
from shared.tasks.items import values_of
from shared.valkey import RedisError

OPERATOR = "#alerts"
"""Whose deliveries the operator's are: nobody's name begins so."""

MOST_RAISED = 10_000
_raised: set[str] = set()
"""Alerts that exist, as far as this environment remembers: it writes none of them in vain again."""

_log = get_logger("alerts")


def notice(found: Iterable[tuple[str, int]], day: str) -> None:
    """Look at the days that `Gate.settled` named; what cannot be done now is left to the sweeper."""
    for whose, noted in found:
        try:
            look(whose, day, noted=noted)
        except (RedisError, DependencyDown, Contended) as error:
            _log.warning("alert left to the sweeper", extra={"whose": whose, "error": str(error)})


def look(whose: str, day: str, *, noted: int = 0) -> int:
    """Raise every alert of a day that its durable figures call for; returns how many are new.

    ``noted`` is when Valkey noted it (µs): that note is taken away, unless it is newer by now.

    Raises:
        RedisError, DependencyDown, Contended: not everything was done; look again.
    """
    seen: dict[str, int] = {}
    new = 0
    figures = _figures(whose, day)
    passed = {unit: model.passed(used, limit) for unit, (used, limit) in figures.items()}
    wanted = _who(whose) if any(passed.values()) else {}
    for unit, thresholds in passed.items():
        used, limit = figures[unit]
        for threshold in thresholds:
            seen[unit] = threshold
            to = tuple(who for who, at in wanted.items() if threshold in at)
            alert = Alert(whose, day, unit, threshold, limit, used, now(), to)
            if not to or alert.place in _raised:
                continue
            if model.put(alert):
                send(alert)
                new += 1
            if len(_raised) >= MOST_RAISED:
                _raised.clear()
            _raised.add(alert.place)
    _seen(whose, day, seen, noted)
    return new


def _figures(whose: str, day: str) -> dict[str, tuple[int, int]]:
    """Return unit -> (used, limit)."""
    if whose == EVERYONE:
        tokens, micro_usd = spend.load(EVERYONE, day)
        limits = settings().global_tokens_per_day, round(settings().global_usd_per_day * 1_000_000)
        return {"tokens": (tokens, limits[0]), "usd": (micro_usd, limits[1])}
    row = values_of(table.get(costs.key(whose, day)) or {})
    tokens, micro_usd, *caps = (row.get(name, 0) for name in ("tokens", "micro_usd", *spend.CAPS))
    return {"tokens": (tokens, caps[0]), "usd": (micro_usd, caps[1])}


def _who(whose: str) -> dict[str, tuple[int, ...]]:
    """Return who is to be told, and at which thresholds."""
    if not settings().queue_url_webhook:
        return {}
    told = {"operator": THRESHOLDS} if settings().alert_webhook_url else {}
    target = targets.of(whose) if whose != EVERYONE else None
    return told | ({"user": target.thresholds} if target else {})


def _seen(whose: str, day: str, seen: dict[str, int], noted: int) -> None:
    """Note in Valkey up to which thresholds a day was seen to, so that the next run's end does not ask again."""
    key = names.spend_all_key(day) if whose == EVERYONE else names.spend_key(whose, day)
    args = [f"{day} {whose}", noted, seen.get("tokens", 0), seen.get("usd", 0)]
    script("alerts_seen")([names.ALERTS, key], args)


def send(alert: Alert) -> None:
    """Put an alert's messages into the queue of webhooks; what SQS does not take stays due."""
    at = now()
    try:
        for one in alert.to:
            owner = OPERATOR if one == "operator" else owner_of(alert.whose)
            what = {"task_id": alert.place, "type": model.TYPE, "url": "", "wait": one, "owner": owner}
            webhooks.send(what, attempt=1, first=at, due=at)
        model.sent(alert)
    except (DependencyDown, Contended) as error:
        _log.warning("alert not sent yet", extra={"alert": alert.place, "error": error.message})


def noted(most: int) -> list[tuple[str, str, int]]:
    """Return (whose, day, when it was noted) of days that nobody has looked at, the oldest first.

    Raises:
        RedisError: Valkey is away.
    """
    found: list[tuple[str, float]] = valkey.client().zrange(names.ALERTS, 0, most - 1, withscores=True)
    split = [(member.split(" ", 1), int(score)) for member, score in found]
    return [(whose, day, score) for (day, whose), score in split]
