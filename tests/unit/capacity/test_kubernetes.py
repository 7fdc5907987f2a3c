"""The policy and the separately written Kubernetes autoscaler decide alike when they see the same at the same time."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.capacity_model.kubernetes import Autoscaler
from shared.scaling.ceiling import Provider
from shared.scaling.policy import State, decide
from shared.scaling.profiles import Config
from shared.scaling.readings import LaneReadings, Readings

START = 1_700_000_040.0
CONFIG = replace(Config(), most=100)

loads = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 800)), min_size=1, max_size=60)


@given(loads)
@settings(max_examples=150, deadline=None)
def test_same_signals_same_sizes(course: list[tuple[int, int]]) -> None:
    # Kubernetes' windows are open at their far edge, and 30 s are less than a minute's tick: a second more than
    # what the policy rounds them up to.
    theirs = Autoscaler(2, 80, (5.0, 6.0), (4, 60.0, 61.0), (1, 120.0, 301.0))
    state: State | None = None
    size = 2
    # At first both see what they have; from then on their first recommendations agree.
    for n, (backlog, running) in enumerate([(10, 12), *course]):
        seen = Readings(
            {"high": LaneReadings(0, 0, 0, 2), "normal": LaneReadings(backlog, running, 0, size)}, Provider(0, 0, False)
        )
        state, decision = decide(CONFIG, state, seen, START + 60 * n)
        expected = theirs.reconcile((float(backlog), float(running)), size, START + 60 * n)
        assert decision.lanes["normal"].target == expected, (n, size)
        size = expected
