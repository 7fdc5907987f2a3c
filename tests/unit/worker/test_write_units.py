"""What each phase of a run writes, in DynamoDB's write units, to the last one: a growth is noticed here.

The figures are those of `make write-units`; docs/costs.md has them beside those of earlier versions.
"""

from __future__ import annotations

import pytest

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
