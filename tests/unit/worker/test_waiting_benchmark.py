"""`make waiting`: its counted parts run small here, and its verdict names what must not be."""

import copy
from typing import Any

import pytest

from benchmarks.waiting import faults
from benchmarks.waiting_parts import joined, stored


def test_a_sweep_asks_the_same_of_few_and_of_many_waiting_runs() -> None:
    found = stored(5, 60)
    assert [one["waiting"] for one in found["sweeps"]] == [5, 60]
    assert found["sweeps"][0]["requests"] > 0
    assert faults({"stored": found}) == []


def test_children_that_really_run_are_joined_each_once() -> None:
    found = joined(33)
    assert (found["children_run"], found["children_complete"], found["in_order"]) == (33, 33, True)
    assert faults({"joined": found}) == []


GOOD: dict[str, Any] = {
    "stored": {"sweeps": [{"requests": 20, "items": 1, "messages": 0} for _ in range(2)]},
    "joined": {
        "children": 1_000, "status": "complete", "children_run": 1_000, "children_run_twice": 0,
        "children_complete": 1_000, "in_order": True, "most_writes_of_another_item": 32,
    },
    "woken": {"accepted_p95_added_s": 1.0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("stored", "sweeps", 1, "requests"), 21),
        (("stored", "sweeps", 1, "items"), 2),
        (("stored", "sweeps", 1, "messages"), 1),
        (("joined", "children_run"), 999),
        (("joined", "children_run_twice"), 1),
        (("joined", "children_complete"), 999),
        (("joined", "status"), "failed"),
        (("joined", "in_order"), False),
        (("joined", "most_writes_of_another_item"), 33),
        (("woken", "accepted_p95_added_s"), 1.1),
    ],
)
def test_the_verdict_names_what_must_not_be(place: tuple[Any, ...], value: Any) -> None:
    assert faults(GOOD) == []
    result = at = copy.deepcopy(GOOD)
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    assert len(faults(result)) == 1
