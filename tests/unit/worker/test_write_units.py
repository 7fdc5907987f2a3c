"""What each phase of a run writes, in DynamoDB's write units, to the last one: a growth is noticed here.

The figures are those of `make write-units`; docs/decisions.md says where they come from.
"""

from __future__ import annotations

import pytest

from benchmarks.capacity_model import costs
from benchmarks.write_phases import phases

from .conftest import World

UNITS = {
    "submit": 4,  # the row, and the indexes of its user, of the day and of what is due
    "claim": 1,
    "heartbeat": 1,
    "text_batch_watched": 1,
    "recorded_call": 1,  # step, events and costs in one item
    "recorded_call_unstreamed": 1,
    "settle": 5,  # row and spending in a transaction (4), and the index of what is due
    "run": 10,
    "run_recorded_call": 11,
}


def test_each_phase_costs_exactly_so_many_write_units(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert phases(world, monkeypatch) == UNITS


def test_the_capacity_model_counts_with_what_is_measured() -> None:
    """What short texts leave out comes on top: a step over 1 KB, an answer that does not fit the row."""
    operations = costs.read("operations.json")
    written = {name: operations[name]["dynamodb_write"] for name in ("per_slice", "per_call", "per_beat", "last_call")}
    assert written == {
        "per_slice": UNITS["claim"], "per_call": UNITS["recorded_call"] + 1, "last_call": -UNITS["recorded_call"] - 1,
        "per_beat": UNITS["heartbeat"] + 0.2,
    }  # fmt: skip
    per_run = {name: one["dynamodb_write"] for name, one in operations["per_run"].items()}
    assert per_run == {"submit": UNITS["submit"], "settle": UNITS["settle"] + 1}
