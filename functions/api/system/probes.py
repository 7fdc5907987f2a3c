"""How the dependencies are: one cheap call to each, at once, remembered for a second."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Any

from functions.api.read.remembered import Remembered
from shared import aws, valkey
from shared.limits.breaker import Breaker, breaker_name
from shared.limits.permits import State
from shared.logs import get_logger
from shared.settings import settings
from shared.tasks.items import table_key

log = get_logger("api")

CACHE_S = 1.0
PATIENCE_S = 2.0
"""A dependency that takes longer to answer counts as down."""


@cache
def _breaker() -> Breaker:
    return Breaker()


def _breakers() -> list[State]:
    return _breaker().states()


def breakers() -> dict[str, Any]:
    """Return, by name, every breaker for all owners that has seen a failure within a day."""
    return {one.name: _shown(one) for one in breaker_states() if not one.owner}


def owners_breakers() -> list[dict[str, Any]]:
    """Return those owners' own breakers that are not closed."""
    cut_off = (one for one in breaker_states() if one.owner and one.state != "closed")
    return [{"owner": one.owner, "name": one.name, **_shown(one)} for one in cut_off]


def _shown(one: State) -> dict[str, Any]:
    return {"state": one.state, "failures": one.failures, "retry_after_s": round(one.retry_after_s, 1)}


def own_breakers() -> dict[str, Any]:
    """Return those of the deployment's own models: which others were asked for is not for everybody to see."""
    config = settings()
    models = [config.default_model, *(name.strip() for name in config.fallback_models.split(","))]
    own = {breaker_name(config.openai_base_url, model) for model in models if model}
    return {name: state for name, state in breakers().items() if name in own}


def _probe_all() -> dict[str, Any]:
    aws.dynamodb(), aws.sqs()  # made here: on a busy machine that takes longer than any answer
    probes: dict[str, Callable[[], object]] = {"dynamodb": _dynamodb, "sqs": _sqs}
    if settings().redis_url:
        probes["redis"] = lambda: valkey.client().ping()
    pool = ThreadPoolExecutor(len(probes), thread_name_prefix="probe")
    try:
        running = {name: pool.submit(_timed, name, probe) for name, probe in probes.items()}
        done, _ = wait(running.values(), timeout=PATIENCE_S)
        found = {name: one.result() if one in done else {"status": "down"} for name, one in running.items()}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return {"redis": {"status": "none"}, **found}


def _timed(name: str, probe: Callable[[], object]) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        probe()
    except Exception as error:  # whatever it is, the answer to the question is "down"
        log.warning("a probe failed", extra={"dependency": name, "cause": type(error).__name__})
        return {"status": "down"}
    return {"status": "ok", "latency_ms": round((time.perf_counter() - started) * 1000, 2)}


def _dynamodb() -> object:
    key: Any = table_key("HEALTH", "HEALTH")
    return aws.dynamodb().get_item(TableName=settings().table_name, Key=key, ProjectionExpression="pk")


def _sqs() -> object:
    return aws.sqs().get_queue_attributes(
        QueueUrl=settings().queue_url_normal, AttributeNames=["ApproximateNumberOfMessages"]
    )


dependencies = Remembered(_probe_all, CACHE_S)
"""Each dependency's ``status`` (``ok``, ``down``, or ``none``: not set up) and ``latency_ms``."""
breaker_states = Remembered(_breakers, CACHE_S)
"""Every breaker that has seen a failure within a day, for all and of owners."""
