"""Deploys a project to AWS: ``python -m deploy.release STAGE Name=value … [--dry-run] [--json]``.

Checked first: the project's imports and parameters, then the account (`deploy.preflight`). Then the bundles are built
and a CloudFormation change set is carried out (`deploy.stack`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from deploy import build, operate, paths, preflight, stack
from deploy.project import ProjectError
from deploy.project_check import complaints
from deploy.stack import read_template


class ReleaseError(Exception):
    """It was not deployed; the message says why."""


def release(stage: str, given: dict[str, str], *, dry_run: bool, bucket: str | None = None) -> dict[str, str]:
    """Deploy a stage of the project and return the stack's outputs; none after a dry run.

    Raises:
        ReleaseError: the project, the account or a resource is not as it has to be.
    """
    root = paths.project()
    if root is None:
        raise ReleaseError("there is no project here")
    project, wrong = complaints(root, stage)
    if wrong or project is None:
        raise ReleaseError("\n".join(wrong))
    told = project.stage(stage)
    if told.region:
        os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"] = told.region
    template = read_template(paths.SYSTEM / "template.yaml")
    parameters = told.parameters | given
    architecture = parameters.get("Architecture", str(template["Parameters"]["Architecture"]["Default"]))
    os.environ["BUNDLE_PLATFORM"] = preflight.PLATFORMS.get(architecture, preflight.PLATFORMS["arm64"])
    try:
        found = preflight.check(template, parameters, told.stack)
        for text in found.warnings:
            print(f"warning: {text}", file=sys.stderr)
        if found.errors:
            raise ReleaseError("\n".join(found.errors))
        built = build.build()
        if dry_run:
            return {}
        return stack.deploy(told.stack, built, parameters, bucket=bucket or stack.own_bucket(), keep=True)
    except (NoRegionError, NoCredentialsError) as error:
        raise ReleaseError(operate.account_words(error)) from None
    except (ClientError, BotoCoreError) as error:
        raise ReleaseError(f"AWS says: {error}") from error
    except (stack.DeployError, ProjectError) as error:
        raise ReleaseError(str(error)) from error


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="deploy", description=__doc__)
    parser.add_argument("stage")
    parser.add_argument("parameters", nargs="*", metavar="Name=value")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    try:
        given = dict(pair.split("=", 1) for pair in asked.parameters)
    except ValueError:
        parser.error("parameters are given as Name=value")
    try:
        outputs = release(asked.stage, given, dry_run=asked.dry_run)
    except ReleaseError as error:
        if asked.json:
            print(json.dumps({"error": {"code": "not_deployed", "message": str(error)}}))
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1
    if asked.json:
        print(json.dumps({"stage": asked.stage, "dry_run": asked.dry_run, "outputs": outputs}))
        return 0
    for name, value in outputs.items():
        print(f"{name}: {value}")
    if asked.dry_run:
        print("built, and nothing deployed")
    else:
        print(f"\nnext, a key for somebody: sluice operate {asked.stage} key create NAME")
    return 0


if __name__ == "__main__":
    sys.exit(main())
