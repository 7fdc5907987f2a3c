"""The profiles of samconfig.toml: they fit, and cost what they say."""

from __future__ import annotations

import copy
import re
import tomllib
from typing import Any

import pytest

from deploy import check, chosen, costs, profiles
from deploy.checks import check_parameters
from deploy.stack import read_template
from localstack.environ import ROOT
from tests.unit.deploy.test_checks import broken_rules

TEMPLATE = read_template(ROOT / "template.yaml")
SAMCONFIG = (ROOT / "samconfig.toml").read_text()


@pytest.mark.parametrize("name", profiles.NAMES)
def test_a_profile_fits(name: str) -> None:
    given = profiles.read(name)
    check_parameters(TEMPLATE, given)
    assert broken_rules(given) == []
    sam = tomllib.loads(SAMCONFIG)
    assert sam[name]["build"] == sam["default"]["build"]
    assert sam[name]["deploy"]["parameters"] | {"parameter_overrides": 0} == sam["default"]["deploy"]["parameters"] | {
        "parameter_overrides": 0
    }


@pytest.mark.parametrize("name", profiles.NAMES)
def test_a_profile_costs_what_it_says(name: str) -> None:
    month = costs.idle_day(TEMPLATE, profiles.read(name)) * costs.DAYS
    comment = SAMCONFIG[: SAMCONFIG.index(f"[{name}.build.parameters]")]
    assert re.findall(r"Idle: USD ([\d.]+) a month", comment)[-1] == f"{month:.2f}"


def test_an_idle_day_of_the_small_one_is_cheap() -> None:
    given = profiles.read("small")
    assert "AWS::ElastiCache::ServerlessCache" in {one["Type"] for one in chosen.resources(TEMPLATE, given).values()}
    assert costs.idle_day(TEMPLATE, given) <= 0.35


def test_what_costs_is_found_in_the_template_not_assumed() -> None:
    template = copy.deepcopy(TEMPLATE)
    before = costs.idle_day(template, {})
    template["Resources"]["Second"] = {"Type": "AWS::EC2::NatGateway", "Properties": {}}
    assert costs.idle_day(template, {}) - before == pytest.approx(0.045 * 24)
    del template["Resources"]["WebhookMapping"]
    assert costs.idle_day(template, {}) < before + 0.045 * 24
    template["Resources"]["Third"] = {"Type": "AWS::RDS::DBInstance", "Properties": {}}
    with pytest.raises(KeyError, match="AWS::RDS::DBInstance"):
        costs.idle_day(template, {})


def test_more_runs_cost_more() -> None:
    days = [usd for _, usd in costs.loaded_days(TEMPLATE, profiles.read("small"))]
    assert days == sorted(days)
    assert days[0] > costs.idle_day(TEMPLATE, profiles.read("small"))


def test_conditions_choose_what_is_made() -> None:
    def made(**given: str) -> set[str]:
        return set(chosen.resources(TEMPLATE, given))

    assert {"PublicValkey"} == {name for name in made(ManagedRedis="public") if "Valkey" in name}
    assert {"Vpc", "Valkey", "NatA"} <= made(ManagedRedis="true")
    assert "NatA" not in made(ManagedRedis="true", NatGateways="none")
    assert not any(TEMPLATE["Resources"][name]["Type"].startswith("AWS::EC2::") for name in made(ManagedRedis="public"))
    worker = chosen.resources(TEMPLATE, {"ReserveConcurrency": "false"})["WorkerFunction"]["Properties"]
    assert "ReservedConcurrentExecutions" not in worker


@pytest.mark.parametrize("given", [{}, {"KmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1"}])
def test_another_valkey_leaves_what_holds_data_as_it_is(given: dict[str, str]) -> None:
    """CloudFormation makes nothing anew, and changes nothing, whose definition is the same: no run is lost so."""

    def holding(mode: str) -> dict[str, Any]:
        found = chosen.resources(TEMPLATE, given | {"ManagedRedis": mode})
        return {name: one for name, one in found.items() if one["Type"] in HOLDING}

    before = holding("false")
    assert {one["Type"] for one in before.values()} == HOLDING
    for mode in ("public", "true"):
        assert holding(mode) == before
    changed = [
        chosen.resources(TEMPLATE, given | {"ManagedRedis": mode})["WorkerFunction"] for mode in ("false", "true")
    ]
    assert changed[0] != changed[1]  # a comparison that sees nothing would hold for anything


HOLDING = {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue"}


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(KeyError, match="huge"):
        profiles.read("huge")


def test_the_check_shows_it_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Found:
        warnings = ("mind the gap",)
        errors = ("the account refuses",)

    asked: list[dict[str, str]] = []
    monkeypatch.setattr(check.preflight, "check", lambda _template, given, _stack: asked.append(given) or Found())
    assert check.main(["--profile", "small", "MaxRetries=5"]) == 1
    said = capsys.readouterr()
    assert "AWS::ElastiCache::ServerlessCache" in said.out
    assert "idle, USD 0.2" in said.out
    assert "10,000 runs a day" in said.out
    assert "mind the gap" in said.out
    assert "the account refuses" in said.err
    assert asked[0]["MaxRetries"] == "5"
    assert check.main(["RunsPerEnvironment=5"]) == 1
    assert "BatchSize must be at most RunsPerEnvironment" in capsys.readouterr().err


def test_every_parameter_stands_in_one_group() -> None:
    groups: list[dict[str, Any]] = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    listed = [name for group in groups for name in group["Parameters"]]
    assert sorted(listed) == sorted(TEMPLATE["Parameters"]), "give a new parameter its place in the template's Metadata"
