"""Builds and deploys the template onto the local AWS, but only when something changed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy import paths
from deploy.project import ProjectError, load
from localstack import left_out
from localstack.environ import (
    API_ID,
    ROOT,
    WS_ID,
    LocalError,
    architecture,
    bundle_platform,
    use_aws,
    write_private,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

STACK = "sluice"
BUCKET = "sluice-deployments"
SOURCES = ("template.yaml", "Makefile", "requirements", "deploy", "functions", "shared", "sluice")
NO_SOURCES = ("node_modules", "__pycache__")
"""Folders of a project that nothing is made from, beside hidden ones and environments."""
LIVE = "SLUICE_LIVE"
"""Variable with the folder where `sluice up --watch` keeps each saved version of a project's agents."""

LOCAL_DEFAULTS = {
    "Stage": "local",
    "ApiTag": API_ID,
    "WsTag": WS_ID,
    "AllowPrivateAddresses": "true",
    "AllowUnpricedModels": "true",  # the simulator answers to any name, so every client's default model works
    "PointInTimeRecovery": "false",
    # One machine: fewer environments, and an ingress that load tests can use.
    "HighConcurrency": "2",
    "NormalConcurrency": "6",
    "QuarantineConcurrency": "2",
    "MaxReplicas": "10",
    "ReservedConcurrency": "13",
    "ApiReservedConcurrency": "20",  # each is a process; of them 12 may be held
    "StreamingConcurrency": "400",  # of two processes, which serve many requests each
    "IngressRate": "500",
    "IngressBurst": "1000",
}


def parameters_from(text: str) -> dict[str, str]:
    """Read ``Name=value Name=value``.

    Raises:
        LocalError: it is of another form.
    """
    pairs = [part.partition("=") for part in text.split()]
    if any(not equals for _, equals, _ in pairs):
        raise LocalError("PARAMS must look like 'Name=value Name=value'")
    return {name: value for name, _, value in pairs}


def project_parameters() -> dict[str, str]:
    """Return what the project's ``pyproject.toml`` sets for runs on this machine; none in Sluice's own tree.

    Raises:
        LocalError: it cannot be read.
    """
    root = paths.project()
    try:
        return dict(load(root).local.parameters) if root else {}
    except ProjectError as error:
        raise LocalError(str(error)) from error


def check(parameters: dict[str, str]) -> None:
    """Hold parameters against the template and the code's own checks, before anything is started, built or sent.

    Raises:
        LocalError: naming the parameters.
    """
    from deploy import stack

    try:
        stack.check_parameters(stack.read_template(ROOT / "template.yaml"), parameters)
    except stack.DeployError as error:
        raise LocalError(f"nothing was changed: {error}") from error


def digest_of_sources() -> str:
    """Digest everything that the deployment is made from."""
    from deploy.packages import contents, files_of

    digest = hashlib.sha256()
    for source in SOURCES:
        path = ROOT / source
        if path.is_file():
            digest.update(source.encode() + b"\0" + path.read_bytes())
        for name, file, _ in files_of(path, bytecode=False) if path.is_dir() else ():
            digest.update(f"{source}/{name}\0".encode() + contents(file))
    if project := paths.project():
        for file in project_files(project):
            about = file.stat()
            digest.update(f"{file}\0{about.st_mtime_ns}\0{about.st_size}\n".encode())
    return digest.hexdigest()


def project_files(root: Path) -> Iterator[Path]:
    """Yield a project's files, sorted; not those of hidden folders and of environments."""
    for folder, folders, names in root.walk():
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in NO_SOURCES and not (folder / name / "pyvenv.cfg").exists()
        )
        yield from (folder / name for name in sorted(names) if not name.endswith(".pyc"))


def build() -> dict[str, Any]:
    """Build the bundles; returns the template that points at them.

    What stands there is taken if it was made from the same sources: for a system that is started anew, or a second one.

    Raises:
        LocalError: it failed; with its output.
    """
    from deploy import build, stack

    os.environ["BUNDLE_PLATFORM"] = bundle_platform()
    try:
        if paths.INSTALLED:
            return build.build()
        made_from = hashlib.sha256(f"{digest_of_sources()} {bundle_platform()} {sys.version}".encode()).hexdigest()
        note = stack.BUILT / "made-from"
        if not (note.exists() and note.read_text() == made_from):
            note.unlink(missing_ok=True)  # a build that is broken off leaves none
            build.build_anew()
            note.write_text(made_from)
    except ProjectError as error:
        raise LocalError(str(error)) from error
    return stack.read_template(stack.BUILT / "template.yaml")


def prepare(endpoint: str) -> None:
    """Build, and load what deploying takes, while the local AWS starts: `deploy` then finds it done.

    Raises:
        LocalError: building failed.
    """
    import boto3

    use_aws(endpoint)
    for service in ("s3", "cloudformation"):
        boto3.client(service)
    if not paths.INSTALLED:  # a project's bundles are put together each time
        with _alone_at_building():
            build()


def deploy(
    state: Path, endpoint: str, parameters: dict[str, str], *, force: bool = False
) -> tuple[dict[str, str], bool]:
    """Build and deploy if sources or parameters changed; returns the stack's outputs and whether anything was done.

    Raises:
        LocalError: building or deploying failed.
    """
    from deploy import stack

    use_aws(endpoint)
    note = state / "deployed.json"
    # a digest: parameters hold secrets
    wanted = hashlib.sha256(
        json.dumps([endpoint, digest_of_sources(), parameters, os.environ.get(LIVE)], sort_keys=True).encode()
    ).hexdigest()
    if not force and note.exists():
        last: dict[str, Any] = json.loads(note.read_text())
        if last.get("wanted") == wanted and stack.exists(STACK):
            return last["outputs"], False
    with _alone_at_building():
        template = build()
        if live := os.environ.get(LIVE):
            worker = template["Resources"]["WorkerFunction"]["Properties"]
            worker["Environment"]["Variables"]["LIVE_AGENTS"] = live
        try:
            outputs = stack.deploy(STACK, template, parameters, bucket=BUCKET)
        except stack.DeployError as error:
            raise LocalError(str(error)) from error
    left_out.complete(parameters, outputs)
    write_private(note, json.dumps({"wanted": wanted, "outputs": outputs}))
    return outputs, True


@contextlib.contextmanager
def _alone_at_building() -> Iterator[None]:
    """Let one system at a time build: those of one checkout share the folder that `sam build` empties first."""
    folder = paths.WORK / ".build"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def all_parameters(
    state: Path, *, endpoint: str, redis_url: str, llm_url: str, stream_url: str, extra: dict[str, str]
) -> dict[str, str]:
    """Return the parameters of a local deployment; ``extra`` wins."""
    return {
        **LOCAL_DEFAULTS,
        "Architecture": architecture(),
        "LocalEndpoint": endpoint,
        "RedisUrl": redis_url,
        "LocalStreamUrl": stream_url,
        "OpenaiBaseUrl": llm_url,
        "OpenaiApiKey": os.environ.get("OPENAI_API_KEY") or "sk-local",
        "WebhookSecret": _secret(state / "webhook-secret"),
        **extra,
    }


def _secret(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text()
