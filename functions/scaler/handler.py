"""Every minute: measure, decide, set the lanes' limits, publish what was seen and done.

With the profile ``swift`` the minute's call goes on looking every `SCALER_LOOK_SECONDS` until the minute is over, while
there are tasks; when there are none it ends at once, so a system at rest pays for one short call a minute.

Settings: ``MIN_REPLICAS`` … ``SCALE_DOWN_WINDOW_SECONDS``, ``ESM_UUID_HIGH``, ``ESM_UUID_NORMAL``. May call
``sqs:GetQueueAttributes``, ``lambda:GetEventSourceMapping`` and ``lambda:UpdateEventSourceMapping``.
"""

import time
from datetime import datetime
from typing import Any

from functions.scaler import mappings, measure, publish, tell
from functions.scaler.state import Memory
from shared.clock import now
from shared.scaling import history
from shared.scaling.policy import decide
from shared.scaling.profiles import Config
from shared.scaling.readings import Readings
from shared.settings import settings

MINUTE_SECONDS = 58.0
"""How long a minute's call looks on. The function's timeout is 70 s, and the next call comes after 60: should both
decide at the same moment, the later one changes nothing."""
SCHEDULED = "aws.events"
"""Source of the schedule's events. A call by hand looks once."""

_memory = Memory()
_clock, _sleep = time.monotonic, time.sleep


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Run one tick of the scaler; answers every lane's limit, and the lanes whose limit could not be set.

    Called with ``{"only": "pauses"}`` it just tells environments which lanes are paused now, so that they stop at once.
    """
    paused = tell.pauses() if settings().redis_url else []
    if event.get("only") == "pauses":
        return {"paused": paused}
    until = _clock() + MINUTE_SECONDS
    answer, seen = _tick(_time_of(event), told=True)
    looks = settings().scaling_profile == "swift" and event.get("source") == SCHEDULED
    pause = settings().scaler_look_seconds
    while looks and _busy(seen) and _clock() + pause < until:
        _sleep(pause)
        answer, seen = _tick(now(), told=False)
    return answer


def _tick(at: float, *, told: bool) -> tuple[dict[str, Any], Readings]:
    """Decide once; ``told``: publish it even if nothing changed."""
    config = Config.of(settings())
    seen = measure.read(config.lanes)
    state, decision = decide(config, _memory.load(), seen, at)
    limits = {lane: one.current for lane, one in seen.lanes.items() if one.current is not None}
    failed = mappings.apply(decision, limits)
    if settings().redis_url:
        if told:
            history.note(at, seen.lanes, decision)
        tell.slots({lane: max(one.target, limits.get(lane, 0)) for lane, one in decision.lanes.items()})
    _memory.save(state)
    targets = {lane: one.target for lane, one in decision.lanes.items()}
    if told or failed or any(limits.get(lane) != target for lane, target in targets.items()):
        publish.tick(decision, seen, failed)
    return {"targets": targets, "failed": failed}, seen


def _busy(seen: Readings) -> bool:
    """Tell whether any lane has tasks, or may have."""
    return any(one.load != 0 for one in seen.lanes.values())


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
