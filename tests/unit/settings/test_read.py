"""Every setting is checked on both sides of its bounds, and what depends on two settings on both sides of its rule."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from shared.errors import SettingError
from shared.settings import LEAST_SCALED, Settings, read

ROOM = {
    # what the rules on two settings want, so that each bound can be tried alone
    "LEASE_SECONDS": {"HEARTBEAT_SECONDS": "0.2"},
    "HEARTBEAT_SECONDS": {"LEASE_SECONDS": "600"},
    "BATCH_SIZE": {"RUNS_PER_ENVIRONMENT": "144"},
    "RUNS_PER_ENVIRONMENT": {"BATCH_SIZE": "1"},
    "MODEL_TIMEOUT_SECONDS": {"WORKER_TIMEOUT_SECONDS": "900"},
    "WORKER_TIMEOUT_SECONDS": {"MODEL_TIMEOUT_SECONDS": "1"},
    "TASK_TTL_DAYS": {"BLOB_DAYS": "3650"},
    "BLOB_DAYS": {"TASK_TTL_DAYS": "0.01"},
    "MIN_REPLICAS": {"MAX_REPLICAS": "1000000"},
    "QUARANTINE_CONCURRENCY": {"MAX_REPLICAS": "1000000"},
}
BOUNDS = [
    (field.name.upper(), side, float(field.metadata[side]), str(field.type))
    for field in fields(Settings)
    for side in ("low", "high")
    if field.metadata[side] is not None
]
CHOICES = [(field.name.upper(), field.metadata["one_of"]) for field in fields(Settings) if field.metadata["one_of"]]


def made(name: str, text: str, **more: str) -> Any:
    # only what a bound's own test needs, as far as the bound itself is one that the variable has
    return getattr(read(ROOM.get(name, {}) | {name: text} | more), name.lower())


def written(value: float, kind: str) -> str:
    return str(int(value)) if kind == "int" else str(value)


@pytest.mark.parametrize(("name", "side", "bound", "kind"), BOUNDS)
def test_a_bound_is_taken_and_what_lies_beyond_is_refused(name: str, side: str, bound: float, kind: str) -> None:
    assert made(name, written(bound, kind)) == bound
    step = 1 if kind == "int" else math.ulp(bound) * 4
    beyond = bound - step if side == "low" else bound + step
    with pytest.raises(SettingError, match=f"^{name} must be within") as refused:
        made(name, written(beyond, kind))
    assert refused.value.param == name.lower()


@pytest.mark.parametrize(("name", "choices"), CHOICES)
def test_one_of_a_few(name: str, choices: tuple[str, ...]) -> None:
    assert [made(name, choice) for choice in choices] == list(choices)
    with pytest.raises(SettingError, match=f"^{name} must be one of"):
        made(name, "something else")


@pytest.mark.parametrize("text", ["", "nan", "1e999", "ten", "1,5", "0x10", "1.5"])
def test_a_number_that_is_none_names_the_variable(text: str) -> None:
    if not text:
        assert made("LEASE_SECONDS", text) == 60
        return
    with pytest.raises(SettingError, match="LEASE_SECONDS"):
        made("LEASE_SECONDS", text)
    if text != "1.5":
        with pytest.raises(SettingError, match="HEARTBEAT_SECONDS"):
            made("HEARTBEAT_SECONDS", text)


@pytest.mark.parametrize(
    ("fits", "does_not", "names"),
    [
        ({"LEASE_SECONDS": "40", "HEARTBEAT_SECONDS": "20"}, {"HEARTBEAT_SECONDS": "20.1"}, "HEARTBEAT_SECONDS"),
        ({"BATCH_SIZE": "10", "RUNS_PER_ENVIRONMENT": "10"}, {"RUNS_PER_ENVIRONMENT": "9"}, "BATCH_SIZE"),
        (
            {"MODEL_TIMEOUT_SECONDS": "95", "WORKER_TIMEOUT_SECONDS": "100"},
            {"MODEL_TIMEOUT_SECONDS": "96"},
            "WORKER_TIMEOUT_SECONDS",
        ),
        ({"TASK_TTL_DAYS": "30", "BLOB_DAYS": "30"}, {"TASK_TTL_DAYS": "31"}, "TASK_TTL_DAYS"),
        (
            {"MIN_REPLICAS": "18", "MAX_REPLICAS": "20", "QUARANTINE_CONCURRENCY": "2"},
            {"MIN_REPLICAS": "19"},
            "MIN_REPLICAS must be at most MAX_REPLICAS less QUARANTINE_CONCURRENCY, 18",
        ),
        (
            {"MIN_REPLICAS": "2", "MAX_REPLICAS": str(LEAST_SCALED + 3), "QUARANTINE_CONCURRENCY": "3"},
            {"MAX_REPLICAS": str(LEAST_SCALED + 2)},
            "MAX_REPLICAS must exceed QUARANTINE_CONCURRENCY",
        ),
    ],
)
def test_rules_on_two_settings(fits: dict[str, str], does_not: dict[str, str], names: str) -> None:
    read(fits)
    with pytest.raises(SettingError, match=names):
        read(fits | does_not)
