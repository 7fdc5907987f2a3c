"""`sam local` against the running local system: functions in Lambda's base image, as containers.

    python -m localstack.sam_local api [--port 3000]                  serve the HTTP API
    python -m localstack.sam_local invoke [events/worker.json]        call the worker (or the API) with one event

`make up` first: its AWS, Valkey and model serve the containers, and its build is what they run.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from localstack import lambda_image
from localstack.environ import ROOT, LocalError, architecture, only_local_aws, outputs, use, write_private
from localstack.relay import relayed

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "host.docker.internal"
"""How containers call this machine."""
SAM = ROOT / ".tools/sam/bin/sam"
FUNCTIONS = {"ApiFunction": "api", "WorkerFunction": "worker"}
PULL_SECONDS = 180
DEFAULT_PORT = 3000
NEW = "NEW"
"""Task id in an event for which a task is written first."""


def need_engine() -> None:
    """Make sure that containers can be run.

    Raises:
        LocalError: there is no Docker engine.
    """
    if shutil.which("docker") is None or _docker("info", "--format", "{{.ServerVersion}}").returncode:
        raise LocalError(
            "`sam local` runs functions as containers, and no Docker engine answers here. `make up` runs the same "
            "functions without one, and `pytest tests/stack/test_runtime.py` runs them under Lambda's own runtime"
        )


def need_image() -> None:
    """Make sure that the base image is there: pulled, or else a stand-in.

    Raises:
        LocalError: neither could be had.
    """
    if not _docker("image", "inspect", lambda_image.image()).returncode:
        return
    print(f"pulling {lambda_image.image()}")
    try:
        if not _docker("pull", "--quiet", lambda_image.image(), seconds=PULL_SECONDS).returncode:
            return
    except subprocess.TimeoutExpired:
        pass
    print("it cannot be pulled: building a stand-in from this machine's files (see localstack/lambda_image.py)")
    lambda_image.build()


def _docker(*words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=False, timeout=seconds)


@contextlib.contextmanager
def prepared(found: dict[str, Any]) -> Iterator[list[str]]:
    """Make everything ready for `sam local`; yields the options that its commands share.

    Raises:
        LocalError: something is missing; the message says what.
    """
    need_engine()
    need_image()
    use(found)
    state = Path(found["state_dir"])
    template, variables = state / "sam-template.json", state / "sam-variables.json"
    write_private(template, json.dumps(_template()))
    write_private(variables, json.dumps(_variables(found)))
    options = ["--template", str(template), "--env-vars", str(variables), "--skip-pull-image"]
    options += ["--parameter-overrides", f"Stage=local Architecture={architecture()}"]
    options += ["--layer-cache-basedir", str(state / "sam-layers")]
    with contextlib.ExitStack() as stack:
        if sys.platform == "linux":
            gateway = _bridge()
            try:
                stack.enter_context(relayed(gateway, _ports(found)))
            except OSError as error:
                raise LocalError(
                    f"the containers' way to this machine ({gateway}) cannot be opened: {error}"
                ) from error
            options += ["--add-host", f"{HOST}:{gateway}"]
        yield options


def _bridge() -> str:
    """Return this machine's address on the network of the containers."""
    told = _docker("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}")
    try:
        config = json.loads(told.stdout)[0]
        # An older engine names no gateway until the first container ran; it takes the network's first address.
        return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))
    except (ValueError, LookupError) as error:
        raise LocalError(f"the Docker engine has no bridge network: {told.stderr.strip() or told.stdout}") from error


def _template() -> dict[str, Any]:
    """Return the built template as `sam local` can serve it.

    It sets no variable that the template does not name, and it stumbles over a WebSocket API's routes.
    """
    from deploy.stack import BUILT, read_template

    template = read_template(BUILT / "template.yaml")
    template["Globals"]["Function"]["Environment"]["Variables"]["AWS_ENDPOINT_URL"] = ""
    resources = template["Resources"]
    sockets = [name for name, one in resources.items() if one.get("Properties", {}).get("ProtocolType") == "WEBSOCKET"]
    for name, resource in list(resources.items()):
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = str(BUILT / name)
        elif resource["Type"] == "AWS::ApiGatewayV2::Route" and resource["Properties"]["ApiId"].get("Ref") in sockets:
            del resources[name]
    return template


def _variables(found: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the functions' deployed settings, with this machine's addresses as containers see them."""
    import boto3

    client: Any = boto3.client("lambda")
    made = {}
    for logical, name in FUNCTIONS.items():
        deployed = client.get_function_configuration(FunctionName=found["functions"][name])["Environment"]["Variables"]
        deployed["AWS_ENDPOINT_URL"] = found["aws_endpoint_url"]
        made[logical] = {key: _from_container(value) for key, value in deployed.items()}
    return made


def _from_container(value: str) -> str:
    return value.replace("//127.0.0.1:", f"//{HOST}:").replace("//localhost:", f"//{HOST}:")


def _ports(found: dict[str, Any]) -> set[int]:
    addresses = [urlsplit(found[name]) for name in ("aws_endpoint_url", "redis_url", "llm_url")]
    return {address.port for address in addresses if address.hostname in ("127.0.0.1", "localhost") and address.port}


def _environment() -> dict[str, str]:
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0"}
    only_local_aws(environment)
    return environment


def serve(port: int) -> int:
    """Serve the HTTP API until told to stop; returns SAM's exit code."""
    found = outputs()
    with prepared(found) as options:
        command = [str(SAM), "local", "start-api", *options, "--port", str(port), "--warm-containers", "LAZY"]
        print(f"\n  API  http://127.0.0.1:{port}   (keys: {found['state_dir']}/outputs.json)\n", flush=True)
        # A session of its own: an interrupt comes to this process alone, which lets SAM end its containers, and waits.
        with subprocess.Popen(command, env=_environment(), cwd=ROOT, start_new_session=True) as sam:
            for stop in (signal.SIGINT, signal.SIGTERM):
                signal.signal(stop, lambda *_: sam.terminate())
            return sam.wait()


def invoke(path: Path) -> int:
    """Call the function that an event is for, print its answer and what became of its tasks."""
    found = outputs()
    event: dict[str, Any] = json.loads(path.read_text())
    function = "WorkerFunction" if "Records" in event else "ApiFunction"
    with prepared(found) as options:
        tasks = [_written(record, found) for record in event.get("Records", ())]
        command = [str(SAM), "local", "invoke", function, *options, "--event", "-"]
        done = subprocess.run(command, env=_environment(), input=json.dumps(event), text=True, check=False, cwd=ROOT)
        print(flush=True)
        for task_id in filter(None, tasks):
            _tell(task_id)
        return done.returncode


def _written(record: dict[str, Any], found: dict[str, Any]) -> str | None:
    """Write the task that a record asks for, and make the record a message about it; returns its id."""
    from shared.clock import day
    from shared.tasks import lanes, store
    from shared.tasks.model import Task

    asked = json.loads(record["body"])
    record["eventSourceARN"] = f"arn:aws:sqs:us-east-1:000000000000:{found['queues']['quarantine'].rsplit('/', 1)[-1]}"
    if asked.get("task_id") != NEW:
        return None
    at = time.time()
    task = Task(
        task_id=f"task_{uuid.uuid4().hex}", user="demo", lane="quarantine", agent=asked["agent"], tier="standard",
        model=asked.get("model", "gpt-4o-mini"), created=at, day=day(at), reserved_tokens=20_000,
        reserved_micro_usd=20_000,
    )  # fmt: skip
    store.submit(task, asked["message"])
    record["body"] = json.dumps({"v": lanes.VERSION, "task_id": task.task_id, "gen": 0})
    return task.task_id


def _tell(task_id: str) -> None:
    from shared.tasks import settle, store

    row = store.get(task_id)
    result = settle.result_of(row)
    print(f"{task_id}: {row.status}, {(result or {}).get('response') or row.error or ''}")


def main() -> int:
    """Run from the command line; errors that the caller can mend are printed without a traceback."""
    parser = argparse.ArgumentParser(prog="python -m localstack.sam_local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("api").add_argument("--port", type=int, default=DEFAULT_PORT)
    commands.add_parser("invoke").add_argument("event", type=Path, nargs="?", default=ROOT / "events/worker.json")
    asked = parser.parse_args()
    try:
        return serve(asked.port) if asked.command == "api" else invoke(asked.event)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
