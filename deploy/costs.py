"""What a deployment costs while nobody uses it, from the template's resources; and about what at three loads.

List prices of us-east-1 (`benchmarks/capacity_data/prices.json`), without free tiers and taxes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from deploy import chosen
from deploy.bundle import ROOT

DAYS = 730 / 24
"""Days of a month."""
IDLE_METRICS = 21
"""Custom metrics that scaler and sweeper publish every minute; see docs/operations.md."""
MINUTE_SECONDS = 0.3
"""What a minute's call of the sweeper or the scaler takes with nothing to do, s; assumed, not measured on AWS."""
MINUTE_REQUESTS = 6
"""Calls of SQS that both make a minute: how many messages each lane holds."""
MINUTE_READS = 20
"""Read units that the sweeper's looks at the index take a minute."""
LOADS = (100, 1_000, 10_000)
"""Runs a day that are shown; simulated in benchmarks/daily_cost.py."""

FREE = (
    "AWS::ApiGatewayV2::", "AWS::DynamoDB::", "AWS::S3::", "AWS::SQS::", "AWS::Serverless::Function",
    "AWS::Lambda::Permission", "AWS::Lambda::Url", "AWS::Logs::", "AWS::SNS::", "AWS::ElastiCache::User",
    "AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::SecurityGroup", "AWS::EC2::Route", "AWS::EC2::InternetGateway",
    "AWS::IAM::", "AWS::ApiGateway::",
)  # fmt: skip
"""Types that cost by use alone."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that stands and costs."""

    what: str
    usd_per_day: float


def prices() -> dict[str, dict[str, Any]]:
    """Return the price list."""
    found: dict[str, dict[str, Any]] = json.loads((ROOT / "benchmarks/capacity_data/prices.json").read_text())
    return found


def idle(template: dict[str, Any], given: dict[str, str]) -> list[Line]:
    """Return what stands and costs, with USD a day, the dearest first.

    Raises:
        KeyError: the template has a type of resource of which nobody said what it costs; it is named.
    """
    listed = prices()
    each = {name: float(one["usd"]) for name, one in listed["per_unit"].items()}
    standing = {name: float(one.get("usd", one.get("gb"))) for name, one in listed["standing"].items()}
    found: dict[str, float] = {}

    def add(what: str, usd: float) -> None:
        found[what] = found.get(what, 0.0) + usd

    for resource in chosen.resources(template, given).values():
        kind, properties = resource["Type"], resource.get("Properties", {})
        if kind == "AWS::ElastiCache::ServerlessCache":
            add("managed Valkey, 100 MB", each["valkey_gb_hour"] * standing["valkey_least_gb"] * 24)
        elif kind == "AWS::SecretsManager::Secret":
            add("secrets", standing["secret_month"] / DAYS)
        elif kind == "AWS::EC2::VPCEndpoint":
            zones = len(properties["SubnetIds"]) if properties["VpcEndpointType"] == "Interface" else 0
            add("interface endpoints", standing["endpoint_zone_hour"] * 24 * zones)
        elif kind == "AWS::EC2::NatGateway":
            add("NAT gateways", standing["nat_gateway_hour"] * 24)
        elif kind == "AWS::EC2::EIP":
            add("public addresses", standing["public_ipv4_hour"] * 24)
        elif kind == "AWS::CloudWatch::Alarm":
            watched = sum("MetricStat" in one for one in properties["Metrics"]) if "Metrics" in properties else 1
            add("alarms", standing["alarm_metric_month"] * watched / DAYS)
        elif kind == "AWS::CloudWatch::Dashboard":
            add("dashboard", standing["dashboard_month"] / DAYS)
        elif kind == "AWS::Lambda::EventSourceMapping":
            empty = json.loads((ROOT / "benchmarks/capacity_data/operations.json").read_text())
            add("empty receives", empty["empty_receives_per_second"] * 86_400 * each["sqs_request"])
        elif not kind.startswith(FREE):
            raise KeyError(f"nobody said what {kind} costs: add it to deploy/costs.py")
        if kind == "AWS::Serverless::Function" and "Events" in properties:
            gb = float(properties.get("MemorySize", 512)) / 1024
            add("a call a minute", 1440 * (each["lambda_request"] + MINUTE_SECONDS * gb * each["lambda_gb_s"]))
    by_minute = MINUTE_REQUESTS * each["sqs_request"] + MINUTE_READS * each["dynamodb_read"]
    add("what a minute's calls ask", 1440 * by_minute)
    if chosen.values_of(template, given)["PublishMetrics"] == "true":
        add("custom metrics", IDLE_METRICS * standing["custom_metric_month"] / DAYS)
    return sorted((Line(what, usd) for what, usd in found.items()), key=lambda line: -line.usd_per_day)


def idle_day(template: dict[str, Any], given: dict[str, str]) -> float:
    """Return USD of a day on which nobody uses the deployment."""
    return sum(line.usd_per_day for line in idle(template, given))


def loaded_days(template: dict[str, Any], given: dict[str, str]) -> list[tuple[int, float]]:
    """Return about what a day costs at each load: what stands, and what such runs took in the simulation beyond it.

    The simulated runs are of 36 s and three model calls; model tokens are not in it.
    """
    found = json.loads((ROOT / "benchmarks/results/daily_cost.json").read_text())
    slots = int(chosen.values_of(template, given)["RunsPerEnvironment"])
    column = found["usd_per_day"]["Sluice, 50 slots" if slots >= 50 else "Sluice, 10 slots"]
    counted = {"empty receives", "a call a minute", "what a minute's calls ask"}
    beside = sum(line.usd_per_day for line in idle(template, given) if line.what not in counted)
    return [(runs, beside + column[found["runs_per_day"].index(runs)]) for runs in LOADS]
