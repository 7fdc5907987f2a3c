"""What `make` offers: few targets for everybody, the rest one step away, and the names that there were."""

from __future__ import annotations

import subprocess

import pytest

from localstack.environ import ROOT

MOST = 15
BENCHMARKS = (
    "chaos",
    "cuts",
    "streams",
    "deploy-midway",
    "soak",
    "soak-full",
    "leaks",
    "on-call",
    "capacity",
    "gb-seconds",
    "write-units",
    "bench-before-after",
    "bench",
    "fairness",
    "hostile",
    "bulk",
    "waiting",
    "bench-reference",
)


def make(*arguments: str) -> str:
    return subprocess.run(["make", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def shown(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line.startswith("  make ")]


def test_help_shows_at_most_fifteen_targets() -> None:
    targets = shown(make("help"))
    assert {"up", "down", "demo", "test", "deploy"} <= set(targets)
    assert len(targets) <= MOST
    assert set(targets) < set(shown(make("help", "ALL=1")))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_has_its_name_in_both_places(name: str) -> None:
    assert "benchmarks." in make("-n", name)
    assert f"-C .. {name}" in make("-n", "-C", "benchmarks", name)


def test_the_benchmarks_list_themselves() -> None:
    told = make("--no-print-directory", "-C", "benchmarks")
    assert [line.split()[3] for line in told.splitlines()] == list(BENCHMARKS)
