"""A HorizontalPodAutoscaler per lane, for comparison: written after the controller's own structure, not the policy's.

It shares no code with ``shared/scaling``, so that the two check each other
(``tests/unit/capacity/test_kubernetes.py``). Source: kubernetes/kubernetes, ``pkg/controller/podautoscaler``,
``horizontal.go`` (``normalizeDesiredReplicasWithBehaviors``) and ``replica_calculator.go``
(``GetExternalPerPodMetricReplicas``). It decides every 15 s, the controller manager's default.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from benchmarks.capacity_model.controllers import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.capacity_model.lane import Lane
    from shared.scaling.profiles import Config


class Autoscaler:
    """One HPA object with two per-pod metrics, a Pods policy in each direction and stabilization windows."""

    def __init__(
        self,
        least: int,
        most: int,
        targets: tuple[float, float],
        up: tuple[int, float, float],
        down: tuple[int, float, float],
    ) -> None:
        """Take bounds, the two metrics' targets per pod, and per direction (pods, period s, window s)."""
        self.least, self.most, self.targets = least, most, targets
        self.up_pods, self.up_period, self.up_window = up
        self.down_pods, self.down_period, self.down_window = down
        self.recommendations: list[tuple[float, int]] = []
        self.ups: list[tuple[float, int]] = []
        self.downs: list[tuple[float, int]] = []

    def proposal(self, values: tuple[float, float], current: int) -> int:
        """Return the larger of what the two metrics ask for."""
        sizes = []
        for value, target in zip(values, self.targets, strict=True):
            ratio = value / (target * current)
            sizes.append(current if abs(1.0 - ratio) <= 0.1 else math.ceil(value / target))
        return max(sizes)

    def reconcile(self, values: tuple[float, float], current: int, now: float) -> int:
        """Return the new number of pods."""
        if not self.recommendations:
            self.recommendations.append((now, current))
        if current > self.most:
            desired = self.most
        elif current < self.least:
            desired = self.least
        else:
            wish = self.proposal(values, current)
            desired = self.rate(self.stabilized(wish, current, now), current, now)
        if desired > current:
            self.ups.append((now, desired - current))
        elif desired < current:
            self.downs.append((now, current - desired))
        return desired

    def stabilized(self, wish: int, current: int, now: float) -> int:
        """Bring the present size between the smallest recent wish to grow and the largest to shrink."""
        lowest = highest = wish
        for at, replicas in self.recommendations:
            if at > now - self.up_window:
                lowest = min(lowest, replicas)
            if at > now - self.down_window:
                highest = max(highest, replicas)
        longest = max(self.up_window, self.down_window)
        self.recommendations = [one for one in self.recommendations if one[0] >= now - longest] + [(now, wish)]
        result = current
        if result < lowest:
            result = lowest
        if result > highest:
            result = highest
        return result

    def rate(self, wish: int, current: int, now: float) -> int:
        """Apply the policies and the bounds."""
        if wish > current:
            start = (
                current - self.changed(self.ups, self.up_period, now) + self.changed(self.downs, self.up_period, now)
            )
            limit = min(self.most, max(current, start + self.up_pods))
            return min(wish, limit)
        if wish < current:
            start = (
                current
                + self.changed(self.downs, self.down_period, now)
                - self.changed(self.ups, self.down_period, now)
            )
            limit = max(self.least, min(current, start - self.down_pods))
            return max(wish, limit)
        return wish

    @staticmethod
    def changed(events: list[tuple[float, int]], period: float, now: float) -> int:
        """Return how many pods were added (or removed) within a period."""
        return sum(change for at, change in events if at > now - period)


class Kubernetes:
    """Two autoscalers, one per lane, with the settings that the scaler has."""

    def __init__(self, config: Config, *, tick_s: float = 15.0) -> None:
        """Translate the settings; each lane may take what the scaler would let it take alone."""
        self.config, self.tick_s = config, tick_s
        targets = (config.target_backlog, config.runs_per_environment * config.target_utilization)
        up, down = config.up.policies[0], config.down.policies[0]
        reserve = max(2, config.most // 5)
        self.lanes = {
            name: Autoscaler(
                2,
                config.most - reserve,
                targets,
                (up.value, up.period_s, config.up.window_s),
                (down.value, down.period_s, config.down.window_s),
            )
            for name in config.lanes
        }

    def decide(self, now: float, lanes: Mapping[str, Lane], provider: tuple[int, int]) -> Choice:
        """Reconcile both."""
        limits, desired = {}, {}
        for name, autoscaler in self.lanes.items():
            lane = lanes[name]
            values = (float(len(lane.queue)), float(lane.running))
            desired[name] = autoscaler.proposal(values, lane.limit)
            limits[name] = autoscaler.reconcile(values, lane.limit, now)
        return Choice(limits, desired, self.config.most)
