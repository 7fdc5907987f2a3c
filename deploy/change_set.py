"""One change of a stack through a CloudFormation change set, followed to its end."""

from __future__ import annotations

import hashlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterable

WAIT_SECONDS = 3600.0
"""How long a change may take: a cache, a NAT gateway and a gradual deployment together take a good half hour."""
DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
"""During the clean-up, which takes long where functions leave a VPC, the new version is at work."""
NOT_THERE = ("REVIEW_IN_PROGRESS", "DELETE_COMPLETE")


class DeployError(Exception):
    """The stack did not reach the state that was asked for; the message says why."""


def apply(
    stack: str, template: dict[str, Any], parameters: dict[str, str], *, bucket: str, kept: Iterable[str] = ()
) -> dict[str, str]:
    """Create or update a stack from a packaged template and return its outputs.

    Parameters that are neither given nor among ``kept``, which stay as they are, take their defaults.

    Raises:
        DeployError: the account refused, or a resource failed; the message names it and gives the reason.
    """
    cloudformation = _client()
    body = json.dumps(template)
    s3: Any = boto3.client("s3")
    key = f"templates/{hashlib.sha256(body.encode()).hexdigest()[:24]}.json"
    s3.put_object(Bucket=bucket, Key=key, Body=body.encode())
    change_set = f"deploy-{int(time.time() * 1000)}"
    try:
        _remove_if_never_created(cloudformation, stack)
        cloudformation.create_change_set(
            StackName=stack,
            ChangeSetName=change_set,
            ChangeSetType="UPDATE" if exists(stack) else "CREATE",
            TemplateURL=f"{s3.meta.endpoint_url}/{bucket}/{key}",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
            + [{"ParameterKey": name, "UsePreviousValue": True} for name in kept],
        )
        if _await_change_set(cloudformation, stack, change_set):
            cloudformation.execute_change_set(StackName=stack, ChangeSetName=change_set)
            _await_stack(cloudformation, stack)
    except ClientError as error:
        raise DeployError(f"stack {stack}: {error}") from error
    outputs = _describe(cloudformation, stack).get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


def _client() -> Any:
    # Its quota is the account's, and others ask, too: being throttled is no reason to give up.
    return boto3.client("cloudformation", config=Config(retries={"mode": "standard", "total_max_attempts": 10}))


def _pause() -> None:
    time.sleep(0.2 if os.environ.get("AWS_ENDPOINT_URL") else 3.0)


def parameters_of(stack: str) -> dict[str, str]:
    """Return the parameters that a stack has now, secret ones masked; none if it does not exist."""
    found = _describe(_client(), stack)
    if found["StackStatus"] in NOT_THERE:
        return {}
    return {one["ParameterKey"]: one.get("ParameterValue", "") for one in found.get("Parameters", [])}


def _describe(cloudformation: Any, stack: str) -> dict[str, Any]:
    try:
        found: list[dict[str, Any]] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError":  # there is none
            return {"StackStatus": "DELETE_COMPLETE"}
        raise
    return found[0] if found else {"StackStatus": "DELETE_COMPLETE"}


def exists(stack: str) -> bool:
    """Whether there is such a stack."""
    return _describe(_client(), stack)["StackStatus"] not in NOT_THERE


def _remove_if_never_created(cloudformation: Any, stack: str) -> None:
    """Remove what a failed first creation left: CloudFormation can only delete it."""
    if _describe(cloudformation, stack)["StackStatus"] != "ROLLBACK_COMPLETE":
        return
    cloudformation.delete_stack(StackName=stack)
    give_up = time.monotonic() + WAIT_SECONDS
    while _describe(cloudformation, stack)["StackStatus"] != "DELETE_COMPLETE":
        if time.monotonic() > give_up:
            raise DeployError(f"stack {stack}, whose creation failed, could not be removed")
        _pause()


def _await_change_set(cloudformation: Any, stack: str, change_set: str) -> bool:
    """Wait for the change set; False when it holds no change."""
    give_up = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < give_up:
        found = cloudformation.describe_change_set(StackName=stack, ChangeSetName=change_set)
        if found["Status"] == "CREATE_COMPLETE":
            return True
        if found["Status"] == "FAILED":
            reason = found.get("StatusReason", "")
            if "didn't contain changes" in reason or "No updates" in reason:
                cloudformation.delete_change_set(StackName=stack, ChangeSetName=change_set)
                return False
            raise DeployError(f"the change set failed: {reason}")
        _pause()
    raise DeployError("the change set took too long")


def _await_stack(cloudformation: Any, stack: str) -> None:
    give_up = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < give_up:
        found = _describe(cloudformation, stack)
        status = found["StackStatus"]
        if status in DONE:
            return
        if status.endswith(("FAILED", "ROLLBACK_COMPLETE")):
            raise DeployError(f"the stack is {status}:\n" + _reasons(cloudformation, stack, found))
        _pause()
    raise DeployError(f"the stack is still {status} after {WAIT_SECONDS} s")


def _reasons(cloudformation: Any, stack: str, found: dict[str, Any]) -> str:
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    lines = [
        f"  {event['LogicalResourceId']} ({event.get('ResourceType', '?')}): {event.get('ResourceStatusReason', '?')}"
        for event in events
        if event["ResourceStatus"].endswith("FAILED")
    ]
    return "\n".join(lines) or str(found.get("StackStatusReason", "no reason given"))
