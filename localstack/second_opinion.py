"""Runs the tests of tasks and lanes against LocalEmu, an emulator of AWS that is neither moto nor MiniStack.

    make second-opinion

The package `localemu` goes into an environment of its own. Its tables, queues and buckets need no Docker engine (tried
with 1.3.2). ``SECOND_OPINION=http://…`` takes an emulator that runs already, whichever it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from localstack.environ import ROOT, LocalError
from localstack.processes import answers, minimal_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "localemu==1.3.2"
FOLDER = ROOT / ".tools" / "localemu"
START_SECONDS = 120.0
TESTS = "tests/unit/tasks"
LEFT_OUT = {
    "tests/unit/tasks/test_group_commit.py::test_many_threads_add_up_to_what_one_would_have_written[emulator]": (
        "LocalEmu 1.3.2 answers 500 to some of several transactions that come at once"
    )
}
"""Tests that LocalEmu cannot serve, and why. Another emulator gets them all."""


def main() -> int:
    """Start LocalEmu unless an emulator is named, run the tests, stop it; returns their status."""
    given = os.environ.get("SECOND_OPINION")
    try:
        with contextlib.nullcontext(given) if given else _running() as endpoint:
            environment = os.environ | {"SECOND_OPINION": endpoint}
            command = [sys.executable, "-m", "pytest", TESTS, "-q"]
            for test, why in () if given else LEFT_OUT.items():
                print(f"left out: {test}: {why}")
                command += ["--deselect", test]
            return subprocess.run(command, env=environment, check=False).returncode
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


@contextlib.contextmanager
def _running() -> Iterator[str]:
    """Run LocalEmu on a free port for a while; yields its address.

    Raises:
        LocalError: it could not be set up, or does not answer.
    """
    program = FOLDER / "bin/localemu"
    if not program.exists():
        print(f"setting up: {FOLDER}")
        uv = os.environ.get("UV") or "uv"
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(FOLDER)]
        install = [uv, "pip", "install", "--quiet", "--python", str(FOLDER / "bin/python"), PACKAGE]
        if any(subprocess.run(command, check=False).returncode for command in (make, install)):
            raise LocalError(f"{PACKAGE} could not be installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [str(program), "start", "--host", "127.0.0.1", "--port", str(port)]
    log = FOLDER / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=minimal_environment(), stdout=output, stderr=output, start_new_session=True
        )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        give_up = time.monotonic() + START_SECONDS
        while not answers(endpoint):
            if process.poll() is not None or time.monotonic() > give_up:
                raise LocalError(f"LocalEmu does not answer; see {log}")
            time.sleep(0.5)
        yield endpoint
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


if __name__ == "__main__":
    sys.exit(main())
