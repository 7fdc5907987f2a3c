"""Budgets' alerts that nobody sent: whoever noticed died, or nobody could notice because Valkey was away."""

from collections import Counter
from itertools import batched

from shared import valkey
from shared.alerts import model, noticing
from shared.clock import day, now
from shared.errors import Contended, DependencyDown, NewerVersion, NotFound
from shared.limits import names
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks import costs, listing, spend, table
from shared.tasks.items import values_of
from shared.valkey import RedisError

AT_ONCE = 200
"""Alerts sent, and days looked at, per sweep."""
AGAIN_SECONDS = 6 * 3600
"""How long after all of a day's spenders were looked at that is done again, unless Valkey loses its data before."""

_log = get_logger("alerts")


def tell(stop_at: float) -> Counter[str]:
    """Send what is due, and look at the days that call for it, until ``stop_at``; returns counts by what was done."""
    done: Counter[str] = Counter()
    if not settings().queue_url_webhook:
        return done
    try:
        for place in listing.due(model.DUE, before=now(), limit=AT_ONCE):
            done["alerts sent again"] += _send(place)
        if spend.has_global_ceiling():
            done["alerts"] += noticing.look(model.EVERYONE, day(now()))
        for whose, of_day, noted in noticing.noted(AT_ONCE):
            if now() > stop_at:
                return done
            done["alerts"] += noticing.look(whose, of_day, noted=noted)
        done["alerts"] += _look_through(stop_at)
    except (RedisError, DependencyDown, Contended) as error:
        _log.warning("alerts left to the next sweep", extra={"error": str(error)})
    return done


def _send(place: str) -> int:
    try:
        noticing.send(model.read(place))
    except (NotFound, NewerVersion):
        return 0
    return 1


def _look_through(stop_at: float) -> int:
    """Look at the day of everybody who spent today, once Valkey, which else notices, has forgotten that it was done.

    What is not finished at ``stop_at`` goes on with the next sweep.
    """
    today, found = day(now()), 0
    state = valkey.client().get(names.ALERTS_LOOKED)
    if state == "":
        return 0
    after = state.removeprefix(f"{today} ") if state and state.startswith(f"{today} ") else ""
    for users in batched(costs.spenders(today, after=after), table.READ_AT_ONCE // 2, strict=False):
        if now() > stop_at:
            return found
        whose = dict.fromkeys([*users, *map(names.key_name, users)])
        for one, of_day, row in costs.read([(one, today) for one in whose]):
            if any(values_of(row).get(name) for name in spend.CAPS):
                found += noticing.look(one, of_day)
        valkey.client().set(names.ALERTS_LOOKED, f"{today} {users[-1]}", ex=AGAIN_SECONDS)
    valkey.client().set(names.ALERTS_LOOKED, "", ex=AGAIN_SECONDS)
    return found
