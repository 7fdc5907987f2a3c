"""The policy's state as JSON text. What cannot be read counts as none: the scaler starts afresh."""

import json
from typing import Any

from shared.scaling.ceiling import Ceiling
from shared.scaling.hpa import Change, History, Recommendation
from shared.scaling.policy import LaneState, State

VERSION = 2


def dump(state: State) -> str:
    """Write a state as JSON."""
    lanes = {
        name: {
            "target": lane.target,
            "recommendations": lane.history.recommendations,
            "changes": lane.history.changes,
            "waiting_since": lane.waiting_since,
            "spare": lane.spare,
            "load": lane.load,
        }
        for name, lane in state.lanes.items()
    }
    ceiling = {"most": state.ceiling.most, "cut_at": state.ceiling.cut_at}
    return json.dumps({"v": VERSION, "at": state.at, "lanes": lanes, "ceiling": ceiling}, separators=(",", ":"))


def load(text: str | None) -> State | None:
    """Read a state back; None when there is none, or none of this version."""
    if not text:
        return None
    try:
        value = json.loads(text)
        if value["v"] != VERSION:
            return None
        ceiling = Ceiling(int(value["ceiling"]["most"]), _number(value["ceiling"]["cut_at"]))
        return State(float(value["at"]), {str(name): _lane(lane) for name, lane in value["lanes"].items()}, ceiling)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _lane(value: dict[str, Any]) -> LaneState:
    recommendations = tuple(Recommendation(float(at), int(replicas)) for at, replicas in value["recommendations"])
    changes = tuple(Change(float(at), int(delta)) for at, delta in value["changes"])
    return LaneState(
        int(value["target"]),
        History(recommendations, changes),
        _number(value["waiting_since"]),
        int(value["spare"]),
        None if value["load"] is None else int(value["load"]),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
