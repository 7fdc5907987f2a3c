"""The template against the documented limits of what AWS deploys: `localstack/strict/deployed.py` lists them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from deploy import chosen, profiles, stack_name
from deploy.change_set import DeployError
from deploy.checks import VALUE_BYTES, check_parameters
from deploy.stack import read_template
from functions.api.live import following
from functions.worker.tools import page, pool
from localstack.environ import ROOT
from localstack.strict.rules import RULES
from shared import settings
from tests.unit.deploy.test_checks import broken_rules

TEMPLATE = read_template(ROOT / "template.yaml")
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
ADDED_BY_SAM = 6
"""Resources that a function becomes at most: role, version, alias, rule, permission, configuration of invokes."""


def most(rule: str) -> float:
    return RULES[rule].most


def of(kind: str) -> dict[str, dict[str, Any]]:
    return {name: one.get("Properties", {}) for name, one in RESOURCES.items() if one["Type"] == kind}


def largest(value: Any) -> int:
    """Return a number of the template at its largest."""
    if isinstance(value, dict) and "Fn::If" in value:
        return max(largest(one) for one in value["Fn::If"][1:] if one != chosen.NOTHING)
    if isinstance(value, dict):
        return int(PARAMETERS[value["Ref"]].get("MaxValue", PARAMETERS[value["Ref"]]["Default"]))
    return int(value)


def test_the_template_fits_cloudformation() -> None:
    text = json.dumps(TEMPLATE)
    assert len(text.encode()) * 2 < most("template-bytes"), "SAM adds to it"
    functions = len(of("AWS::Serverless::Function"))
    assert len(RESOURCES) + ADDED_BY_SAM * functions < most("template-resources")
    assert len(PARAMETERS) < most("template-parameters")
    assert len(TEMPLATE["Outputs"]) < most("template-outputs")
    assert len(TEMPLATE["Description"].encode()) <= most("template-description")
    assert max(len(one["Description"]) for one in PARAMETERS.values()) <= most("parameter-description")
    assert 0 < text.count("{{resolve:") <= most("template-references")


def test_a_parameters_value_is_bounded() -> None:
    assert most("parameter-value") == VALUE_BYTES
    prices = {"Prices": json.dumps({f"m{n}": 1 for n in range(200)})}
    check_parameters(TEMPLATE, prices)
    prices = {"Prices": json.dumps({f"m{n:040d}": 1 for n in range(100)})}
    with pytest.raises(DeployError, match=r"Prices has 4\d+ bytes, and CloudFormation takes 4096; put them into S3"):
        check_parameters(TEMPLATE, prices)


@pytest.mark.parametrize(
    ("given", "characters", "what"),
    [
        ({}, 33, "StreamingFunction"),
        ({"ManagedRedis": "public"}, 27, "PublicUsers"),
        ({"ManagedRedis": "true", "KmsKeyArn": "arn:aws:kms:us-east-1:000000000000:key/x"}, 25, "Valkey"),
    ],
)
def test_names_made_from_the_stacks_fit(given: dict[str, str], characters: int, what: str) -> None:
    found, why = stack_name.longest(TEMPLATE, given)
    assert found == characters
    assert what in why


def test_every_name_made_from_the_stacks_has_a_limit() -> None:
    named = re.compile(r".*(Name|Id)$")
    for logical, resource in RESOURCES.items():
        for name, value in resource.get("Properties", {}).items():
            if named.match(name) and "${AWS::StackName}" in str(value) and name != "UserName":
                assert (resource["Type"], name) in stack_name.LONGEST, f"how long may {logical}'s {name} be?"


def rendered(value: Any) -> Any:
    """Return a policy as AWS gets it, every reference as long as the ARN of a function, 140 characters."""
    if isinstance(value, list):
        return [rendered(one) for one in value]
    if isinstance(value, dict):
        if "Fn::If" in value:
            return max((rendered(one) for one in value["Fn::If"][1:]), key=lambda one: len(json.dumps(one)))
        if len(value) == 1 and next(iter(value)) == "Fn::Sub":
            return re.sub(r"\$\{[^}]*\}", "x" * 40, str(value["Fn::Sub"]))
        if len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::")):
            return "" if value == chosen.NOTHING else "x" * 140
        return {name: rendered(one) for name, one in value.items()}
    return value


@pytest.mark.parametrize("name", of("AWS::Serverless::Function"))
def test_a_roles_policies_fit(name: str) -> None:
    policies = [one for one in rendered(of("AWS::Serverless::Function")[name].get("Policies", [])) if one]
    size = sum(len(json.dumps(one, separators=(",", ":"))) for one in policies)
    assert size + 200 * len(policies) <= most("role-policies")


def test_functions_are_set_up_as_lambda_takes_them() -> None:
    shared_by_all = TEMPLATE["Globals"]["Function"]
    for name, one in of("AWS::Serverless::Function").items():
        variables = shared_by_all["Environment"]["Variables"] | one.get("Environment", {}).get("Variables", {})
        for variable in variables:
            assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]+", variable), variable
            assert not variable.startswith(("AWS_", "LAMBDA_")) or variable == "AWS_LAMBDA_EXEC_WRAPPER", variable
        assert 128 <= largest(one.get("MemorySize", shared_by_all.get("MemorySize"))) <= most("lambda-memory"), name
        asynchronous = one.get("EventInvokeConfig") or {}
        age, tries = asynchronous.get("MaximumEventAgeInSeconds", 21_600), asynchronous.get("MaximumRetryAttempts", 2)
        assert 60 <= largest(age) <= most("lambda-async-age")
        assert 0 <= largest(tries) <= 2


@pytest.mark.parametrize("profile", settings.POOL_PROFILES)
@pytest.mark.parametrize("runs", [1, 50, settings.MOST_RUNS])
def test_an_environments_connections_fit_its_open_files(runs: int, profile: str) -> None:
    config = settings.read({"RUNS_PER_ENVIRONMENT": str(runs), "BATCH_SIZE": "1", "POOL_PROFILE": profile})
    models = config.pool_limits[0]
    assert min(runs, settings.POOL_PROFILES[profile][0]) <= models <= settings.POOL_PROFILES[profile][0]
    pages = pool.MOST * page.CONNECTIONS
    assert pages < settings.OTHER_FILES
    assert models + settings.FILES_PER_RUN * runs + settings.OTHER_FILES <= most("lambda-files")
    assert int(PARAMETERS["RunsPerEnvironment"]["MaxValue"]) == settings.MOST_RUNS


def test_queues_are_set_up_as_sqs_and_lambda_take_them() -> None:
    usual = TEMPLATE["Globals"]["Function"]["Timeout"]
    timeouts = {name: one.get("Timeout", usual) for name, one in of("AWS::Serverless::Function").items()}
    queues = of("AWS::SQS::Queue")
    for name, one in queues.items():
        kept = largest(one.get("MessageRetentionPeriod", 345_600))
        assert 60 <= kept <= most("sqs-retention"), name
        if "RedrivePolicy" in one:
            assert 1 <= largest(one["RedrivePolicy"]["maxReceiveCount"]) <= most("sqs-receives"), name
    for name, one in of("AWS::Lambda::EventSourceMapping").items():
        queue = queues[
            one["EventSourceArn"]["Fn::GetAtt"].partition(".")[0]
            if isinstance(one["EventSourceArn"]["Fn::GetAtt"], str)
            else one["EventSourceArn"]["Fn::GetAtt"][0]
        ]
        function = re.search(r"(\w+Function)", str(one["FunctionName"]))
        assert function is not None
        hidden, taken = queue.get("VisibilityTimeout", 30), timeouts[function[1]]
        assert hidden == taken or largest(hidden) >= largest(taken), name


def test_the_tables_indexes_fit() -> None:
    (table,) = of("AWS::DynamoDB::Table").values()
    indexes = table["GlobalSecondaryIndexes"]
    assert len(indexes) <= most("dynamodb-indexes")
    assert sum(len(one["Projection"].get("NonKeyAttributes", [])) for one in indexes) <= 100


def test_the_gateways_fit() -> None:
    for kind in ("AWS::ApiGatewayV2::Route", "AWS::ApiGatewayV2::Integration"):
        assert len(of(kind)) <= most("gateway-routes")
    seconds = settings.Settings.__dataclass_fields__["stream_seconds"].metadata["high"]
    assert seconds < most("gateway-stream")
    assert following.KEEP_ALIVE_SECONDS < 300 / 2


def test_alarms_and_dashboard_fit_cloudwatch() -> None:
    for name, one in of("AWS::CloudWatch::Alarm").items():
        assert len(str(one.get("AlarmDescription", ""))) <= most("alarm-description"), name
        periods = (
            [one["Period"]]
            if "Period" in one
            else [metric["MetricStat"]["Period"] for metric in one["Metrics"] if "MetricStat" in metric]
        )
        assert max(map(largest, periods)) * largest(one["EvaluationPeriods"]) <= most("alarm-time"), name
        assert len(one.get("Metrics", [])) <= most("alarm-metrics"), name
    (board,) = of("AWS::CloudWatch::Dashboard").values()
    body = board["DashboardBody"]["Fn::Sub"]
    text = body if isinstance(body, str) else body[0]
    widgets = json.loads(re.sub(r"\$\{[^}]*\}", "x", text))["widgets"]
    assert 0 < len(widgets) <= most("dashboard")
    metrics = [len(one["properties"].get("metrics", [])) for one in widgets]
    assert max(metrics) <= 500
    assert sum(metrics) <= 2_500


@pytest.mark.parametrize("name", profiles.NAMES)
def test_a_profile_breaks_no_rule_of_the_template(name: str) -> None:
    assert broken_rules(profiles.read(name)) == []
