"""The streaming address of the local system: which function its front serves, and with what."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from typing import TYPE_CHECKING, Any

from deploy.paths import BUILT, IMPORTED_FROM, WORK, link
from localstack import front, rights
from localstack.environ import CREDENTIALS, STREAM_PORT, write_private
from localstack.processes import Part, answers, minimal_environment

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES = 2
UNRESERVED = 400
"""Requests at the same time, of both processes, where the function has no concurrency reserved."""
FUNCTION = "StreamingFunction"


def part(state: Path) -> Part:
    """Return the front as a part of the system; `set_up` writes what it reads."""
    port = STREAM_PORT.number
    environment = minimal_environment(PYTHONPATH=str(IMPORTED_FROM), PYTHONUNBUFFERED="1")
    command = [sys.executable, "-m", front.__name__, str(_config(state))]
    url = f"http://127.0.0.1:{port}/_front/health"
    return Part("streaming", command, environment, STREAM_PORT, lambda: answers(url, well=True), 40)


def _config(state: Path) -> Path:
    return state / "streaming.json"


def is_current(state: Path, found: dict[str, Any]) -> bool:
    """Whether the front was set up for the function as it is now; else it has to start anew, and streams are cut."""
    try:
        set_up_for: Any = json.loads(_config(state).read_text())["made_from"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(set_up_for == _made_from(_deployed(found), found))


def _deployed(found: dict[str, Any]) -> dict[str, Any]:
    import boto3

    client: Any = boto3.client("lambda")
    told: dict[str, Any] = client.get_function_configuration(FunctionName=found["functions"]["streaming"])
    return told


def _made_from(deployed: dict[str, Any], found: dict[str, Any]) -> str:
    parts = [deployed[name] for name in ("CodeSha256", "Environment", "Handler", "Role", "Timeout")]
    text = json.dumps([*parts, found["aws_endpoint_url"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()  # a digest: the environment holds secrets


def set_up(state: Path, found: dict[str, Any]) -> None:
    """Write the front's configuration: the deployed function's settings, a copy of its bundle, its role's rights."""
    deployed = _deployed(found)
    bundle = _copy_bundle(state)
    at_once = _at_once(deployed["Environment"]["Variables"])
    wrapper = bundle / deployed["Environment"]["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"].removeprefix("/var/task/")
    variables = minimal_environment() | deployed["Environment"]["Variables"] | _credentials(deployed["Role"])
    variables |= {
        "AWS_ENDPOINT_URL": found["aws_endpoint_url"],
        "AWS_LAMBDA_EXEC_WRAPPER": str(wrapper),
        "AWS_LAMBDA_FUNCTION_NAME": found["functions"]["streaming"],
        "API_RESERVED_CONCURRENCY": str(PROCESSES * at_once),
        "LAMBDA_TASK_ROOT": str(bundle),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    # The interpreter of the other functions, which holds no package of a bundle.
    command = [str(wrapper), str(WORK / ".tools/localaws/bin/python"), "-m", "awslambdaric", deployed["Handler"]]
    config = {
        "port": STREAM_PORT.number,
        "command": command,
        "variables": variables,
        "processes": PROCESSES,
        "at_once": at_once,
        "seconds": deployed["Timeout"],
        "made_from": _made_from(deployed, found),
    }
    write_private(_config(state), json.dumps(config))


def _at_once(variables: dict[str, str]) -> int:
    """Return the requests of one process at the same time, so that all have the function's reserved concurrency.

    On Lambda an environment has one; here a process for each would fill the machine.
    """
    return math.ceil((int(variables.get("API_RESERVED_CONCURRENCY", "0")) or UNRESERVED) / PROCESSES)


def _copy_bundle(state: Path) -> Path:
    """Copy what was built: another system of this checkout may build anew while this one runs."""
    target = state / "streaming-bundle"
    if (BUILT / FUNCTION).is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(BUILT / FUNCTION, target, copy_function=link)
    return target


def _credentials(role: str) -> dict[str, str]:
    """Return credentials of the function's role where rights are enforced, else those of everybody."""
    if not rights.enforced():
        return dict(CREDENTIALS)
    import boto3

    client: Any = boto3.client("sts")
    given = client.assume_role(RoleArn=role, RoleSessionName="streaming", DurationSeconds=43_200)["Credentials"]
    return CREDENTIALS | {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }
