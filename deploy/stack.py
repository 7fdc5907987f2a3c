"""Puts the built template into an account, local or real, through a CloudFormation change set.

``python -m deploy.stack --stack sluice Name=value …`` after `sam build`; ``AWS_ENDPOINT_URL`` chooses the account.
Parameters that are not given stay as they are. (`sam deploy` does the same; this one names the failing resource,
uploads a bundle only when it changed, and publishes a version of the API when only parameters did.)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import sys
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import ClientError

from deploy import profiles
from deploy.change_set import DeployError, apply, exists, parameters_of
from deploy.checks import check_parameters
from deploy.packages import package
from deploy.paths import BUILT

__all__ = ["DeployError", "apply", "check_parameters", "deploy", "exists", "read_template"]


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
    """Read a template with its short forms spelled out; what is returned is the caller's own."""
    template: dict[str, Any] = pickle.loads(_loaded(path.read_text()))  # noqa: S301 - made here
    return template


@cache
def _loaded(text: str) -> bytes:
    """Return a template as it is copied in a tenth of the time that `copy.deepcopy` takes; a command reads it often."""
    return pickle.dumps(yaml.load(text, Loader=_Loader))  # noqa: S506 - a SafeLoader with tags


def deploy(
    stack: str, template: dict[str, Any], parameters: dict[str, str], *, bucket: str, keep: bool = False
) -> dict[str, str]:
    """Create or update a stack and return its outputs.

    With ``keep`` parameters that are not given stay as they are, else they take their defaults.

    Raises:
        DeployError: a parameter is wrong or a resource failed; the message names it and gives the reason.
    """
    try:
        now = parameters_of(stack) if keep else {}
        kept = {name: value for name, value in now.items() if name in template["Parameters"] and name not in parameters}
        check_parameters(template, parameters, kept)
        package(template, bucket)
    except ClientError as error:
        raise DeployError(f"stack {stack}, bucket {bucket}: {error}") from error
    name_versions(template, kept | parameters)
    return apply(stack, template, parameters, bucket=bucket, kept=kept)


def name_versions(template: dict[str, Any], parameters: dict[str, str]) -> None:
    """Let changed parameters publish a version, as changed code does.

    SAM names a version by its code and its template alone; an alias would go on with the environment of before.
    """
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if "AutoPublishAlias" in properties:
            made_from = json.dumps([properties, template["Globals"], sorted(parameters.items())], sort_keys=True)
            properties["AutoPublishCodeSha256"] = hashlib.sha256(made_from.encode()).hexdigest()


def own_bucket() -> str:
    """Name a bucket that nobody else has: names are shared by all accounts."""
    sts: Any = boto3.client("sts")
    return f"sluice-deployments-{sts.get_caller_identity()['Account']}-{sts.meta.region_name}"


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", default="sluice")
    parser.add_argument("--bucket", help="for the bundles; by default one of the account's own, made on first use")
    parser.add_argument("--profile", choices=profiles.NAMES, help="parameters of samconfig.toml; those given win")
    parser.add_argument("parameters", nargs="*", metavar="Name=value")
    asked = parser.parse_args()
    try:
        parameters = profiles.read(asked.profile) if asked.profile else {}
        parameters |= dict(pair.split("=", 1) for pair in asked.parameters)
        template = read_template(BUILT / "template.yaml")
        outputs = deploy(asked.stack, template, parameters, bucket=asked.bucket or own_bucket(), keep=True)
    except ValueError:
        parser.error("parameters are given as Name=value")
    except (DeployError, ClientError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for name, value in outputs.items():
        print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
