"""Says before a deployment what would make it fail, or fail later under load: sums, the account's concurrency, secrets.

``python -m deploy.preflight --stack sluice Name=value …`` takes what the deployment will be given; other parameters
stay as the stack has them. An error ends it with status 1; a warning does not.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.bundle import ROOT
from deploy.change_set import DeployError, parameters_of
from deploy.checks import unpriced
from deploy.stack import check_parameters, read_template
from deploy.stack_name import longest
from shared.errors import SettingError

KEPT_FREE = 100
"""Lambda lets an account reserve all but this many concurrent executions."""
OTHERS = 20
"""Executions that the other functions (API, WebSocket, sweeper …) should find free: 10 requests a second take fewer."""
PLATFORMS = {"arm64": "aarch64-manylinux2014", "x86_64": "x86_64-manylinux2014"}
SECRETS = ("OpenaiSecretArn", "WebhookSecretArn", "RedisSecretArn", "OtlpHeadersArn")


class Findings:
    """What was found: errors and warnings, in order."""

    def __init__(self) -> None:
        """Start with nothing found."""
        self.errors: list[str] = []
        self.warnings: list[str] = []


def check(template: dict[str, Any], parameters: dict[str, str], stack: str) -> Findings:
    """Hold a deployment's parameters against themselves and against the account.

    Raises:
        ClientError, BotoCoreError: the account cannot be asked.
    """
    found = Findings()
    now = {name: value for name, value in parameters_of(stack).items() if name in template["Parameters"]}
    try:
        check_parameters(template, parameters, now)
    except DeployError as error:
        found.errors.append(str(error))
        return found
    values = {name: str(one["Default"]) for name, one in template["Parameters"].items()} | now | parameters
    _concurrency(found, values, stack)
    _secrets(found, values)
    _what_is_missing(found, values)
    _prices(found, template, values)
    _architecture(found, values)
    if values["ManagedRedis"] == "true":
        _zones(found, values)
    if values["ManagedRedis"] != "false" and stack != stack.lower():
        found.errors.append(f"ElastiCache takes names in lower case only, and the stack is called {stack}")
    if values["ManagedRedis"] != "false" and "--" in f"{stack}-":
        found.errors.append(f"ElastiCache takes no names with two hyphens on end, and the stack is called {stack}")
    most, why = longest(template, values)
    if len(stack) > most:
        found.errors.append(f"a stack's name may have {most} characters here ({why}), and {stack} has {len(stack)}")
    return found


def _architecture(found: Findings, values: dict[str, str]) -> None:
    wanted = PLATFORMS[values["Architecture"]]
    platform = os.environ.get("BUNDLE_PLATFORM", PLATFORMS["arm64"])
    if values["Stage"] == "aws" and not platform.startswith(wanted.partition("-")[0]):
        found.errors.append(
            f"Architecture is {values['Architecture']}, but the bundles are built for {platform}: functions could not "
            f"load them. Build with BUNDLE_PLATFORM={wanted}, and set it for this command, too"
        )


def _zones(found: Findings, values: dict[str, str]) -> None:
    """See that the zones of the VPC have the endpoints that stand in it; Lambda's tells where functions can be."""
    ec2: Any = boto3.client("ec2")
    names = [f"com.amazonaws.{ec2.meta.region_name}.{service}" for service in ("lambda", "sqs", "secretsmanager")]
    details = ec2.describe_vpc_endpoint_services(ServiceNames=names)["ServiceDetails"]
    fit = set.intersection(*(set(one["AvailabilityZones"]) for one in details))
    wanted = [values["ZoneA"], values["ZoneB"]]
    if not all(wanted):
        zones = ec2.describe_availability_zones(Filters=[{"Name": "zone-type", "Values": ["availability-zone"]}])
        wanted = sorted(one["ZoneName"] for one in zones["AvailabilityZones"])[:2]
    if not set(wanted) <= fit or len(set(wanted)) < 2:
        found.errors.append(
            f"the VPC would be in {' and '.join(wanted)}; functions and endpoints can be in {', '.join(sorted(fit))}. "
            "Set ZoneA and ZoneB to two of these"
        )


def _concurrency(found: Findings, values: dict[str, str], stack: str) -> None:
    limit = boto3.client("lambda").get_account_settings()["AccountLimit"]
    quota = limit["ConcurrentExecutions"]
    free = limit["UnreservedConcurrentExecutions"] + _reserved_by(stack)
    most = int(values["MaxReplicas"])
    of_api = int(values["ApiReservedConcurrency"])
    free += _reserved_by(stack, "ApiFunction") if of_api else 0
    if of_api and values["ReserveConcurrency"] != "true" and free - of_api < KEPT_FREE:
        found.errors.append(f"ApiReservedConcurrency is {of_api}, but {max(0, free - KEPT_FREE)} can be reserved")
    free -= of_api
    if values["ReserveConcurrency"] == "true":
        wanted = int(values["ReservedConcurrency"])
        streaming = int(values["StreamingConcurrency"])
        free += _reserved_by(stack, "StreamingFunction") if streaming else 0
        if streaming and free - wanted - streaming < KEPT_FREE <= free - wanted:
            found.errors.append(
                f"StreamingConcurrency is {streaming}, but {free - wanted - KEPT_FREE} can be reserved for it besides; "
                "0 reserves none"
            )
        if free - wanted < KEPT_FREE:
            found.errors.append(
                f"ReservedConcurrency is {wanted}, but {max(0, free - KEPT_FREE)} can be reserved: the account's quota "
                f"of concurrent executions is {quota}, {quota - free} are reserved by other functions, and Lambda "
                f"keeps {KEPT_FREE} unreserved. Ask for a higher quota (Service Quotas, Lambda, L-B99A9384), or deploy "
                "with ReserveConcurrency=false and a MaxReplicas that fits"
            )
    elif most + OTHERS > free:
        text = (
            f"up to {most} workers run at once (MaxReplicas) and nothing is reserved, but the "
            f"account has {free} unreserved executions for them and all other functions"
        )
        if most >= free:
            found.errors.append(f"{text}: busy workers would leave none for the API. Lower MaxReplicas and the lanes")
        else:
            found.warnings.append(f"{text}: under full load the API may be throttled")


def _reserved_by(stack: str, logical: str = "WorkerFunction") -> int:
    """Return what a function of the stack holds already: an update gives it back first."""
    try:
        found = boto3.client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId=logical)
        name = str(found["StackResourceDetail"]["PhysicalResourceId"])
        kept = boto3.client("lambda").get_function_concurrency(FunctionName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ValidationError", "ResourceNotFoundException"):
            return 0  # the first deployment
        raise
    return int(kept.get("ReservedConcurrentExecutions", 0))


def _secrets(found: Findings, values: dict[str, str]) -> None:
    for name in SECRETS:
        if not values[name]:
            continue
        client: Any = boto3.client("secretsmanager")
        try:
            client.describe_secret(SecretId=values[name])
        except ClientError as error:
            found.errors.append(f"{name}: Secrets Manager says {error.response['Error']['Code']}")


def _what_is_missing(found: Findings, values: dict[str, str]) -> None:
    if not (values["OpenaiApiKey"] or values["OpenaiSecretArn"]):
        found.warnings.append("neither OpenaiSecretArn nor OpenaiApiKey is set: a provider that wants a key refuses")
    if values["OpenaiApiKey"] and values["Stage"] == "aws":
        found.warnings.append("OpenaiApiKey stands in the worker's environment in clear: rather use OpenaiSecretArn")
    if not values["RedisUrl"] and values["ManagedRedis"] == "false":
        if float(values["GlobalTokensPerDay"]) or float(values["GlobalUsdPerDay"]) or values["RedisDown"] == "refuse":
            found.errors.append(
                "without Redis (RedisUrl, ManagedRedis) every submit gets 503, "
                "since RedisDown=refuse or a global ceiling is set"
            )
        else:
            found.warnings.append(
                "there is no Redis (RedisUrl, ManagedRedis): limits are kept per environment, at a tenth"
            )
    if values["Stage"] == "aws" and values["AllowPrivateAddresses"] == "true":
        found.errors.append("AllowPrivateAddresses=true lets users' URLs reach the account's own network")


def _prices(found: Findings, template: dict[str, Any], values: dict[str, str]) -> None:
    """See that what a deployment names has a price. `check_parameters` was strict where no object holds prices."""
    try:
        found.warnings += unpriced(template, values)
    except SettingError as error:  # the object: who deploys may not be let read it
        found.warnings.append(error.message)


def tell(found: Findings, indent: str = "") -> int:
    """Print what was found; returns the exit status."""
    for text in found.warnings:
        print(f"{indent}warning: {text}")
    for text in found.errors:
        print(f"{indent}error: {text}", file=sys.stderr)
    if not found.errors:
        print(f"{indent or 'preflight: '}nothing stands in the way")
    return 1 if found.errors else 0


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.preflight", description=__doc__)
    parser.add_argument("--stack", default="sluice")
    parser.add_argument("parameters", nargs="*", metavar="Name=value")
    asked = parser.parse_args(arguments)
    pairs = [pair.partition("=") for pair in asked.parameters]
    if any(not equals for _, equals, _ in pairs):
        parser.error("parameters look like Name=value")
    try:
        found = check(read_template(ROOT / "template.yaml"), {name: value for name, _, value in pairs}, asked.stack)
    except (ClientError, BotoCoreError) as error:
        print(f"error: the account cannot be asked: {error}", file=sys.stderr)
        return 1
    return tell(found)


if __name__ == "__main__":
    sys.exit(main())
