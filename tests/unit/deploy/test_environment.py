"""Lambda gives a function 4 KB of environment, names and values together: with the longest names that there can be."""

from __future__ import annotations

import re
from typing import Any

import pytest

from deploy.stack import read_template
from localstack.environ import ROOT
from localstack.strict.functions import environment_bytes
from localstack.strict.rules import RULES

TEMPLATE = read_template(ROOT / "template.yaml")
PARAMETERS: dict[str, Any] = TEMPLATE["Parameters"]
FUNCTIONS = {name: one for name, one in TEMPLATE["Resources"].items() if one["Type"] == "AWS::Serverless::Function"}
SHARED = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]

STACK = "s" * 40
"""A stack's name. CloudFormation takes 128 characters; what is made of it (queues: 80, functions: 64) is cut to fit."""
REGION = "ap-southeast-2"
ACCOUNT = "123456789012"
ARN = f"arn:aws-us-gov:secretsmanager:us-gov-west-1:{ACCOUNT}:secret:a-long-name-of-a-secret/of-a-team-AbCdEf"
QUEUE = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/" + "q" * 80
GIVEN = {
    "RedisUrl": "rediss://sluice@a-rather-long-name-of-a-cache-0abcde.serverless.apse2.cache.amazonaws.com:6379?cluster=true",
    "OpenaiBaseUrl": "https://gateway.models.internal.example.com/openai/deployments/a-deployment/v1",
    "DefaultModel": "openai/gpt-5.2-codex-max-2026-11-01",
    "FallbackModels": "anthropic/claude-opus-4-8-20261101,google/gemini-4-flash-latest",
    "LocalEndpoint": "", "WebhookSecret": "w" * 48, "OpenaiApiKey": "k" * 164, "CorsOrigins": "",
}  # fmt: skip
"""What operators give at length. A secret is given by its ARN, or as its text, and not both."""


def longest(value: Any) -> str:
    """Return the longest text that a variable's value can have."""
    if not isinstance(value, dict):
        return str(value)
    ((kind, inside),) = value.items()
    if kind == "Ref":
        return longest_ref(inside)
    if kind == "Fn::If":
        return max((longest(one) for one in inside[1:]), key=len)
    if kind == "Fn::Sub":
        return re.sub(r"\$\{([^}]+)\}", lambda found: longest_ref(found[1]), inside)
    if kind == "Fn::Join":
        return inside[0].join(longest(one) for one in inside[1])
    if kind == "Fn::GetAtt":
        return "x" * 60
    return ""


def longest_ref(name: str) -> str:
    own = {"AWS::StackName": STACK, "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::URLSuffix": "amazonaws.com"}
    if name in own:
        return own[name]
    if name.startswith("AWS::"):
        return ""
    if name in GIVEN:
        return GIVEN[name]
    if name in PARAMETERS:
        return longest_parameter(name)
    kind = TEMPLATE["Resources"].get(name.split(".")[0], {}).get("Type", "")
    if kind == "AWS::SQS::Queue":
        return QUEUE
    if kind == "AWS::SecretsManager::Secret":
        return ARN
    return "x" * {"AWS::Lambda::EventSourceMapping": 36, "AWS::DynamoDB::Table": 70, "AWS::S3::Bucket": 63}.get(
        kind, 40
    )


def longest_parameter(name: str) -> str:
    one = PARAMETERS[name]
    if name.endswith("Arn"):
        return ARN
    if "AllowedValues" in one:
        return max((str(value) for value in one["AllowedValues"]), key=len)
    if one["Type"] == "Number":
        return str(one.get("MaxValue", one["Default"])).ljust(len(str(one["Default"])), "0")
    return str(one["Default"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_functions_environment_fits(function: str) -> None:
    own = FUNCTIONS[function]["Properties"].get("Environment", {}).get("Variables", {})
    variables = {name: longest(value) for name, value in (SHARED | own).items()}
    size = environment_bytes(variables)
    largest = sorted(variables, key=lambda name: -len(name) - len(variables[name]))[:8]
    assert size <= RULES["lambda-environment"].most, f"{size} bytes; the largest are {largest}"
