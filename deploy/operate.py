"""The operator's commands against a deployed stack, on AWS or local: keys, lanes, dead letters, costs.

``python -m deploy.operate --stack sluice key create ada --tier vip``; in a project of one's own ``sluice operate STAGE
key create ada --tier vip``. Addresses come from the stack's outputs, rights from the caller's own AWS credentials. None
of these commands needs Redis.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from deploy import keys, nearby, paths, project, recount
from deploy.nearby import LocalError
from shared import aws
from shared.errors import SluiceError
from shared.settings import settings

ACCOUNT = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT_URL",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
)
"""Variables that say which account is meant."""
LANES = ("high", "normal", "quarantine")
DEFAULT_STACK = "sluice"
"""Also the name of the local one."""


def _find_local() -> None:
    """Turn to the running local system where nothing says which account is meant, and say so."""
    named = [name for name in ACCOUNT if os.environ.get(name)]
    configured = any((Path.home() / ".aws" / name).exists() for name in ("config", "credentials"))
    if not named and not configured and (nearby.state_dir() / "outputs.json").exists():
        _use_local()


def _use_local() -> None:
    found = nearby.outputs()
    nearby.use(found)
    print(f"on the local system at {found['aws_endpoint_url']}", file=sys.stderr)


def _use_stage(name: str) -> str:
    """Turn to where a stage of the project is; returns its stack.

    Raises:
        ProjectError: the project has no such stage.
        LocalError: there is no project, or the stage is the local system, which is not up.
    """
    root = paths.project()
    if root is None:
        raise LocalError("--stage is for projects of one's own: name a --stack")
    stage = project.load(root).stage(name)
    if name == project.LOCAL:
        _use_local()
        return DEFAULT_STACK
    if stage.region:
        os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"] = stage.region
    return stage.stack


def account_words(error: BotoCoreError) -> str:
    """Say what is to be done where the shell names no region, or nobody whose rights are to be used."""
    if isinstance(error, NoRegionError):
        return "no region is named: set AWS_DEFAULT_REGION, or `region` of the stage in pyproject.toml"
    return "no AWS credentials here: `aws configure`, `aws sso login`, or AWS_PROFILE"


def outputs_of(stack: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return a stack's outputs and its parameters (secret ones are asterisks).

    Raises:
        LocalError: there is no such stack, or the caller may not see it.
    """
    try:
        found: dict[str, Any] = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]  # type: ignore[assignment]
    except (NoRegionError, NoCredentialsError) as error:
        raise LocalError(account_words(error)) from None
    except (ClientError, BotoCoreError) as error:
        raise LocalError(f"stack {stack}: {error}") from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", [])}
    return outputs, parameters


def use(outputs: dict[str, str], parameters: dict[str, str]) -> None:
    """Make Sluice's settings in this process those of the stack."""
    os.environ["TABLE_NAME"] = outputs["TableName"]
    os.environ["BLOB_BUCKET"] = outputs["BlobBucket"]
    os.environ["REDIS_URL"] = ""
    for lane in (*LANES, "webhook"):
        os.environ[f"QUEUE_URL_{lane.upper()}"] = outputs[f"{lane.capitalize()}QueueUrl"]
    if parameters.get("WebhookSecretArn"):
        os.environ["WEBHOOK_SECRET_ARN"] = parameters["WebhookSecretArn"]
    settings.cache_clear()
    aws.reset()


def _switch(outputs: dict[str, str], lane: str, *, enabled: bool) -> None:
    client: Any = boto3.client("lambda")
    client.update_event_source_mapping(UUID=outputs[f"{lane.capitalize()}MappingId"], Enabled=enabled)
    if scaler := outputs.get("ScalerFunctionName"):  # it tells environments at work, which else learn of it in a minute
        client.invoke(FunctionName=scaler, Payload=b'{"only": "pauses"}')
    print(f"{lane} is {'running' if enabled else 'paused: its tasks wait, runs under way end'}")


def _redrive() -> None:
    from shared.tasks import redrive  # with what settles tasks: no other command needs it

    done = 0
    for old, new in redrive.redrive():
        print(f"{old} runs again as {new}")
        done += 1
    print(f"{done} tasks redriven")
    for message in redrive.unreadable():
        print(f"unreadable message {message['sk']} from {message['queue']}: {message['body'][:80]!r}")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; what the caller can mend is told in one line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.operate", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--stack", default=DEFAULT_STACK)
    where.add_argument("--stage", help="a stage of the project: [tool.sluice.stages.NAME], or local")
    commands = parser.add_subparsers(dest="command", required=True)
    keys.add_arguments(commands.add_parser("key", help="make, list, rotate and revoke API keys"))
    for name in ("pause", "resume"):
        commands.add_parser(name, help="stop or start a lane").add_argument("lane", choices=LANES)
    commands.add_parser("redrive", help="run dead-lettered tasks again")
    counting = commands.add_parser("recount-costs", help="hold the days' costs against the tasks' rows")
    counting.add_argument("--from", dest="first", metavar="DAY", help="first UTC day; the last one if not given")
    counting.add_argument("--to", dest="last", metavar="DAY", help="last UTC day; today if not given")
    asked = parser.parse_args(arguments)
    try:
        if asked.stage:
            stack = _use_stage(asked.stage)
        else:
            _find_local()
            stack = asked.stack
        outputs, parameters = outputs_of(stack)
        use(outputs, parameters)
        if asked.command == "key":
            keys.run(asked)
        elif asked.command == "recount-costs":
            return recount.run(asked.first, asked.last)
        elif asked.command == "redrive":
            _redrive()
        else:
            _switch(outputs, asked.lane, enabled=asked.command == "resume")
    except (LocalError, project.ProjectError, SluiceError, ClientError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        if getattr(asked, "json", False):
            print(json.dumps({"error": {"message": str(error)}}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
