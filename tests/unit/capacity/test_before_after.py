"""The table of this build beside the one before it: its shape, its medians, what it calls missed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks import before_after
from benchmarks.against.trees import ROOT, Probe, ProbeError
from benchmarks.capacity_model import drawing

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {
    "write_units_per_call",
    "write_units_per_run",
    "usd_per_1000_million",
    "usd_per_1000_default",
    "p99_wait_step_s",
    "p95_wait_default_s",
    "cpu_one_environment_ratio",
    "cpu_two_environments_ratio",
    "cpu_streamed_one_environment_ratio",
    "cpu_streamed_two_environments_ratio",
    "cold_api_ratio",
    "cold_worker_ratio",
    "submit_ratio",
}
EXACT = {name for name in KEYS if not name.endswith("_ratio")}


def both(value: float, names: set[str]) -> dict[str, dict[str, float]]:
    return {"before": dict.fromkeys(names, 2 * value), "after": dict.fromkeys(names, value)}


def whole(values: tuple[float, ...] = (0.9, 0.5, 0.7)) -> dict[str, object]:
    return before_after.table(both(3.0, EXACT), [both(value, KEYS - EXACT) for value in values])


def test_both_builds_have_every_figure_with_its_range() -> None:
    found = whole()
    assert set(found) == {
        "before", "after", "ranges", "rounds", "before_commit", "targets", "missed", "worse",
    }  # fmt: skip
    for build in ("before", "after"):
        assert set(found[build]) == set(found["ranges"][build]) == KEYS  # type: ignore[arg-type, index, call-overload]
    assert found["after"]["submit_ratio"] == 0.7  # type: ignore[index, call-overload]
    assert found["ranges"]["after"]["submit_ratio"] == [0.5, 0.9]  # type: ignore[index, call-overload]
    assert found["ranges"]["after"]["p99_wait_step_s"] == [3.0, 3.0]  # type: ignore[index, call-overload]
    assert found["rounds"] == 3
    assert found["worse"] == []


def test_a_target_that_is_missed_is_named_with_why_and_one_that_is_met_is_not() -> None:
    after = {name: before_after.TARGETS[name] for name in KEYS}
    assert before_after.missed(after) == {}
    late = before_after.missed(after | {"p99_wait_step_s": 10.1})
    assert list(late) == ["p99_wait_step_s"]
    assert late["p99_wait_step_s"].startswith("10.1 instead of 10: ")


def test_what_got_worse_is_said() -> None:
    rounds = [{"before": {"submit_ratio": 1.0}, "after": {"submit_ratio": 1.1}}]
    assert before_after.table({}, rounds)["worse"] == ["submit_ratio"]


@pytest.mark.together("drawing")  # to load what draws takes a second
def test_it_is_laid_out_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "RESULTS", tmp_path / "benchmarks" / "results")
    found = whole()
    laid = before_after.text(found)
    assert all(name in laid for name in KEYS)
    assert [path.name for path in before_after.draw(found)] == ["before_after.svg"]


def test_the_kept_table_has_its_shape() -> None:
    kept = drawing.RESULTS / "before_after.json"
    if not kept.exists():
        pytest.skip("not measured yet")
    found = json.loads(kept.read_text())
    assert set(found["after"]) == set(found["before"]) == KEYS
    assert found["rounds"] >= 5
    assert set(found["missed"]) == set(before_after.missed(found["after"]))


def test_unknown_parts_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        before_after.main(["--only", "waits,speed"])
    assert "speed" in capsys.readouterr().err


def test_a_probe_measures_its_own_checkout_and_says_what_fails() -> None:
    probe = Probe(ROOT)
    try:
        assert probe.ask("simulate", "flood")["p95_s"] > 0
        with pytest.raises(ProbeError, match="nowhere"):
            probe.ask("simulate", "nowhere")
        assert probe.ask("simulate", "flood")["usd_per_1000"] > 0, "it goes on"
    finally:
        probe.close()
