"""Builds one function's bundle: what it imports and nothing else. `sam build` calls it through the Makefile.

Dependencies are installed once per requirement file and platform, trimmed, compiled and kept; a code change
then only copies files of Sluice and of the project.
"""

import fcntl
import gzip
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy import agents, paths
from deploy.bytecode import compile_files, compile_own
from deploy.pins import worker_requirements
from deploy.project import Project, ProjectError, load

ROOT = paths.SYSTEM
RUNTIME = "3.13"

# Logical id -> (package under functions/, requirement file, packages and modules of shared/ that it never imports)
FUNCTIONS = {
    "ApiFunction": ("api", "api"),
    "StreamingFunction": ("api", "api"),
    "WorkerFunction": ("worker", "worker"),
    "DeadLetterFunction": ("dead_letter", "base"),
    "SweeperFunction": ("sweeper", "base"),
    "ScalerFunction": ("scaler", "base"),
    "StreamFunction": ("stream", "base"),
    "WebhookFunction": ("webhook", "webhook"),
}

AWS_SERVICES = {
    "apigatewaymanagementapi",
    "cloudwatch",
    "dynamodb",
    "kms",
    "lambda",
    "s3",
    "secretsmanager",
    "sqs",
    "ssm",
    "sts",
}
"""Services whose API descriptions a bundle keeps: botocore brings 400 of them, 20 MB zipped."""

ENDPOINT_NAMES = AWS_SERVICES | {"execute-api", "monitoring"}
"""What botocore's list of endpoints calls them."""

PUBLIC = ("__init__.py", "context.py", "errors.py", "types.py")
"""What of the public face a bundle holds: what agents import."""

NEEDLESS = ("bin", "boto3/examples", "boto3/data", "*/tests", "*/test")


def main(function: str, artifacts: Path) -> None:
    """Fill ``artifacts`` with the bundle of a function, named by its logical id in the template.

    Raises:
        ProjectError: the project's agents import what is nowhere.
    """
    package, requirements = FUNCTIONS[function]
    project = _project()
    deps = packages_of(requirements, project)
    shutil.copytree(deps, artifacts, dirs_exist_ok=True, copy_function=paths.link)
    base = artifacts.joinpath(*paths.PREFIX.split("."))
    put: Any = paths.link if paths.INSTALLED else shutil.copy2  # a tree's own files are edited, those of a wheel never
    for name in ("shared", f"functions/{package}"):
        shutil.copytree(ROOT / name, base / name, dirs_exist_ok=True, ignore=_NO_BYTECODE, copy_function=put)
    shutil.copy2(ROOT / "functions" / "__init__.py", base / "functions" / "__init__.py")
    if package == "api":
        start = "functions/api/streaming/start"
        (base / start).unlink()
        shutil.copy2(ROOT / start, base / start)
        (base / start).chmod(0o755)  # an installed package may have lost that
    (artifacts / "sluice").mkdir(exist_ok=True)
    for name in PUBLIC:
        shutil.copy2(paths.FACE / name, artifacts / "sluice" / name)
    if paths.INSTALLED:
        shutil.copy2(ROOT / "__init__.py", base / "__init__.py")
    if package == "worker":
        found = agents.gather(project, deps)
        (base / "functions/worker/agents/registered.json").write_text(json.dumps(found.registered))
        if project is not None:
            agents.copy(project, found, artifacts)
            compile_files((artifacts / path for path in found.files if path.suffix == ".py"), artifacts)
    if package == "api":
        names = sorted(agents.built_in() | (project.agents() if project else {}))
        (base / "functions/api/agents.txt").write_text("\n".join(names) + "\n")
    tops = {artifacts / "sluice", *(() if paths.INSTALLED else (base / "shared", base / "functions"))}
    for folder in tops:  # an installed Sluice is below `sluice`, all of it
        compile_own(folder, artifacts)


_NO_BYTECODE = shutil.ignore_patterns("__pycache__", "*.pyc")


def _project() -> Project | None:
    root = paths.project()
    return load(root) if root else None


def packages_of(requirements: str, project: Project | None) -> Path:
    """Return the folder with the packages of a bundle: the worker's has those of the project's agents, too."""
    pins = ROOT / "requirements" / f"{requirements}.txt"
    if requirements == "worker" and project is not None and project.requirements:
        pins = worker_requirements(project)
    return dependencies(pins)


def dependencies(requirements: Path) -> Path:
    """Return the folder with a requirement file's packages, installed now if they are not there yet."""
    platform = os.environ.get("BUNDLE_PLATFORM", "aarch64-manylinux2014")
    text = requirements.read_text() + platform + RUNTIME + Path(__file__).read_text().replace(paths.PREFIX, "")
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    of_all = requirements.parent == ROOT / "requirements"  # else a project's own are among them
    deps = (paths.CACHE if of_all else paths.WORK / ".build") / "deps"
    folder = deps / f"{requirements.stem}-{platform}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{requirements.stem}.lock").open("w") as lock:  # `sam build` runs functions in parallel
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _install(requirements, folder, platform)
    return folder


def _install(requirements: Path, folder: Path, platform: str) -> None:
    # Not those of another platform: who builds for AWS and for this machine in turn has both. Nor what is shared.
    ended = "" if folder.is_relative_to(paths.WORK) else ".tmp"  # an installation that was broken off
    for old in folder.parent.glob(f"{requirements.stem}-{platform}-*{ended}"):
        if old.is_dir():
            shutil.rmtree(old)
    work = folder.with_suffix(f".{os.getpid()}.tmp")
    uv = os.environ.get("UV", "uv")
    target = ["--target", str(work), "--python-platform", platform, "--python-version", RUNTIME]
    pinned = ["--only-binary", ":all:", "--require-hashes", "--no-deps", "-r", str(requirements)]
    subprocess.run([uv, "pip", "install", "--quiet", *target, *pinned], check=True)
    _trim(work)
    files = sorted(work.rglob("*.py"))
    random.shuffle(files)  # whoever builds beside this one has others in hand, and each finds what the other made
    compile_files(files, work)
    work.rename(folder)


def _trim(folder: Path) -> None:
    data = folder / "botocore" / "data"
    for entry in data.iterdir() if data.exists() else ():
        if entry.is_dir() and entry.name not in AWS_SERVICES:
            shutil.rmtree(entry)
    endpoints = data / "endpoints.json"
    if endpoints.exists():  # a megabyte that every cold start reads: 40 ms of a whole processor
        known = json.loads(endpoints.read_text())
        for partition in known["partitions"]:
            partition["services"] = {n: one for n, one in partition["services"].items() if n in ENDPOINT_NAMES}
        endpoints.unlink()  # uv links files with its cache and with other environments: none may be written into
        endpoints.write_text(json.dumps(known, separators=(",", ":")))
    for described in data.glob("*/*/service-2.json.gz"):
        slim = json.dumps(without_words(json.loads(gzip.decompress(described.read_bytes()))), separators=(",", ":"))
        described.unlink()
        described.with_suffix("").write_text(slim)  # as it is read: unpacking takes as long
    for pattern in NEEDLESS:
        for entry in folder.glob(pattern):
            shutil.rmtree(entry)


def without_words(described: Any) -> Any:
    """Return a description of a service without what it says to people: four fifths of what each cold start reads."""
    if isinstance(described, dict):
        return {
            name: _unsaid(value) if name == "clientContextParams" else without_words(value)
            for name, value in described.items()
            if not (name == "documentation" and isinstance(value, str))
        }
    if isinstance(described, list):
        return [without_words(value) for value in described]
    return described


def _unsaid(parameters: dict[str, Any]) -> dict[str, Any]:
    """Leave the words of a client's parameters empty: botocore 1.44 fails where they are not there."""
    return {name: {**one, "documentation": ""} for name, one in parameters.items()}


if __name__ == "__main__":
    if sys.version_info[:2] != tuple(int(part) for part in RUNTIME.split(".")):
        sys.exit(f"bundles must be compiled by Python {RUNTIME}, this is {sys.version.split()[0]}")
    try:
        for each, place in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
            main(each, Path(place))
    except ProjectError as error:
        sys.exit(str(error))
