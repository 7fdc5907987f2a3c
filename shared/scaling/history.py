"""What the lanes looked like lately, a sample a minute: whoever opens the dashboard sees what was before.

The scaler notes it at each tick, in one list of Valkey's; without Valkey there is none.
"""

import json
from collections.abc import Mapping
from typing import Any

from shared import valkey
from shared.logs import get_logger
from shared.scaling.policy import Decision
from shared.scaling.readings import LaneReadings

KEY = "{sluice:scaler}:history"
"""List: samples as JSON, the newest first."""
SAMPLES = 1_440
"""A day's."""
KEPT_SECONDS = 2 * 86_400


def note(at: float, lanes: Mapping[str, LaneReadings], decision: Decision) -> None:
    """Keep a sample; a tick that comes twice is kept twice, and read once."""
    sample = {
        "at": round(at),
        "lanes": {
            lane: {
                "visible": one.visible,
                "in_flight": one.in_flight,
                "delayed": one.delayed,
                "target_replicas": decision.lanes[lane].target if lane in decision.lanes else None,
            }
            for lane, one in lanes.items()
        },
    }
    try:
        server = valkey.client()
        server.lpush(KEY, json.dumps(sample))
        server.ltrim(KEY, 0, SAMPLES - 1)
        server.expire(KEY, KEPT_SECONDS)
    except valkey.RedisError as error:
        get_logger("scaler").warning("sample not kept", extra={"cause": str(error)})


def read(most: int = SAMPLES) -> list[dict[str, Any]]:
    """Return the newest samples, the oldest first, each minute once.

    Raises:
        RedisError: Valkey is away.
    """
    found: list[Any] = valkey.client().lrange(KEY, 0, most - 1)
    by_time = {}
    for text in found:
        try:
            sample = json.loads(text)
            by_time[sample["at"]] = sample
        except (ValueError, KeyError, TypeError):  # of another version
            continue
    return [by_time[at] for at in sorted(by_time)]
