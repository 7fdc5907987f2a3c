"""Deploying by `deploy.stack`: what is checked first, when it is over, what an error says."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from deploy import change_set, stack
from deploy.change_set import DeployError


@pytest.fixture
def bucket(fake_aws: dict[str, str]) -> str:
    assert fake_aws
    boto3.client("s3").create_bucket(Bucket="deployments")
    return "deployments"


def test_a_clean_up_under_way_is_the_end_of_a_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    states = iter(["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"])
    monkeypatch.setattr(change_set, "_describe", lambda *_: {"StackStatus": next(states)})
    monkeypatch.setattr(change_set, "_pause", lambda: None)
    change_set._await_stack(None, "s")


def test_a_bucket_of_somebody_else_is_an_error_of_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        boto3.client("s3").head_object(Bucket=bucket, Key="none")

    monkeypatch.setattr(stack, "package", refused)
    monkeypatch.setattr(stack, "check_parameters", lambda *_: None)
    with pytest.raises(DeployError, match="bucket deployments"):
        stack.deploy("s", {"Parameters": {}}, {}, bucket=bucket)


@pytest.mark.parametrize("given", [{"MaxReplicas": "30"}, {"Nothing": "1"}])
def test_sums_are_checked_with_what_is_kept(given: dict[str, str]) -> None:
    from localstack.environ import ROOT

    template = stack.read_template(ROOT / "template.yaml")
    kept = {"HighConcurrency": "10", "NormalConcurrency": "18", "ReserveConcurrency": "false"}
    stack.check_parameters(template, {"MaxReplicas": "30"}, kept)
    with pytest.raises(DeployError):
        stack.check_parameters(template, given)
