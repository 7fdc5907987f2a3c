"""Every minute: measure, decide, set the lanes' limits, publish what was seen and done.

Settings: ``MIN_REPLICAS`` … ``SCALE_DOWN_WINDOW_SECONDS``, ``ESM_UUID_HIGH``, ``ESM_UUID_NORMAL``. May call
``sqs:GetQueueAttributes``, ``lambda:GetEventSourceMapping`` and ``lambda:UpdateEventSourceMapping``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from functions.scaler import mappings, publish, signals, tell
from functions.scaler.state import Memory
from shared.clock import now
from shared.scaling import history
from shared.scaling.policy import Config, decide
from shared.settings import settings

_memory = Memory()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Run one tick of the scaler; answers every lane's limit, and the lanes whose limit could not be set.

    Called with ``{"only": "pauses"}`` it just tells environments which lanes are paused now, so that they stop at once.
    """
    paused = tell.pauses() if settings().redis_url else []
    if event.get("only") == "pauses":
        return {"paused": paused}
    config = Config.of(settings())
    seen = signals.read(config.lanes)
    state, decision = decide(config, _memory.load(), seen, _time_of(event))
    limits = {lane: one.current for lane, one in seen.lanes.items() if one.current is not None}
    failed = mappings.apply(decision, limits)
    if settings().redis_url:
        history.note(_time_of(event), seen.lanes, decision)
        tell.slots({lane: max(one.target, limits.get(lane, 0)) for lane, one in decision.lanes.items()})
    _memory.save(state)
    publish.tick(decision, seen, failed)
    return {"targets": {lane: one.target for lane, one in decision.lanes.items()}, "failed": failed}


def _time_of(event: dict[str, Any]) -> float:
    """Return the time the tick was scheduled for: a late or repeated event counts for its own minute."""
    try:
        return datetime.fromisoformat(event["time"]).timestamp()
    except (
        KeyError,
        TypeError,
        ValueError,
    ):  # started by hand
        return now()
