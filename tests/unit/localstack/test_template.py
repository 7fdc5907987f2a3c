"""What the template promises: settings and parameters agree, the sums hold, and rights stay narrow."""

from __future__ import annotations

import copy
import math
from dataclasses import fields
from typing import Any

import pytest

from deploy.stack import DeployError, check_parameters, name_versions, read_template
from localstack import deployment
from localstack.environ import ROOT
from shared.settings import Settings

TEMPLATE = read_template(ROOT / "template.yaml")
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
FUNCTIONS = {name: r for name, r in RESOURCES.items() if r["Type"] == "AWS::Serverless::Function"}
LANES = ("High", "Normal", "Quarantine")
SHARED_ENVIRONMENT: dict[str, Any] = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
ENVIRONMENTS = {
    name: SHARED_ENVIRONMENT | r["Properties"].get("Environment", {}).get("Variables", {})
    for name, r in FUNCTIONS.items()
}
WIRING = {
    "stage",
    "table_name",
    "blob_bucket",
    "ws_url",
    "stream_url",
    "ws_endpoint_url",
    "esm_uuid_high",
    "esm_uuid_normal",
}
WIRING |= {"blob_bucket_owner"}
WIRING |= {"metrics_namespace"}
WIRING |= {"cors_origins"}  # its parameter sets up the gateway
WIRING |= {f"queue_url_{lane}" for lane in ("high", "normal", "quarantine", "webhook", "firings", "bulk")}
TUNABLES = [item for item in fields(Settings) if item.name not in WIRING]


def parameter_of(setting: str) -> dict[str, Any]:
    return PARAMETERS["".join(word.capitalize() for word in setting.split("_"))]


def as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("item", TUNABLES, ids=lambda item: item.name)
def test_every_tunable_is_a_parameter_with_the_same_default_within_its_range(item: Any) -> None:
    parameter = parameter_of(item.name)
    assert as_text(parameter["Default"]) == as_text(item.default)
    low, high, one_of = item.metadata["low"], item.metadata["high"], item.metadata["one_of"]
    if one_of:
        assert parameter["AllowedValues"] == list(one_of)
    if low is not None:
        assert parameter["MinValue"] >= low
    if high is not None:
        assert parameter["MaxValue"] <= high


@pytest.mark.parametrize("item", TUNABLES, ids=lambda item: item.name)
def test_every_tunable_reaches_a_function(item: Any) -> None:
    name = "".join(word.capitalize() for word in item.name.split("_"))
    given = [environment.get(item.name.upper()) for environment in ENVIRONMENTS.values()]
    assert any(f"{{'Ref': '{name}'}}" in str(value) for value in given)  # by itself or as one of two choices


def test_functions_are_given_only_variables_that_they_read() -> None:
    read_below = {"AWS_LAMBDA_EXEC_WRAPPER", "MALLOC_ARENA_MAX"}  # by Lambda and by the C library
    known = {item.name.upper() for item in fields(Settings)} | read_below
    assert {name for environment in ENVIRONMENTS.values() for name in environment} <= known


def test_the_streaming_address_is_given_what_the_same_routes_read_at_the_other() -> None:
    assert ENVIRONMENTS["ApiFunction"].keys() <= ENVIRONMENTS["StreamingFunction"].keys()
    # It is that address itself, and learns its name from the request, which CloudFront does not tell it.
    named = ENVIRONMENTS["ApiFunction"]["STREAM_URL"]["Fn::If"][1]
    assert ENVIRONMENTS["StreamingFunction"]["STREAM_URL"] == {"Fn::If": ["OneName", named, ""]}
    assert ENVIRONMENTS["ApiFunction"]["WS_URL"] == ENVIRONMENTS["StreamingFunction"]["WS_URL"]


def test_every_parameter_is_described() -> None:
    assert [name for name, parameter in PARAMETERS.items() if not parameter.get("Description")] == []


def test_secrets_are_not_echoed_and_reach_only_who_needs_them() -> None:
    assert all(PARAMETERS[name]["NoEcho"] for name in ("RedisUrl", "OpenaiApiKey", "WebhookSecret"))
    holders = {
        name for name, environment in ENVIRONMENTS.items() if {"OPENAI_API_KEY", "OPENAI_SECRET_ARN"} & set(environment)
    }
    assert holders == {"WorkerFunction"}
    holders = {
        name
        for name, environment in ENVIRONMENTS.items()
        if {"WEBHOOK_SECRET", "WEBHOOK_SECRET_ARN"} & set(environment)
    }
    assert holders == {
        "ApiFunction",
        "StreamingFunction",
        "WebhookFunction",
        "WorkerFunction",
    }  # the worker opens users' own keys


@pytest.mark.parametrize("given", [{}, deployment.LOCAL_DEFAULTS], ids=["aws", "local"])
def test_the_lanes_concurrency_adds_up_and_leaves_headroom(given: dict[str, str]) -> None:
    def value(name: str) -> int:
        return int(given.get(name, PARAMETERS[name]["Default"]))

    lanes = [value(f"{lane}Concurrency") for lane in LANES]
    assert min(lanes) >= 2
    assert sum(lanes) == value("MaxReplicas")
    assert value("ReservedConcurrency") == math.ceil(sum(lanes) / 0.8)
    check_parameters(TEMPLATE, given)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"HighConcurrency": "7"}, "MaxReplicas is 20 but"),
        ({"ReservedConcurrency": "24"}, "at least 25"),
        ({"HeartbeatSeconds": "31"}, "half of LeaseSeconds"),
        ({"LeaseSecond": "6"}, "no such parameter: LeaseSecond"),
    ],
)
def test_parameters_that_cannot_work_are_refused(given: dict[str, str], told: str) -> None:
    with pytest.raises(DeployError, match=told):
        check_parameters(TEMPLATE, given)


REFUSED_BY_THE_LOCAL_AWS = (
    "AWS::ElastiCache::",
    "AWS::EC2::",
    "AWS::SecretsManager::",
    "AWS::SNS::",
    "AWS::CloudWatch::",
)


def test_what_only_aws_has_is_guarded_by_a_condition() -> None:
    bare = [
        name
        for name, resource in RESOURCES.items()
        if resource["Type"].startswith(REFUSED_BY_THE_LOCAL_AWS) and "Condition" not in resource
    ]
    assert bare == []


def test_a_changed_parameter_publishes_a_version_of_the_api() -> None:
    def version(parameters: dict[str, str]) -> str:
        template = copy.deepcopy(TEMPLATE)
        name_versions(template, parameters)
        return str(template["Resources"]["ApiFunction"]["Properties"]["AutoPublishCodeSha256"])

    assert version({}) == version({})
    assert version({"QuotaRequests": "61"}) != version({})


def test_small_accounts_need_no_reservation() -> None:
    check_parameters(TEMPLATE, {"ReserveConcurrency": "false", "ReservedConcurrency": "1"})


@pytest.mark.parametrize("lane", LANES)
def test_a_lane(lane: str) -> None:
    queue = RESOURCES[f"{lane}Queue"]["Properties"]
    mapping = RESOURCES[f"{lane}Mapping"]["Properties"]
    # Lambda refuses a mapping whose queue hides messages for less than the function's timeout.
    assert queue["VisibilityTimeout"] == {"Ref": "WorkerTimeoutSeconds"}
    assert FUNCTIONS["WorkerFunction"]["Properties"]["Timeout"] == {"Ref": "WorkerTimeoutSeconds"}
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 10
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": [f"{lane}Dlq", "Arn"]}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": {"Ref": f"{lane}Concurrency"}}


def test_the_quarantine_lane_runs_tasks_alone() -> None:
    assert RESOURCES["QuarantineMapping"]["Properties"]["BatchSize"] == 1


def test_the_http_api_stands_before_every_function() -> None:
    """`sam local start-api` finds raw routes only then."""
    names = list(RESOURCES)
    first_function = min(names.index(name) for name in FUNCTIONS)
    http = [name for name, r in RESOURCES.items() if name.startswith("Http")]
    assert all(names.index(name) < first_function for name in http)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_makes_a_log_group_again_that_was_deleted_with_its_stack(name: str) -> None:
    """Lambda delivers what was logged last after the group is gone; the role that SAM makes allows to create one."""
    properties = FUNCTIONS[name]["Properties"]
    denied = [
        statement["Action"]
        for policy in properties["Policies"]
        for statement in policy["Statement"]
        if isinstance(statement, dict) and statement.get("Effect") == "Deny" and statement.get("Resource") == "*"
    ]
    assert "logs:CreateLogGroup" in denied
    group = RESOURCES[properties["LoggingConfig"]["LogGroup"]["Ref"]]
    assert group["Type"] == "AWS::Logs::LogGroup"
