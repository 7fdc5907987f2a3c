"""A change of a stack through CloudFormation: what it sends, and what stays as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from deploy import stack as deployer
from deploy.change_set import apply, parameters_of
from localstack.deployment import BUCKET
from tests.stack_fixture import Stack

NAME = "kept"
TEMPLATE: dict[str, Any] = {
    "Parameters": {name: {"Type": "String", "Default": "30"} for name in ("Hidden", "Kept", "Other")},
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": {"Ref": "Hidden"}}},
        "Pair": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": {"Ref": "Kept"}}},
    },
    "Outputs": {"Url": {"Value": {"Ref": "Queue"}}},
}


@pytest.fixture(autouse=True)
def removed(stack: Stack) -> Iterator[None]:
    stack.use()
    yield
    boto3.client("cloudformation").delete_stack(StackName=NAME)


def test_what_is_kept_stays_and_what_is_neither_given_nor_kept_takes_its_default(stack: Stack) -> None:
    stack.use()
    assert parameters_of(NAME) == {}
    outputs = apply(NAME, TEMPLATE, {"Hidden": "1", "Kept": "2", "Other": "3"}, bucket=BUCKET)
    assert outputs["Url"].startswith(stack.outputs["aws_endpoint_url"])
    apply(NAME, TEMPLATE, {"Hidden": "4"}, bucket=BUCKET, kept=["Kept"])
    assert parameters_of(NAME) == {"Hidden": "4", "Kept": "2", "Other": "30"}


def test_a_deployment_that_keeps_gives_only_what_it_was_given(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(NAME, TEMPLATE, {"Hidden": "1", "Kept": "2", "Other": "3"}, bucket=BUCKET)
    checked: list[dict[str, str]] = []
    monkeypatch.setattr(deployer, "check_parameters", lambda _template, _given, now: checked.append(now))
    monkeypatch.setattr(deployer, "package", lambda *_: None)
    newer = TEMPLATE | {"Parameters": {name: TEMPLATE["Parameters"][name] for name in ("Hidden", "Kept")}}
    deployer.deploy(NAME, json.loads(json.dumps(newer)), {"Hidden": "5"}, bucket=BUCKET, keep=True)
    assert checked == [{"Kept": "2"}]  # `Other` is no parameter of the newer template
    assert parameters_of(NAME)["Hidden"] == "5"
    assert parameters_of(NAME)["Kept"] == "2"
