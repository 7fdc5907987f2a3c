"""The operator's commands find their way by the stack's outputs alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError

from deploy import operate
from shared.limits import keys
from tests.unit.tables import TABLE


class Stack:
    """CloudFormation and Lambda of an account with one stack."""

    def __init__(self, lanes: dict[str, str]) -> None:
        names = {f"{lane.capitalize()}QueueUrl": url for lane, url in lanes.items()}
        names |= {f"{lane.capitalize()}MappingId": f"id-of-{lane}" for lane in lanes}
        names |= {"TableName": TABLE, "BlobBucket": "sluice-blobs", "WebhookQueueUrl": "https://sqs/webhook"}
        self.outputs = [{"OutputKey": name, "OutputValue": value} for name, value in names.items()]
        self.switched: list[dict[str, Any]] = []

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        if StackName != "sluice":
            raise ClientError({"Error": {"Code": "ValidationError", "Message": "does not exist"}}, "DescribeStacks")
        parameters = [{"ParameterKey": "WebhookSecretArn", "ParameterValue": "arn:of:the-secret"}]
        return {"Stacks": [{"Outputs": self.outputs, "Parameters": parameters}]}

    def update_event_source_mapping(self, **asked: Any) -> None:
        self.switched.append(asked)


@pytest.fixture
def stack(fake_aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Stack:
    made, real = Stack(fake_aws), boto3.client

    def client(name: str, **kwargs: Any) -> Any:
        return made if name in ("cloudformation", "lambda") else real(name, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(boto3, "client", client)
    for name in ("TABLE_NAME", "BLOB_BUCKET"):
        monkeypatch.delenv(name)
    return made


def test_a_key_is_made_rotated_and_revoked(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shared.secrets.webhook_secrets", lambda: ["stored"])
    assert operate.main(["key", "create", "ada", "--tier", "vip"]) == 0
    key, secret = capsys.readouterr().out.splitlines()
    assert secret.startswith("webhook secret: whsec_")
    assert os.environ["WEBHOOK_SECRET_ARN"] == "arn:of:the-secret"
    assert operate.main(["key", "rotate", key]) == 0
    other = capsys.readouterr().out.split()[0]
    assert operate.main(["key", "revoke", key]) == 0
    keys.forget()
    assert keys.lookup(key) is None
    found = keys.lookup(other)
    assert found
    assert (found.user, found.tier) == ("ada", "vip")


@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
def test_keys_are_shown_as_json_wherever_that_is_asked(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], first: bool
) -> None:
    monkeypatch.setattr("shared.secrets.webhook_secrets", lambda: ["stored"])

    def shown(action: str, *more: str, status: int = 0) -> Any:
        words = ["--json", action, *more] if first else [action, *more, "--json"]
        assert operate.main(["key", *words]) == status
        return json.loads(capsys.readouterr().out)

    key = shown("create", "ada")["key"]
    assert shown("list")["user"] == "ada"
    assert shown("secret", key).keys() == {"webhook_secret"}
    assert shown("rotate", key)["key"] != key
    assert shown("revoke", key)["user"] == "ada"
    assert "no single key" in shown("revoke", "sk-nope", status=1)["error"]["message"]


def test_a_lane_is_paused_and_resumed(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert operate.main(["pause", "normal"]) == 0
    assert operate.main(["resume", "normal"]) == 0
    assert stack.switched == [
        {"UUID": "id-of-normal", "Enabled": False},
        {"UUID": "id-of-normal", "Enabled": True},
    ]
    assert "normal is paused" in capsys.readouterr().out


def test_nothing_to_redrive(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert operate.main(["redrive"]) == 0
    assert capsys.readouterr().out == "0 tasks redriven\n"


def test_mistakes_are_told_in_one_line(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert operate.main(["--stack", "other", "redrive"]) == 1
    assert capsys.readouterr().err.startswith("error: stack other: ")
    assert operate.main(["key", "create", "ada", "--tier", "gold"]) == 1
    assert "tiers: " in capsys.readouterr().err


@pytest.mark.parametrize("named", [{}, {"AWS_PROFILE": "work"}, {"AWS_ENDPOINT_URL": "https://aws.example.com"}])
def test_the_running_local_system_is_meant_where_no_account_is_named(
    named: dict[str, str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[dict[str, Any]] = []
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path))
    monkeypatch.setattr(operate.nearby, "use", used.append)
    operate._find_local()
    assert used == []  # nothing runs
    (tmp_path / "outputs.json").write_text('{"aws_endpoint_url": "http://127.0.0.1:4566"}')
    operate._find_local()
    assert len(used) == (0 if named else 1)


def test_a_configured_account_is_meant(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path))
    (tmp_path / "outputs.json").write_text('{"aws_endpoint_url": "http://127.0.0.1:4566"}')
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text("[default]")
    monkeypatch.setattr(operate.nearby, "use", lambda _: pytest.fail("not the local one"))
    operate._find_local()


@pytest.mark.parametrize(
    ("error", "told"), [(NoRegionError(), "AWS_DEFAULT_REGION"), (NoCredentialsError(), "aws configure")]
)
def test_a_shell_without_region_or_credentials_is_told_what_to_do(
    error: Exception, told: str, stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(**_: Any) -> None:
        raise error

    monkeypatch.setattr(stack, "describe_stacks", fails)
    assert operate.main(["redrive"]) == 1
    assert told in capsys.readouterr().err


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    told = '[tool.sluice.stages.production]\nstack = "sluice"\nregion = "eu-north-1"\n[tool.sluice.stages.test]\n'
    (tmp_path / "pyproject.toml").write_text(told + 'stack = "shop-test"\n')
    monkeypatch.setenv("SLUICE_PROJECT", str(tmp_path))
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path))
    return tmp_path


def test_a_stage_of_a_project_names_stack_and_region(
    shop: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    (shop / "outputs.json").write_text('{"aws_endpoint_url": "http://127.0.0.1:4566"}')
    monkeypatch.setattr(operate.nearby, "use", lambda _: pytest.fail("a stage is not the local system"))
    assert operate.main(["--stage", "production", "pause", "high"]) == 0
    assert stack.switched[0]["UUID"] == "id-of-high"
    assert os.environ["AWS_REGION"] == os.environ["AWS_DEFAULT_REGION"] == "eu-north-1"
    assert operate.main(["--stage", "test", "redrive"]) == 1
    assert "stack shop-test" in capsys.readouterr().err


def test_a_stage_that_is_not_there_and_a_local_system_that_is_not_up(
    shop: Path, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert operate.main(["--stage", "nowhere", "redrive"]) == 1
    assert "[tool.sluice.stages.nowhere]; it has: production, test" in capsys.readouterr().err
    assert operate.main(["--stage", "local", "redrive"]) == 1
    assert "not up" in capsys.readouterr().err


def test_a_stage_without_a_project(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("SLUICE_PROJECT", raising=False)
    assert operate.main(["--stage", "production", "redrive"]) == 1
    assert "--stack" in capsys.readouterr().err
