"""Puts the built template into an account, local or real, through a CloudFormation change set.

``python -m deploy.stack --stack sluice Name=value …`` after `sam build`; ``AWS_ENDPOINT_URL`` chooses the account.
(`sam deploy` does the same; this one names the failing resource and uploads a bundle only when it changed.)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import ClientError

from deploy.packages import BUILT, package

WAIT_SECONDS = 600


class DeployError(Exception):
    """The stack did not reach the state that was asked for; the message says why."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # in C: a tenth of the time
    """Reads CloudFormation's short forms (``!Ref x``) as what they stand for."""


def _intrinsic(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = str(value).split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)  # type: ignore[no-untyped-call]


def read_template(path: Path) -> dict[str, Any]:
    """Read a template with its short forms spelled out."""
    loaded: dict[str, Any] = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader with tags
    return loaded


def check_parameters(template: dict[str, Any], parameters: dict[str, str]) -> None:
    """Check what CloudFormation cannot: sums and names.

    Raises:
        DeployError: naming the parameters.
    """
    known: dict[str, Any] = template["Parameters"]
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise DeployError(f"no such parameter: {', '.join(unknown)}")

    def value(name: str) -> str:
        return str(parameters.get(name, known[name]["Default"]))

    lanes = sum(int(value(f"{lane}Concurrency")) for lane in ("High", "Normal", "Quarantine"))
    if lanes != int(value("MaxReplicas")):
        raise DeployError(f"MaxReplicas is {value('MaxReplicas')} but the lanes' concurrency adds up to {lanes}")
    needed = math.ceil(lanes / 0.8)
    if value("ReserveConcurrency") == "true" and int(value("ReservedConcurrency")) < needed:
        raise DeployError(
            f"ReservedConcurrency must be at least {needed} (MaxReplicas / 0.8): with less, pollers push messages that "
            "find no environment towards the dead-letter queue"
        )
    if float(value("ModelTimeoutSeconds")) + 5 > float(value("WorkerTimeoutSeconds")):
        raise DeployError("WorkerTimeoutSeconds must exceed ModelTimeoutSeconds by 5")
    if float(value("HeartbeatSeconds")) * 2 > float(value("LeaseSeconds")):
        raise DeployError("HeartbeatSeconds must be at most half of LeaseSeconds")


def deploy(stack: str, template: dict[str, Any], parameters: dict[str, str], *, bucket: str) -> dict[str, str]:
    """Create or update a stack and return its outputs.

    Raises:
        DeployError: a parameter is wrong or a resource failed; the message names it and gives the reason.
    """
    check_parameters(template, parameters)
    package(template, bucket)
    name_versions(template, parameters)
    return apply(stack, template, parameters, bucket=bucket)


def name_versions(template: dict[str, Any], parameters: dict[str, str]) -> None:
    """Let changed parameters publish a version, as changed code does.

    SAM names a version by its code and its template alone; an alias would go on with the environment of before.
    """
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if "AutoPublishAlias" in properties:
            made_from = json.dumps([properties, template["Globals"], sorted(parameters.items())], sort_keys=True)
            properties["AutoPublishCodeSha256"] = hashlib.sha256(made_from.encode()).hexdigest()


def apply(stack: str, template: dict[str, Any], parameters: dict[str, str], *, bucket: str) -> dict[str, str]:
    """Create or update a stack from a packaged template and return its outputs.

    Raises:
        DeployError: the account refused, or a resource failed; the message names it and gives the reason.
    """
    cloudformation: Any = boto3.client("cloudformation")
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
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        )
        if _await_change_set(cloudformation, stack, change_set):
            cloudformation.execute_change_set(StackName=stack, ChangeSetName=change_set)
            _await_stack(cloudformation, stack)
    except ClientError as error:
        raise DeployError(f"stack {stack}: {error}") from error
    outputs = _describe(cloudformation, stack).get("Outputs", [])
    return {output["OutputKey"]: output["OutputValue"] for output in outputs}


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
    status = _describe(boto3.client("cloudformation"), stack)["StackStatus"]
    return status not in ("REVIEW_IN_PROGRESS", "DELETE_COMPLETE")


def _remove_if_never_created(cloudformation: Any, stack: str) -> None:
    """Remove what a failed first creation left: CloudFormation can only delete it."""
    if _describe(cloudformation, stack)["StackStatus"] != "ROLLBACK_COMPLETE":
        return
    cloudformation.delete_stack(StackName=stack)
    give_up = time.monotonic() + WAIT_SECONDS
    while _describe(cloudformation, stack)["StackStatus"] != "DELETE_COMPLETE":
        if time.monotonic() > give_up:
            raise DeployError(f"stack {stack}, whose creation failed, could not be removed")
        time.sleep(0.2)


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
        time.sleep(0.2)
    raise DeployError("the change set took too long")


def _await_stack(cloudformation: Any, stack: str) -> None:
    give_up = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < give_up:
        found = _describe(cloudformation, stack)
        status = found["StackStatus"]
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return
        if status.endswith(("FAILED", "ROLLBACK_COMPLETE")):
            raise DeployError(f"the stack is {status}:\n" + _reasons(cloudformation, stack, found))
        time.sleep(0.2)
    raise DeployError(f"the stack is still {status} after {WAIT_SECONDS} s")


def _reasons(cloudformation: Any, stack: str, found: dict[str, Any]) -> str:
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    lines = [
        f"  {event['LogicalResourceId']} ({event.get('ResourceType', '?')}): {event.get('ResourceStatusReason', '?')}"
        for event in events
        if event["ResourceStatus"].endswith("FAILED")
    ]
    return "\n".join(lines) or str(found.get("StackStatusReason", "no reason given"))


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", default="sluice")
    parser.add_argument("--bucket", default="sluice-deployments")
    parser.add_argument("parameters", nargs="*", metavar="Name=value")
    asked = parser.parse_args()
    try:
        parameters = dict(pair.split("=", 1) for pair in asked.parameters)
        for name, value in deploy(
            asked.stack, read_template(BUILT / "template.yaml"), parameters, bucket=asked.bucket
        ).items():
            print(f"{name}: {value}")
    except DeployError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
