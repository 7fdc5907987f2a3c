"""Measuring what the policy decides by: queues from SQS, limits from Lambda, the provider's state from Valkey.

What cannot be read is None, and the policy knows what to do about it; one failing source never stops a tick.
"""

from collections.abc import Iterable

from functions.scaler import mappings
from shared.errors import DependencyDown
from shared.limits.breaker import Breaker, breaker_name
from shared.limits.lane import Draining, Lanes
from shared.limits.provider import ProviderBudget
from shared.logs import get_logger
from shared.scaling.ceiling import Provider
from shared.scaling.readings import LaneReadings, Readings
from shared.settings import settings
from shared.tasks import lanes
from shared.valkey import RedisError

UNPROBED_SECONDS = 300.0
"""A breaker that is half-open for longer is of a model that nobody calls; it would stay so for a day."""
WINDOWS = 2
"""Minutes of provider calls: the last whole one, and the present one, which has hardly begun at a tick."""


def read(names: Iterable[str]) -> Readings:
    """Measure everything once."""
    limits, draining = mappings.current(), _draining()
    return Readings({lane: _lane(lane, limits.get(lane), draining.get(lane)) for lane in names}, _provider())


def _draining() -> dict[str, Draining]:
    if not settings().redis_url:
        return {}
    try:
        return Lanes().draining()
    except RedisError as error:
        get_logger("scaler").warning("draining environments not read", extra={"cause": str(error)})
        return {}


def _lane(lane: str, limit: int | None, draining: Draining | None) -> LaneReadings:
    draining = draining or Draining()
    try:
        counts = lanes.backlog(settings().queue_urls[lane])
    except DependencyDown as error:
        get_logger("scaler").warning("backlog not read", extra={"lane": lane, "cause": str(error.__cause__)})
        return LaneReadings(current=limit, draining=draining.environments, closed=draining.free)
    return LaneReadings(
        counts["visible"], counts["in_flight"], counts["delayed"], limit, draining.environments, draining.free
    )


def _provider() -> Provider:
    minutes = ProviderBudget().windows(WINDOWS)
    if not minutes:  # Valkey is away: its breakers are unknown as well
        return Provider()
    return Provider(
        sum(one.calls for one in minutes), sum(one.throttled for one in minutes), breaker_open=_breaker_open()
    )


def _breaker_open() -> bool:
    """Tell whether no model is left to run on: the default one and all its fallbacks are cut off.

    A single user's odd model must not hold everybody's scale-up, nor one that is half-open because nobody uses it.
    """
    config = settings()
    models = [config.default_model, *(m.strip() for m in config.fallback_models.split(",") if m.strip())]
    cut_off = {
        state.name
        for state in Breaker().states()
        if not state.owner
        and (state.state == "open" or (state.state == "half_open" and state.half_open_s < UNPROBED_SECONDS))
    }
    return all(breaker_name(config.openai_base_url, model) in cut_off for model in models)
