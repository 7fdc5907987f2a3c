"""A function in Lambda's own runtime without Docker: the runtime client under the Runtime Interface Emulator.

The emulator is a static Linux program that SAM CLI's package brings. The function finds nothing but its bundle,
Python's library and the runtime client: a package that a bundle lacks is missing here, too.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from localstack.environ import ROOT, LocalError, architecture
from localstack.processes import minimal_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RUNTIME_PYTHON = ROOT / ".tools/runtime/bin/python"
"""An interpreter whose only package is `awslambdaric`."""
START_SECONDS = 10.0


def binary() -> Path:
    """Return the emulator's program.

    Raises:
        LocalError: it or the runtime client is not there, or does not run on this system.
    """
    if platform.system() != "Linux":
        raise LocalError("the Runtime Interface Emulator runs on Linux only")
    found = sorted(
        (ROOT / ".tools/sam").glob(f"lib/*/site-packages/samcli/local/rapid/aws-lambda-rie-{architecture()}")
    )
    if not found or not RUNTIME_PYTHON.exists():
        raise LocalError("the Lambda runtime is not set up: run `make setup`")
    return found[0]


class Emulated:
    """A running function."""

    def __init__(self, url: str, log: Path) -> None:
        """Remember where it is called and what it prints."""
        self._url = url
        self._log = log

    def invoke(self, event: Any, *, timeout_s: float = 60) -> Any:
        """Call the function and return its answer.

        Raises:
            LocalError: it raised, or ended; with what it said and printed.
        """
        answer: Any = json.loads(self.call(event, timeout_s=timeout_s) or b"null")
        if isinstance(answer, dict) and "errorType" in answer:
            raise LocalError(f"{answer['errorType']}: {answer.get('errorMessage')}\n{self.printed()}")
        return answer

    def call(self, event: Any, *, timeout_s: float = 60) -> bytes:
        """Call the function and return its answer as it is.

        Raises:
            LocalError: the call did not come as far as the function.
        """
        request = urllib.request.Request(self._url, json.dumps(event).encode(), method="POST")  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310
                answer: bytes = response.read()
        except urllib.error.HTTPError as error:
            raise LocalError(f"{error.read().decode(errors='replace')}\n{self.printed()}") from error
        return answer

    def printed(self) -> str:
        """Return what it wrote so far."""
        return self._log.read_text(errors="replace")


@contextmanager
def emulated(
    handler: str, bundle: Path, variables: Mapping[str, str], log: Path, *, timeout_s: int = 60
) -> Iterator[Emulated]:
    """Run the function of a bundle for a while; ``variables`` is its environment, its AWS settings included.

    ``AWS_LAMBDA_EXEC_WRAPPER`` in it is obeyed as Lambda does.
    """
    front, runtime = _free_port(), _free_port()
    command = [
        str(binary()),
        "--runtime-interface-emulator-address",
        f"127.0.0.1:{front}",
        "--runtime-api-address",
        f"127.0.0.1:{runtime}",
        "--log-level",
        "error",
        *_wrapper(bundle, variables),
        str(RUNTIME_PYTHON),
        "-m",
        "awslambdaric",
        handler,
    ]
    environment = minimal_environment(
        PYTHONPATH=str(bundle),
        PYTHONNOUSERSITE="1",
        LAMBDA_TASK_ROOT=str(bundle),
        AWS_LAMBDA_FUNCTION_NAME=handler.split(".")[1],
        AWS_LAMBDA_FUNCTION_TIMEOUT=str(timeout_s),
        AWS_LAMBDA_LOG_FORMAT="JSON",
        AWS_LAMBDA_LOG_LEVEL="INFO",
        **variables,
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=bundle, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _await(front, process)
        yield Emulated(f"http://127.0.0.1:{front}/2015-03-31/functions/function/invocations", log)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wrapper(bundle: Path, variables: Mapping[str, str]) -> list[str]:
    named = variables.get("AWS_LAMBDA_EXEC_WRAPPER", "")
    return [str(bundle / named.removeprefix("/var/task/"))] if named else []


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    raise LocalError("the Runtime Interface Emulator does not answer")
