"""A local system of a benchmark's own: free ports, a folder of its own, ended with the benchmark."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localstack.system import System

PORTS = ("AWS_PORT", "REDIS_PORT", "LLM_PORT", "STREAM_PORT")
FOREIGN = (
    "REDIS_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "AWS_ENDPOINT_URL",
    "SLUICE_AWS_ENDPOINT_URL",
    "SLUICE_PROJECT",
)


@contextmanager
def own_system(
    parameters: dict[str, str], *, keep_log: Path | None = None, project: Path | None = None
) -> Iterator[tuple[System, dict[str, Any]]]:
    """Start a system with these deploy parameters, point this process at it, and end it afterwards.

    ``keep_log`` is where the local AWS's log is copied to; ``project`` is a folder with agents to deploy.

    Raises:
        LocalError: it could not be started.
    """
    from localstack.environ import use
    from localstack.strict.forks import SWITCH
    from localstack.system import System

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    for name in PORTS:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            os.environ[name] = str(probe.getsockname()[1])
    for name in FOREIGN:
        os.environ.pop(name, None)
    if project is not None:
        os.environ["SLUICE_PROJECT"] = str(project)
    os.environ[SWITCH] = "false"  # environments of AWS share no memory, and each pays for its start
    with tempfile.TemporaryDirectory(prefix="sluice-benchmark-") as folder:
        os.environ["SLUICE_STATE"] = folder
        system = System(Path(folder))
        try:
            outputs = system.up(parameters)
            use(outputs)
            yield system, outputs
        finally:
            if keep_log:
                shutil.copy(system.processes.log("aws"), keep_log)
            system.down()
