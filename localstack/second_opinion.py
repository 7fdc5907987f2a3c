"""Runs the tests of tasks and lanes against LocalEmu, an emulator of AWS that is neither moto nor MiniStack.

    make second-opinion

It needs a Docker engine, for LocalEmu's own image, and fetches the package `localemu` into an environment of its own.
``SECOND_OPINION=http://…`` takes an emulator that runs already, whichever it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from localstack.environ import ROOT, LocalError
from localstack.processes import answers, minimal_environment

PACKAGE = "localemu==1.3.2"
ADDRESS = "http://127.0.0.1:4566"
FOLDER = ROOT / ".tools" / "localemu"
TESTS = "tests/unit/tasks"


def main() -> int:
    """Start LocalEmu unless an emulator is named, run the tests, stop it; returns their status."""
    try:
        endpoint = os.environ.get("SECOND_OPINION") or _start()
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    try:
        environment = os.environ | {"SECOND_OPINION": endpoint}
        return subprocess.run([sys.executable, "-m", "pytest", TESTS, "-q"], env=environment, check=False).returncode
    finally:
        if "SECOND_OPINION" not in os.environ:
            _command("stop")


def _start() -> str:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        raise LocalError("LocalEmu needs a Docker engine; name an emulator that runs with SECOND_OPINION=http://…")
    if answers(ADDRESS):
        raise LocalError(f"something answers at {ADDRESS} already: stop it, or name it with SECOND_OPINION={ADDRESS}")
    if not (FOLDER / "bin/localemu").exists():
        uv = os.environ.get("UV") or "uv"
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(FOLDER)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(FOLDER / "bin/python"), PACKAGE]
        subprocess.run(install, check=True)
    if _command("start", "--detached") or _command("wait", "--timeout", "120"):
        raise LocalError("LocalEmu did not start; see what it printed")
    return ADDRESS


def _command(*words: str) -> int:
    environment = minimal_environment(DOCKER_HOST=os.environ.get("DOCKER_HOST", ""), GATEWAY_LISTEN="127.0.0.1:4566")
    return subprocess.run([str(FOLDER / "bin/localemu"), *words], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
