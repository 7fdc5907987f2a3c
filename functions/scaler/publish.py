"""The scaler's metrics and its one log line a tick."""

from shared import metrics
from shared.logs import get_logger
from shared.scaling.policy import Decision
from shared.scaling.readings import LaneReadings, Readings


def _per_replica(measured: LaneReadings) -> float | None:
    """Messages that wait per environment that may work; the scaler aims at ``TARGET_BACKLOG``."""
    if measured.visible is None or not measured.current:
        return None
    return round(measured.visible / measured.current, 2)


def tick(decision: Decision, seen: Readings, failed: list[str]) -> None:
    """Publish what was measured and decided, per lane and in all, and a log line that explains it."""
    explained = {}
    for name, lane in decision.lanes.items():
        measured = seen.lanes[name]
        values = {
            "Backlog": (measured.visible, "Count"),
            "InFlight": (measured.in_flight, "Count"),
            "Delayed": (measured.delayed, "Count"),
            "BacklogAge": (lane.backlog_age_s, "Seconds"),
            "DesiredReplicas": (lane.desired, "Count"),
            "TargetReplicas": (lane.target, "Count"),
            "ActualReplicas": (measured.current, "Count"),
            "BacklogPerReplica": (_per_replica(measured), "Count"),
        }
        metrics.emit(
            {key: (float(value), unit) for key, (value, unit) in values.items() if value is not None},
            lane=name,
        )
        explained[name] = {
            "visible": measured.visible,
            "in_flight": measured.in_flight,
            "desired": lane.desired,
            "from": lane.current,
            "to": lane.target,
            "reason": lane.reason,
        }
    if seen.provider.breaker_open is not None:
        metrics.count("BreakerOpen", int(seen.provider.breaker_open))
    metrics.emit({"ReplicaCeiling": (float(decision.ceiling), "Count")})
    share = seen.provider.share
    if share is not None:
        metrics.emit({"ProviderThrottledShare": (round(share * 100, 2), "Percent")})
    get_logger("scaler").info(
        "scaled",
        extra={"lanes": explained, "ceiling": decision.ceiling, "failed": failed, "throttled": share},
    )
