"""Two ways to scale a lane: what is measured, how often, and how fast its limit may move.

``hpa`` does what a Kubernetes HorizontalPodAutoscaler does with the owner's settings: once a minute, the larger of
waiting tasks per environment and the busy share of run slots, four environments more a minute and one less in two.

``swift`` uses what Lambda has and a cluster has not: a limit that nothing uses costs nothing, environments start within
seconds, and one that is no longer needed ends by itself. It looks every few seconds while there are any tasks, grows at
once to what those that wait or run need together, and shrinks within minutes. It never grows more slowly than Lambda
itself: 300 environments a minute. Its environments may be fuller, because a free slot is in every task's reach.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.scaling import ceiling, hpa
from shared.scaling.readings import LaneReadings
from shared.settings import Settings

TICK_SECONDS = 60.0
"""How often the scaler is called; the smallest rate that EventBridge schedules. ``hpa`` decides as often."""
HOLD_SECONDS = 300.0
"""How long a lane whose limit was lowered is taken to hold what it had, unless fewer tasks are in flight."""
LAMBDA_PER_MINUTE = 300
"""Environments that Lambda adds to a queue a minute (docs.aws.amazon.com/lambda, services-sqs-scaling.html)."""
LEAD_SECONDS = 15.0
"""How far ahead ``swift`` looks while tasks wait: until then a new limit holds, and environments have started."""
SWIFT_UP = hpa.Rules(0.0, (hpa.Policy("Pods", LAMBDA_PER_MINUTE, 60.0), hpa.Policy("Percent", 100, 15.0)))
"""The second is Kubernetes' own default; it is the larger one above 300 environments."""
SWIFT_DOWN = hpa.Rules(60.0, (hpa.Policy("Pods", 4, 60.0), hpa.Policy("Percent", 20, 60.0)))
"""Nothing is lost by shrinking soon: growing again takes seconds. A minute's window keeps it from following noise."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the owner set. Backlog in tasks per environment, utilization as a share of 1."""

    lanes: tuple[str, ...] = ("high", "normal")
    least: int = 2
    most: int = 20
    """Of all these lanes together: ``MAX_REPLICAS`` less what the quarantine lane has."""
    target_backlog: float = 5.0
    target_utilization: float = 0.6
    runs_per_environment: int = 10
    up: hpa.Rules = field(default_factory=lambda: hpa.Rules(30.0, (hpa.Policy("Pods", 4, 60.0),)))
    down: hpa.Rules = field(default_factory=lambda: hpa.Rules(300.0, (hpa.Policy("Pods", 1, 120.0),)))
    tolerance: float = 0.1
    tick_s: float = TICK_SECONDS
    provider: ceiling.Rule = field(default_factory=ceiling.Rule)
    swift: bool = False
    """Whether the metric is what waits and runs together, ``LEAD_SECONDS`` ahead."""
    lend: bool = False
    """Whether lanes without tasks are lent what nobody needs."""

    @property
    def hold_s(self) -> float:
        """How long what a lane had counts as held."""
        return max(HOLD_SECONDS, self.down.window_s) if self.swift else self.down.window_s

    @classmethod
    def of(cls, settings: Settings) -> Config:
        """Translate the settings of the function."""
        least, most = settings.min_replicas, settings.max_replicas - settings.quarantine_concurrency
        slots = settings.runs_per_environment
        if settings.scaling_profile == "swift":
            return cls(
                least=least,
                most=most,
                target_backlog=settings.target_backlog,
                target_utilization=settings.swift_utilization / 100,
                runs_per_environment=slots,
                up=SWIFT_UP,
                down=SWIFT_DOWN,
                tick_s=settings.scaler_look_seconds,
                swift=True,
                lend=True,
            )
        up = hpa.Policy("Pods", settings.scale_up_per_minute, 60.0)
        down = hpa.Policy("Pods", settings.scale_down_per_2min, 120.0)
        return cls(
            least=least,
            most=most,
            target_backlog=settings.target_backlog,
            target_utilization=settings.target_utilization / 100,
            runs_per_environment=slots,
            up=hpa.Rules(settings.scale_up_window_seconds, (up,)),
            down=hpa.Rules(settings.scale_down_window_seconds, (down,)),
        )


def metrics(config: Config, seen: LaneReadings, before: int | None, since_s: float) -> tuple[hpa.Metric, ...]:
    """Return what a lane is scaled on; ``before`` is its load ``since_s`` seconds ago, None if unknown."""
    slots = config.runs_per_environment * config.target_utilization
    # Kubernetes does not count pods that end. Here they are in the number that is set, so each counts as one that has
    # all that it should carry, and there is always one that takes more.
    ending = seen.closed - seen.draining * (config.runs_per_environment - slots)
    running = None if seen.in_flight is None else max(0.0, seen.in_flight + ending)
    others = (hpa.Metric("draining", seen.draining + 1, 1),) if seen.draining else ()
    if not config.swift:
        backlog = hpa.Metric("backlog", seen.visible, config.target_backlog)
        return backlog, hpa.Metric("utilization", running, slots), *others
    if seen.load is None:  # what is known may grow the lane; with the other missing it does not shrink
        return hpa.Metric("waiting", seen.visible, slots), hpa.Metric("running", running, slots), *others
    ahead = 0.0
    if seen.visible and before is not None and since_s > 0:
        ahead = max(0.0, (seen.load - before) / since_s) * LEAD_SECONDS
    load = hpa.Metric("load", max(0.0, seen.load + ending) + ahead, slots)
    # Tasks that wait beside free slots cannot have them, whatever the reason.
    return load, hpa.Metric("backlog", seen.visible, config.target_backlog), *others
