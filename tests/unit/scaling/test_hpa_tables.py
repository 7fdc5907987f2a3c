"""Published figures of the Kubernetes autoscaler. Each id names its source:

docs: "Algorithm details" and "Configurable scaling behavior", kubernetes.io, horizontal-pod-autoscale
blog: "Kubernetes v1.33: HorizontalPodAutoscaler Configurable Tolerance", kubernetes.io, 2025-04-28
calc: kubernetes/kubernetes, pkg/controller/podautoscaler/replica_calculator_test.go
ctrl: kubernetes/kubernetes, pkg/controller/podautoscaler/horizontal_test.go
kep: KEP-853, "Configurable scale up/down velocity for HPA"
"""

from itertools import pairwise

import pytest

from shared.scaling.hpa import (
    Change,
    History,
    Metric,
    Policy,
    Recommendation,
    Rules,
    Spec,
    limit,
    recommend,
    remember,
    stabilize,
    wanted,
)

NOW = 1_000_000.0
MINUTE = 60.0


def case(name: str, *values: object) -> object:
    return pytest.param(*values, id=name)


@pytest.mark.parametrize(
    ("current", "total", "target", "tolerance", "expected"),
    [
        case("docs: 200m of 100m doubles", 3, 600, 100, 0.1, 6),
        case("docs: 50m of 100m halves", 4, 200, 100, 0.1, 2),
        case("docs: closer than a tenth is left alone", 10, 1090, 100, 0.1, 10),
        case("blog: 50 replicas at 90 % of 75 % make 60", 50, 4500, 75, 0.1, 60),
        case("blog: without tolerance 101 % of the target counts", 100, 10_100, 100, 0.0, 101),
        case("calc: ScaleUp, 30 % of three pods at 300, 500, 700", 3, 1500, 300, 0.1, 5),
        case("calc: ScaleUpCM, 20000 of 15000", 3, 60_000, 15_000, 0.1, 4),
        case("calc: ScaleUpCMPerPodObject, 20000 in all, 5000 each", 3, 20_000, 5000, 0.1, 4),
        case("calc: ScaleUpPerPodCMExternal, 8600 in all, 2150 each", 3, 8600, 2150, 0.1, 4),
        case("calc: ScaleUpCMExternal, 8600 of 4400", 1, 8600, 4400, 0.1, 2),
        case("calc: ScaleDown, five pods at 100..500, 50 %", 5, 1400, 500, 0.1, 3),
        case("calc: ScaleDownCM, 12000 of 20000", 5, 60_000, 20_000, 0.1, 3),
        case("calc: ScaleDownPerPodCMObject, 6000 in all, 2000 each", 5, 6000, 2000, 0.1, 3),
        case("ctrl: ToleranceCM, 20.0, 20.001, 21.0 of 20", 3, 61_001, 20_000, 0.1, 3),
        case("ctrl: TolerancePerPodCMExternal, 8600 in all, 2200 each", 4, 8600, 2200, 0.1, 4),
        case("ctrl: ZeroMinReplicasDesiredZero", 3, 0, 900, 0.1, 0),
    ],
)
def test_size_one_metric_asks_for(current: int, total: float, target: float, tolerance: float, expected: int) -> None:
    assert wanted(Metric("m", total, target), current, tolerance) == expected


def test_from_zero_the_ratio_is_taken_as_it_is() -> None:
    # getUsageRatioReplicaCount: no tolerance and no division by the present size at zero replicas.
    assert wanted(Metric("m", 1, 5), 0, 0.1) == 1
    assert wanted(Metric("m", 23, 5), 0, 0.1) == 5
    assert wanted(Metric("m", 0, 5), 0, 0.1) == 0


@pytest.mark.parametrize(
    ("current", "metrics", "expected"),
    [
        case("docs: the largest proposal wins", 3, [(30, 5), (12, 6)], 6),
        case("docs: one missing, the other scales up", 3, [(None, 5), (24, 6)], 4),
        case("docs: one missing, no scale-down", 5, [(None, 5), (12, 6)], None),
        case("docs: one missing, the other is content", 5, [(25, 5), (None, 6)], 5),
        case("ctrl: all invalid, nothing is done", 5, [(None, 5), (None, 6)], None),
        case("ctrl: ScaleUpOneMetricEmpty, 300, 400, 500 of 30 %", 3, [(1200, 300), (None, 100)], 4),
        case("ctrl: NoScaleDownOneMetricEmpty, 100..500 of 50 %", 5, [(1400, 500), (None, 1000)], None),
    ],
)
def test_several_metrics(current: int, metrics: list[tuple[float | None, float]], expected: int | None) -> None:
    measured = [Metric(str(n), total, target) for n, (total, target) in enumerate(metrics)]
    assert recommend(measured, current, 0.1) == expected


def spec(
    up_window: float = 0,
    down_window: float = 0,
    *,
    least: int = 0,
    most: int = 10_000,
    up: tuple[Policy, ...] = (Policy("Pods", 10_000, 60),),
    down: tuple[Policy, ...] = (Policy("Percent", 100, 60),),
) -> Spec:
    return Spec(least, most, Rules(up_window, up), Rules(down_window, down), tick_s=1.0)


@pytest.mark.parametrize(
    ("past", "current", "recommendation", "windows", "expected"),
    [
        case("ctrl: empty recommendations for scaling down", [], 100, 5, (0, 0), 5),
        case("ctrl: simple scale down stabilization", [(2, 4), (1, 5)], 100, 3, (0, 180), 5),
        case("ctrl: simple scale up stabilization", [(2, 4), (1, 5)], 1, 7, (300, 0), 4),
        case("ctrl: no scale down stabilization", [(2, 1), (1, 2)], 100, 3, (300, 0), 3),
        case("ctrl: no scale up stabilization", [(2, 4), (1, 5)], 1, 3, (0, 300), 3),
        case("ctrl: no scale down, old recommendations", [(10, 10), (9, 9)], 100, 3, (0, 0), 3),
        case("ctrl: no scale up, old recommendations", [(10, 10), (9, 9)], 1, 100, (0, 0), 100),
        case("ctrl: scale down, one of four obsolete", [(10, 10), (1, 4), (2, 5), (9, 9)], 100, 3, (0, 180), 5),
        case("ctrl: scale up, one of four obsolete", [(100, 10), (1, 6), (2, 5), (3, 9)], 1, 100, (300, 0), 5),
        case("ctrl: both, no up when it goes down", [(100, 2), (3, 3)], 2, 1, (300, 300), 2),
        case("ctrl: both, no down when it goes up", [(100, 2), (3, 1)], 2, 3, (300, 300), 2),
    ],
)
def test_stabilization(
    past: list[tuple[float, int]],
    current: int,
    recommendation: int,
    windows: tuple[float, float],
    expected: int,
) -> None:
    earlier = [Recommendation(NOW - minutes * MINUTE, replicas) for minutes, replicas in past]
    assert stabilize(spec(*windows), earlier, recommendation, current, NOW) == expected


def run(spec: Spec, recommendations: list[int], current: int) -> list[int]:
    """Feed one recommendation a minute to the algorithm and return the sizes."""
    history, sizes = History(), []
    for n, wish in enumerate(recommendations):
        at = NOW + n * MINUTE
        size = limit(
            spec,
            history.changes,
            stabilize(spec, history.recommendations, wish, current, at),
            current,
            at,
        )
        history = remember(spec, history, wish, size - current, at)
        current = size
        sizes.append(size)
    return sizes


def test_kep_story_5_ten_minutes_of_the_largest() -> None:
    # Ten recommendations count, the present one among them: 540 s back, at one a minute.
    down = (Policy("Pods", 5, 60),)
    sizes = run(spec(0, 540, down=down), [10, 9, 8, 9, 9, 8, 9, 8, 9, 8, 7], 10)
    assert sizes == [10] * 10 + [9]


def test_kep_story_6_the_smallest_of_five_minutes() -> None:
    sizes = run(spec(300, 300, up=(Policy("Pods", 20, 60),)), [2, 3, 19, 10, 3, 4, 7], 2)
    assert sizes == [2] * 6 + [3]


def test_kep_stories_1_to_4_rates() -> None:
    grow = spec(up=(Policy("Percent", 900, 60),))
    assert run(grow, [1000] * 3, 1) == [10, 100, 1000]
    slowly = spec(down=(Policy("Pods", 1, 600),))
    assert run(slowly, [1] * 21, 1000)[::10] == [999, 998, 997]
    assert run(spec(up=(Policy("Pods", 1, 60),)), [9] * 3, 1) == [2, 3, 4]
    assert run(spec(down=(Policy("Pods", 0, 60),)), [1] * 3, 7) == [7, 7, 7]


def test_docs_80_to_10_by_a_tenth_or_four_pods() -> None:
    rules = spec(down=(Policy("Pods", 4, 60), Policy("Percent", 10, 60)))
    sizes = run(rules, [10] * 20, 80)
    assert sizes[:2] == [72, 64]
    # "When the number of replicas falls below 40 the first policy (Pods) is applied": four at a time.
    below = [size for size in sizes if size < 40]
    assert all(earlier - later == 4 or later == 10 for earlier, later in pairwise(below) if earlier != 10)
    assert sizes[-1] == 10


def test_docs_select_min_and_disabled() -> None:
    policies = (Policy("Percent", 10, 60), Policy("Pods", 5, 60))
    smallest = Spec(1, 1000, Rules(0, ()), Rules(0, policies, "Min"), tick_s=1.0)
    assert limit(smallest, [], 1, 100, NOW) == 95
    assert limit(smallest, [], 1, 20, NOW) == 18
    off = Spec(1, 1000, Rules(0, policies, "Disabled"), Rules(0, policies, "Disabled"), tick_s=1.0)
    assert limit(off, [], 1, 20, NOW) == 20
    assert limit(off, [], 99, 20, NOW) == 20


def spread(changes: list[int], period: float) -> list[Change]:
    """Spread changes evenly over the period before now, as the controller's tests do."""
    segment = period / len(changes) if changes else 0
    return [Change(NOW - (period - segment * (n + 0.5)), change) for n, change in enumerate(changes)]


def rules(pods: int, pods_period: float, percent: int, percent_period: float) -> tuple[Policy, ...]:
    made = []
    if pods:
        made.append(Policy("Pods", pods, pods_period))
    if percent:
        made.append(Policy("Percent", percent, percent_period))
    return tuple(made)


DEFAULT_UP = rules(4, 15, 100, 15)
DEFAULT_DOWN = rules(0, 0, 100, 15)


@pytest.mark.parametrize(
    ("bounds", "current", "desired", "policies", "ups", "downs", "expected"),
    [
        case("ctrl: desired within range", (3, 8), 5, 7, None, [], [], 7),
        case("ctrl: desired < least", (2, 8), 3, 1, None, [], [], 2),
        case("ctrl: within range when the least is 0", (0, 10), 1, 0, None, [], [], 0),
        case("ctrl: above the most already", (1, 10), 20, 1000, None, [], [], 10),
        case("ctrl: desired above the most", (100, 150), 100, 1000, None, [], [], 150),
        case("ctrl: 1 % of 3 rounds up", (1, 2000), 3, 1000, rules(0, 0, 1, 60), [], [], 4),
        case("ctrl: 1000 down by 20", (3, 2000), 1000, 3, rules(20, 60, 0, 0), [], [], 980),
        case("ctrl: up with default behavior", (1, 1000), 10, 50, None, [], [], 20),
        case("ctrl: up, pods larger", (1, 1000), 10, 500, rules(100, 60, 100, 60), [], [], 110),
        case("ctrl: up, percent larger", (1, 1000), 10, 500, rules(2, 60, 100, 60), [], [], 20),
        case("ctrl: up, large pods policy", (1, 1000), 10, 50, rules(100, 60, 0, 0), [], [], 50),
        case("ctrl: up, pods policy limits", (1, 1000), 10, 50, rules(30, 60, 0, 0), [], [], 40),
        case("ctrl: up, percent policy limits", (1, 1000), 10, 50, rules(0, 0, 200, 60), [], [], 30),
        case("ctrl: down, pods larger", (1, 1000), 100, 2, rules(20, 60, 1, 60), [], [], 80),
        case("ctrl: down, percent larger", (1, 1000), 100, 2, rules(2, 60, 1, 60), [], [], 98),
        case("ctrl: down, limited by the least", (1, 1000), 10, 0, rules(100, 60, 0, 0), [], [], 1),
        case("ctrl: down, percent, by the least", (5, 1000), 10, 2, rules(0, 0, 100, 60), [], [], 5),
        case("ctrl: down, pods policy limits", (1, 1000), 10, 2, rules(5, 60, 0, 0), [], [], 5),
        case("ctrl: down, percent policy limits", (1, 1000), 10, 5, rules(0, 0, 50, 60), [], [], 5),
        case(
            "ctrl: up, most, pods and events",
            (1, 200),
            100,
            500,
            rules(300, 60, 0, 0),
            [1, 5, 9],
            [],
            200,
        ),
        case(
            "ctrl: up, events forbid more",
            (1, 1000),
            100,
            500,
            rules(5, 120, 0, 0),
            [1, 5, 9],
            [],
            100,
        ),
        case(
            "ctrl: up, pods and events",
            (1, 1000),
            100,
            500,
            rules(150, 120, 0, 0),
            [1, 5, 9],
            [],
            235,
        ),
        case(
            "ctrl: up, percent and events",
            (1, 1000),
            100,
            500,
            rules(0, 0, 200, 120),
            [1, 5, 9],
            [],
            255,
        ),
        case("ctrl: up, ups and downs", (1, 1000), 6, 24, rules(0, 0, 300, 300), [4], [2], 16),
        case("ctrl: down, default, events", (1, 1000), 10, 5, None, [], [1, 5, 9], 5),
        case(
            "ctrl: down, large pods, events",
            (1, 1000),
            100,
            0,
            rules(115, 120, 0, 0),
            [],
            [1, 5, 9],
            1,
        ),
        case(
            "ctrl: down, pods and events",
            (1, 1000),
            100,
            2,
            rules(5, 120, 0, 0),
            [],
            [1, 5, 9],
            100,
        ),
        case(
            "ctrl: down, percent and events",
            (1, 1000),
            100,
            0,
            rules(0, 0, 50, 120),
            [],
            [2, 4, 6],
            56,
        ),
        case("ctrl: down, ups and downs", (1, 1000), 10, 1, rules(0, 0, 50, 180), [2], [4], 6),
        case(
            "ctrl: down, events forbid more",
            (1, 1000),
            100,
            0,
            rules(0, 0, 10, 120),
            [],
            [10, 10, 10],
            100,
        ),
        case(
            "ctrl: down, below zero",
            (1, 1000),
            10,
            5,
            rules(0, 0, 1000, 120),
            [],
            [10, 10, 10],
            5,
        ),
        case(
            "ctrl: up, only half outdated",
            (1, 1000),
            100,
            200,
            rules(1000, 120, 100, 60),
            [8, 12, 9, 11],
            [],
            200,
        ),
    ],
)
def test_rates(
    bounds: tuple[int, int],
    current: int,
    desired: int,
    policies: tuple[Policy, ...] | None,
    ups: list[int],
    downs: list[int],
    expected: int,
) -> None:
    least, most = bounds
    behavior = Spec(
        least,
        most,
        Rules(0, policies if policies and desired > current else DEFAULT_UP),
        Rules(0, policies if policies and desired < current else DEFAULT_DOWN),
        tick_s=1.0,
    )
    changes = spread(ups, 120) + [Change(at, -delta) for at, delta in spread(downs, 120)]
    assert limit(behavior, changes, desired, current, NOW) == expected


def test_calculate_scale_down_limit_select_min_takes_the_larger_rest() -> None:
    # TestScalingPolicySelect's figures: 5 replicas, two pods or half of them.
    both = (Policy("Pods", 2, 60), Policy("Percent", 50, 60))
    assert limit(Spec(0, 10, Rules(0, ()), Rules(0, both, "Min")), [], 0, 5, NOW) == 3
    assert limit(Spec(0, 10, Rules(0, ()), Rules(0, both, "Max")), [], 0, 5, NOW) == 2


def test_a_window_shorter_than_a_tick_still_asks_the_tick_before() -> None:
    minutely = Spec(2, 20, Rules(30, (Policy("Pods", 4, 60),)), Rules(300, (Policy("Pods", 1, 120),)))
    assert run(minutely, [9, 9, 9, 9], 2) == [6, 9, 9, 9]  # nothing earlier is known: it may act at once
    assert run(minutely, [2, 9, 9, 9], 2) == [2, 2, 6, 9]
    assert run(minutely, [2, 9, 2, 9], 2) == [2, 2, 2, 2]
