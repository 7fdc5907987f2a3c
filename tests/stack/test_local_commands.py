"""The operator's commands against a running system, as a person at a keyboard sees them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx2
import pytest

import localstack.__main__
from deploy import stack as deployer
from localstack.deployment import BUCKET
from localstack.environ import ROOT
from tests.stack_fixture import PARAMETERS, Stack


def command(stack: Stack, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    ports = {
        f"{name}_PORT": str(urlsplit(stack.outputs[url]).port)
        for name, url in {"AWS": "aws_endpoint_url", "REDIS": "redis_url", "LLM": "llm_url"}.items()
    }
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "OPENAI_", "REDIS_"))}
    environment = keep | ports | {"SLUICE_STATE": stack.outputs["state_dir"]} | variables
    return subprocess.run(
        [sys.executable, "-m", "localstack", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def typed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """A command in this process: another one takes half a second of a processor to start."""
    monkeypatch.setenv("SLUICE_STATE", stack.outputs["state_dir"])

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["localstack", *arguments])
        code = localstack.__main__.main()
        return code, *capsys.readouterr()

    return run


def test_status_names_every_part(stack: Stack) -> None:
    told = command(stack, "status")
    assert told.returncode == 0
    assert re.findall(r"^(\w+) +runs, pid \d+$", told.stdout, re.M) == ["llm", "aws", "valkey", "streaming"]


def test_a_second_up_finds_everything_as_it_is(stack: Stack) -> None:
    asked = " ".join(f"{name}={value}" for name, value in PARAMETERS.items())
    told = command(stack, "up", PARAMS=asked)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("runs already") == 3
    assert "template: unchanged" in told.stdout


def test_a_key_is_made_used_listed_and_revoked(stack: Stack, typed: Callable[..., tuple[int, str, str]]) -> None:
    made = command(
        stack, "key", "create", "somebody", "--tier", "vip", "--name", "laptop", "--limits", '{"requests": 7}'
    )
    assert made.returncode == 0, made.stderr
    key = made.stdout.split()[0]
    limits = httpx2.get(f"{stack.api_url}/limits", headers={"Authorization": f"Bearer {key}"}, timeout=30)
    assert limits.status_code == 200
    assert "7" in limits.text
    _, listed, _ = typed("key", "list")
    assert key not in listed
    (line,) = [line for line in listed.splitlines() if line.startswith(key[:18])]
    assert "somebody" in line
    assert "vip" in line
    assert typed("key", "revoke", key)[0] == 0
    _, listed, _ = typed("key", "list")
    (line,) = [line for line in listed.splitlines() if line.startswith(key[:18])]
    assert "revoked" in line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("key", "create", "somebody", "--tier", "gold"), "tiers: "),
        (("key", "create", "somebody", "--limits", "{"), "--limits is not JSON"),
        (("key", "create", "*"), "reserved"),
        (("key", "revoke", "sk-sluice-nobody-has-this"), "no single key"),
        (("pause", "fast"), "LANE must be one of high, normal, quarantine"),
    ],
)
def test_mistakes_are_explained(
    arguments: tuple[str, ...], told: str, typed: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, said = typed(*arguments)  # in this process, where what is raised would show
    assert code == 1
    assert said.startswith("error: ")
    assert told in said


def test_a_mistake_in_the_parameters_is_explained_before_anything_is_built(stack: Stack) -> None:
    answer = command(stack, "deploy", PARAMS="LeaseSeconds")
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: PARAMS must look like")
    assert "Traceback" not in answer.stderr


def test_a_logged_line_of_a_function_is_found(stack: Stack) -> None:
    stack.client("demo").get("/limits").raise_for_status()
    told = command(stack, "logs", "api")
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip()


def test_what_holds_keys_is_private(stack: Stack) -> None:
    state = Path(stack.outputs["state_dir"])
    assert state.stat().st_mode & 0o777 == 0o700
    for name in ("outputs.json", "keys.json", "webhook-secret", "deployed.json"):
        assert (state / name).stat().st_mode & 0o777 == 0o600


def test_a_failed_deployment_names_the_resource_and_can_be_repeated(stack: Stack) -> None:
    stack.use()
    queue: dict[str, Any] = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "of-the-broken-stack"}}
    impossible = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 99_999}}
    template: dict[str, Any] = {"Resources": {"Queue": queue, "Impossible": impossible}}
    with pytest.raises(deployer.DeployError, match=r"Impossible \(AWS::SQS::Queue\): .*VisibilityTimeout"):
        deployer.apply("broken", template, {}, bucket=BUCKET)
    del template["Resources"]["Impossible"]
    template["Outputs"] = {"Url": {"Value": {"Ref": "Queue"}}}
    assert "of-the-broken-stack" in deployer.apply("broken", template, {}, bucket=BUCKET)["Url"]
    assert deployer.apply("broken", template, {}, bucket=BUCKET)["Url"]  # no change is no failure
    boto3.client("cloudformation").delete_stack(StackName="broken")


def test_what_an_account_refuses_is_told(stack: Stack) -> None:
    stack.use()
    template = {"Resources": {"Strange": {"Type": "AWS::Nothing::OfTheKind", "Properties": {}}}}
    with pytest.raises(deployer.DeployError, match="OfTheKind"):
        deployer.apply("refused", template, {}, bucket=BUCKET)
