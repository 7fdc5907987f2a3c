"""The Kubernetes HorizontalPodAutoscaler, version 2, as pure functions of its inputs.

Sources: "Algorithm details" and "Configurable scaling behavior" of
https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/, KEP-853, and the
controller (``pkg/controller/podautoscaler/horizontal.go``, ``replica_calculator.go``) with its test tables,
which these functions pass (``tests/unit/scaling/test_hpa_tables.py``). ``docs/scaling.md`` says what differs.

Times are seconds on any one clock, periods and windows are seconds, replicas are worker environments.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

_EPSILON = 1e-9


class Metric(NamedTuple):
    """What is measured over all replicas, and how much of it one replica should carry."""

    name: str
    total: float | None
    """None: it could not be measured."""
    target: float


class Policy(NamedTuple):
    """At most so much change within a period."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Rules:
    """One direction's stabilization window and policies (``behavior.scaleUp`` or ``behavior.scaleDown``)."""

    window_s: float
    policies: tuple[Policy, ...]
    select: Literal["Max", "Min", "Disabled"] = "Max"


@dataclass(frozen=True, slots=True)
class Spec:
    """One autoscaler's specification."""

    least: int
    most: int
    up: Rules
    down: Rules
    tolerance: float = 0.1
    """Ratio within which nothing changes; Kubernetes' default."""
    tick_s: float = 60.0
    """How often decisions are made. Windows are rounded up to whole ticks: a short one still means one."""


class Recommendation(NamedTuple):
    """What the metrics alone asked for, and when."""

    at: float
    replicas: int


class Change(NamedTuple):
    """A change of size that was made, and when."""

    at: float
    delta: int


@dataclass(frozen=True, slots=True)
class History:
    """What an autoscaler remembers."""

    recommendations: tuple[Recommendation, ...] = ()
    changes: tuple[Change, ...] = ()


def wanted(metric: Metric, current: int, tolerance: float) -> int | None:
    """Return the size one metric asks for: ``ceil(current * value / target)``; None when it was not measured.

    The value is an average over the replicas, so ``current`` cancels out. From zero replicas the
    tolerance does not apply (``getUsageRatioReplicaCount``).
    """
    if metric.total is None:
        return None
    if current > 0 and abs(1.0 - metric.total / (metric.target * current)) <= tolerance:
        return current
    return math.ceil(metric.total / metric.target - _EPSILON)


def recommend(metrics: Sequence[Metric], current: int, tolerance: float) -> int | None:
    """Return the largest size that a metric asks for; None when nothing can be said.

    With a metric missing, the others may still scale up; a scale-down is skipped, because the missing one
    might have forbidden it.
    """
    sizes = [size for metric in metrics if (size := wanted(metric, current, tolerance)) is not None]
    if not sizes or (len(sizes) < len(metrics) and max(sizes) < current):
        return None
    return max(sizes)


def stabilize(spec: Spec, past: Iterable[Recommendation], recommendation: int, current: int, now: float) -> int:
    """Keep the size while recent recommendations disagree with changing it.

    Growing takes the smallest recommendation of its window, shrinking the largest of its own. An earlier
    recommendation counts up to and including the far edge of the window.
    """
    low = high = recommendation
    up_s, down_s = (_whole_ticks(rules.window_s, spec.tick_s) for rules in (spec.up, spec.down))
    for earlier in past:
        age = now - earlier.at
        if age <= up_s + _EPSILON:
            low = min(low, earlier.replicas)
        if age <= down_s + _EPSILON:
            high = max(high, earlier.replicas)
    return min(max(current, low), high)


def _whole_ticks(window_s: float, tick_s: float) -> float:
    return math.ceil(window_s / tick_s - _EPSILON) * tick_s


def limit(spec: Spec, changes: Sequence[Change], stabilized: int, current: int, now: float) -> int:
    """Bring a size within the rates and bounds of the specification."""
    if current > spec.most:
        return spec.most
    if current < spec.least:
        return spec.least
    if stabilized > current:
        rate = _rate_limit(spec.up, changes, current, now, 1)
        return min(stabilized, spec.most, max(current, rate))
    if stabilized < current:
        rate = _rate_limit(spec.down, changes, current, now, -1)
        return max(stabilized, spec.least, min(current, rate))
    return stabilized


def _at_start(policy: Policy, changes: Sequence[Change], current: int, now: float) -> int:
    return current - sum(change.delta for change in changes if now - change.at < policy.period_s - _EPSILON)


def _rate_limit(rules: Rules, changes: Sequence[Change], current: int, now: float, way: int) -> int:
    """Return the size that the rules allow; ``way`` is 1 for up and -1 for down."""
    if rules.select == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        start = _at_start(policy, changes, current, now)
        if policy.kind == "Pods":
            limits.append(start + way * policy.value)
        elif way > 0:  # rounded up: a small percentage of a few replicas must still allow a step
            limits.append(math.ceil(start * (100 + policy.value) / 100 - _EPSILON))
        else:
            limits.append(int(start * (100 - policy.value) / 100))
    return way * (min if rules.select == "Min" else max)(way * limit for limit in limits)


def remember(
    spec: Spec, history: History, recommendation: int | None, delta: int, now: float, *, kept_s: float = 0.0
) -> History:
    """Add what was recommended and changed now, and forget what no window or period reaches any more.

    Changes are kept for ``kept_s`` at least.
    """
    recommendations = history.recommendations
    if recommendation is not None:
        recommendations = (*recommendations, Recommendation(now, recommendation))
    changes = (*history.changes, Change(now, delta)) if delta else history.changes
    window = max(_whole_ticks(rules.window_s, spec.tick_s) for rules in (spec.up, spec.down))
    periods = (policy.period_s for rules in (spec.up, spec.down) for policy in rules.policies)
    kept_s = max(window, kept_s, *periods) + _EPSILON
    return History(
        tuple(past for past in recommendations if now - past.at <= window + _EPSILON),
        tuple(past for past in changes if now - past.at <= kept_s),
    )


def largest(history: History, current: int, now: float, window_s: float) -> int:
    """Return the largest size within a window, the present one included."""
    size = most = current
    for change in reversed(history.changes):
        if now - change.at > window_s + _EPSILON:
            break
        size -= change.delta
        most = max(most, size)
    return most
