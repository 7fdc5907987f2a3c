"""What the code would refuse is refused before a deployment: by its own checks, and by CloudFormation's rules."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.change_set import DeployError
from deploy.checks import check_parameters, environments
from deploy.stack import read_template
from localstack import deployment
from localstack.environ import ROOT, LocalError
from localstack.system import System

TEMPLATE = read_template(ROOT / "template.yaml")

REFUSED: list[tuple[dict[str, str], str]] = [
    ({"TaskTtlDays": "60", "BlobDays": "30"}, "TaskTtlDays must not exceed BlobDays"),
    ({"TaskTtlDays": "31"}, "TaskTtlDays must not exceed BlobDays"),
    ({"BlobDays": "6"}, "TaskTtlDays must not exceed BlobDays"),
    ({"RunsPerEnvironment": "5"}, "BatchSize must be at most RunsPerEnvironment"),
    ({"LeaseSeconds": "30"}, "HeartbeatSeconds must be at most half of LeaseSeconds"),
    ({"HeartbeatSeconds": "40"}, "HeartbeatSeconds must be at most half of LeaseSeconds"),
    ({"WorkerTimeoutSeconds": "60"}, "WorkerTimeoutSeconds must exceed ModelTimeoutSeconds by 5"),
]
"""Refused by both."""
ONLY_HERE: list[tuple[dict[str, str], str]] = [
    ({"TaskTtlDays": "50", "BlobDays": "45"}, "TaskTtlDays must not exceed BlobDays"),
    ({"WorkerTimeoutSeconds": "64"}, "WorkerTimeoutSeconds must exceed"),
    ({"MinReplicas": "19"}, "MinReplicas must be at most 18"),
    ({"LeaseSeconds": "1"}, "LeaseSeconds must be within 2 and 600"),
    ({"LeaseSeconds": "soon"}, "LeaseSeconds must be a number"),
    ({"PoolProfile": "huge"}, "PoolProfile must be one of low, medium, high"),
    ({"CorsOrigins": "app.example.com"}, "CorsOrigins must match"),
    ({"CorsOrigins": "https://App.example.com", "Nothing": "1"}, "no such parameter: Nothing"),
]
FINE: list[dict[str, str]] = [
    {},
    deployment.LOCAL_DEFAULTS,
    {"TaskTtlDays": "60", "BlobDays": "60"},
    {"TaskTtlDays": "1.5", "BlobDays": "2"},
    {"RunsPerEnvironment": "5", "BatchSize": "5"},
    {"LeaseSeconds": "6", "HeartbeatSeconds": "2.5"},
    {"WorkerTimeoutSeconds": "30", "ModelTimeoutSeconds": "8.5"},
    {"WorkerTimeoutSeconds": "1800"},
]


@pytest.mark.parametrize(("given", "told"), REFUSED + ONLY_HERE)
def test_what_the_code_refuses_is_refused_before(given: dict[str, str], told: str) -> None:
    with pytest.raises(DeployError, match=told):
        check_parameters(TEMPLATE, given)


@pytest.mark.parametrize("given", FINE)
def test_what_works_passes_both(given: dict[str, str]) -> None:
    check_parameters(TEMPLATE, given)
    assert broken_rules(given) == []


@pytest.mark.parametrize(("given", "told"), REFUSED)
def test_cloudformation_refuses_it_by_a_rule(given: dict[str, str], told: str) -> None:
    assert [said for said in broken_rules(given) if said.startswith(told)]


def test_what_stays_counts_too() -> None:
    check_parameters(TEMPLATE, {"TaskTtlDays": "60"}, {"BlobDays": "90"})
    with pytest.raises(DeployError):
        check_parameters(TEMPLATE, {"TaskTtlDays": "60"}, {"BlobDays": "59"})


def test_every_function_is_asked_for_its_own_environment() -> None:
    values = {name: str(one["Default"]) for name, one in TEMPLATE["Parameters"].items()}
    found = environments(TEMPLATE, values)
    assert set(found) == {n for n, one in TEMPLATE["Resources"].items() if one["Type"] == "AWS::Serverless::Function"}
    assert all(one["LEASE_SECONDS"] == "60" and one["TASK_TTL_DAYS"] == "7" for one in found.values())


def test_a_refused_local_deployment_changes_nothing(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(tmp_path)
    kept = tmp_path / "parameters.json"
    kept.write_text("{}")
    monkeypatch.setattr(system.processes, "start", lambda part: pytest.fail(f"{part.name} was started"))
    with pytest.raises(LocalError, match="nothing was changed: TaskTtlDays must not exceed BlobDays"):
        system.up({"TaskTtlDays": "60", "BlobDays": "30"}, say=lambda _: None)
    assert kept.read_text() == "{}"


# ---- CloudFormation's rules, evaluated as its reference says


def broken_rules(given: dict[str, str]) -> list[str]:
    """Return what the template's rules say to parameters."""
    values = {name: str(one["Default"]) for name, one in TEMPLATE["Parameters"].items()} | given
    said = []
    for rule in TEMPLATE["Rules"].values():
        said += [one["AssertDescription"] for one in rule["Assertions"] if not holds(one["Assert"], values)]
    return said


def holds(expression: Any, values: dict[str, str]) -> Any:
    if not isinstance(expression, dict):
        return expression
    ((kind, arguments),) = expression.items()
    if kind == "Ref":
        return values[arguments]
    given = [holds(one, values) for one in arguments]
    if kind == "Fn::Or":
        return any(given)
    if kind == "Fn::And":
        return all(given)
    if kind == "Fn::Not":
        return not given[0]
    if kind == "Fn::Equals":
        return given[0] == given[1]
    assert kind == "Fn::Contains", kind
    return given[1] in given[0]
