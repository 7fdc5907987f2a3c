"""What a simulation would cost on AWS, by service, for every 1,000 runs that ended.

Quantities come from the simulation (environment seconds, invocations, slices, calls, heartbeats), operations per
quantity from ``capacity_data/operations.json``, prices from ``capacity_data/prices.json`` and, for tokens,
``shared/limits/prices.json``.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.capacity_model.result import Result
    from benchmarks.capacity_model.scenario import Scenario
    from benchmarks.capacity_model.workload import Load

ROOT = Path(__file__).parent.parent
DATA = ROOT / "capacity_data"
API_GB = 1.0
SCALER_GB = 0.25
ONE_LOOK_S = 0.3
"""How long the scaler takes when it looks once; assumed, not measured on AWS (`deploy.costs`)."""
SERVICES = {
    "lambda_gb_s": "Lambda, worker GB-s",
    "api_gb_s": "Lambda, API GB-s",
    "scaler_gb_s": "Lambda, scaler GB-s",
    "lambda_request": "Lambda, requests",
    "sqs_request": "SQS",
    "dynamodb_write": "DynamoDB, writes",
    "dynamodb_read": "DynamoDB, reads",
    "http_request": "API Gateway",
    "valkey_ecpu": "ElastiCache, requests",
    "tokens": "Model tokens",
}
"""Rows of the table, by what is counted."""


def read(name: str) -> dict[str, Any]:
    """Return one of the data files."""
    found: dict[str, Any] = json.loads((DATA / name).read_text())
    return found


def quantities(scenario: Scenario, load: Load, result: Result, watching: str = "poll") -> Counter[str]:
    """Count everything that is paid for, in the units of the price list (tokens in USD)."""
    operations = read("operations.json")
    used: Counter[str] = Counter()
    runs = sum(1 for ended in result.ended if ended is not None)
    batches = sum(lane.invocations for lane in result.lanes.values())
    for name, times in (
        ("per_slice", result.slices),
        ("per_call", result.calls),
        ("per_beat", result.beats),
        ("per_batch", batches),
    ):
        _add(used, operations[name], times)
    _add(used, operations["per_run"]["submit"], runs)
    _add(used, operations["per_run"]["settle"], runs)
    _add(used, operations["last_call"], runs)
    _add(used, operations["per_look"], result.ticks if scenario.platform.scaler else 0)
    watch = operations["watching"][watching]
    if watch["every_s"]:
        _watch(used, watch, load, result)
    used["sqs_request"] += operations["empty_receives_per_second"] * len(result.lanes) * result.finished_at
    used["api_gb_s"] = used.pop("api_ms", 0) / 1000 * API_GB
    used["lambda_gb_s"] = sum(lane.busy_s for lane in result.lanes.values()) * scenario.platform.memory_gb
    look_s = (
        scenario.config.tick_s if scenario.config.swift else ONE_LOOK_S
    )  # between two looks it sleeps, and is billed
    used["scaler_gb_s"] = result.ticks * look_s * SCALER_GB if scenario.platform.scaler else 0.0
    used["lambda_request"] = batches + used["http_request"]
    used["tokens"] = result.calls * _usd_per_call(scenario)
    return used


def _add(used: Counter[str], operations: dict[str, float], times: float) -> None:
    for name, count in operations.items():
        if name != "every_s":
            used[name] += count * times


def _watch(used: Counter[str], watch: dict[str, float], load: Load, result: Result) -> None:
    """Count a client's looks from submit to end; the last one is answered when the run ends."""
    every = watch["every_s"]
    for arrived, ended in zip(load.arrive, result.ended, strict=True):
        if ended is not None:
            looks = (ended - arrived) / every
            held = looks if watch["api_ms"] >= every * 1000 else int(looks) + 1
            _add(used, {name: watch[name] for name in ("api_ms", "dynamodb_read")}, held)
            _add(used, {name: watch[name] for name in ("http_request", "valkey_ecpu")}, int(looks) + 1)


def _usd_per_call(scenario: Scenario) -> float:
    prices = json.loads((ROOT.parent / "shared" / "limits" / "prices.json").read_text())["models"]
    prompt, output = prices[scenario.shape.model][:2]
    return (scenario.shape.prompt_tokens * prompt + scenario.shape.output_tokens * output) / 1_000_000


def per_thousand(scenario: Scenario, load: Load, result: Result, watching: str = "poll") -> dict[str, float]:
    """Return USD per 1,000 runs by row of ``SERVICES``."""
    prices = {name: one["usd"] for name, one in read("prices.json")["per_unit"].items()}
    prices |= {"api_gb_s": prices["lambda_gb_s"], "scaler_gb_s": prices["lambda_gb_s"], "tokens": 1.0}
    used = quantities(scenario, load, result, watching)
    runs = max(1, sum(1 for ended in result.ended if ended is not None))
    return {label: used[name] * prices[name] / runs * 1000 for name, label in SERVICES.items()}
