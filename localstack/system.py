"""The local system as a whole: which parts it has, and `up` and `down`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localstack import deployment, parts, rights, streaming
from localstack.environ import (
    AWS_PORT,
    COMMAND,
    LLM_PORT,
    PORTS,
    REDIS_PORT,
    STREAM_PORT,
    LocalError,
    Port,
    state_dir,
    use,
    write_private,
)
from localstack.processes import Processes, free_port, taken, taken_by_another

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTS = ("llm", "aws", "valkey", "streaming")
KEYS = {"demo": "standard", "other": "standard", "vip": "vip", "load": "load", "operator": "operator"}
"""Seeded keys: user -> tier."""


class System:
    """One local system, by its state folder."""

    def __init__(self, state: Path | None = None) -> None:
        """Use ``SLUICE_STATE`` unless told another folder."""
        self.state = state or state_dir()
        self.processes = Processes(self.state)
        self._held: socket.socket | None = None

    def up(self, extra: dict[str, str] | None = None, *, say: Any = print) -> dict[str, Any]:
        """Start what does not run, deploy what changed, seed keys; returns the addresses.

        Raises:
            LocalError: something could not be started or deployed.
        """
        with self._alone(say):
            try:
                return self._up(extra, say)
            finally:
                self._free_held()

    @contextlib.contextmanager
    def _alone(self, say: Any) -> Iterator[None]:
        """Let one command at a time work on the state folder, which only its owner may read: it holds keys."""
        self.state.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o700)
        with (self.state / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waiting: another command is at work in {self.state}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _up(self, extra: dict[str, str] | None, say: Any) -> dict[str, Any]:
        began = time.monotonic()
        self._keep_ports()
        external_aws = os.environ.get("SLUICE_AWS_ENDPOINT_URL", "").rstrip("/")
        redis_url = os.environ.get("REDIS_URL") or f"redis://127.0.0.1:{REDIS_PORT.number}/0"
        real_model = os.environ.get("OPENAI_BASE_URL") or (
            "https://api.openai.com/v1" if os.environ.get("OPENAI_API_KEY") else ""
        )
        llm_url = real_model.rstrip("/") or f"http://127.0.0.1:{LLM_PORT.number}/v1"
        stream_url = f"http://127.0.0.1:{STREAM_PORT.number}"
        endpoint = external_aws or f"http://127.0.0.1:{AWS_PORT.number}"
        wanted = self._extra(extra)
        deployment.check({**deployment.LOCAL_DEFAULTS, **wanted})  # what runs goes on as it is
        needed = [] if os.environ.get("REDIS_URL") else [parts.valkey(self.state)]
        needed += [] if external_aws else [parts.aws(self.state)]
        needed += [] if real_model else [parts.llm()]
        begun = {part.name for part in needed if self.processes.begin(part)}  # they load beside each other
        fresh_aws = "aws" in begun
        if fresh_aws:
            deployment.prepare(endpoint)
        for part in needed:
            if part.name in begun:
                self.processes.wait(part)
            say(f"{part.name}: {'started' if part.name in begun else 'runs already'}")
        parameters = deployment.all_parameters(
            self.state, endpoint=endpoint, redis_url=redis_url, llm_url=llm_url, stream_url=stream_url, extra=wanted
        )
        stack_outputs, done = deployment.deploy(self.state, endpoint, parameters, force=fresh_aws)
        if extra is not None:
            write_private(self.state / "parameters.json", json.dumps(extra))  # only now: a refused one is not kept
        say(f"template: {'built and deployed' if done else 'unchanged'}")
        found = self._outputs(endpoint, redis_url, llm_url, stream_url, stack_outputs)
        use(found)
        if rights.enforced():
            rights.grant_local_names(found)
        self._seed(found)
        self._write(found)
        front = streaming.part(self.state)
        serves = self.processes.running(front.name) and front.ready()
        if fresh_aws or not serves or (done and not streaming.is_current(self.state, found)):
            self.processes.stop([front.name])
            streaming.set_up(self.state, found)
        self._free_held()
        begins = self.processes.begin(front)
        self._await_api(found)  # beside the other, which starts the same application
        if begins:
            self.processes.wait(front)
            say("streaming: started")
        say(f"ready after {time.monotonic() - began:.1f} s")
        return found

    def _keep_ports(self) -> None:
        """Go on with the ports of what runs already: at another port may be somebody else's system.

        Raises:
            LocalError: another port is asked for.
        """
        for name, port in PORTS.items():
            used = self.processes.port(name)
            if used is None:
                continue
            if os.environ.get(port.variable) and port.number != used:
                raise LocalError(
                    f"{port.variable} is {port.number}, but {name} runs on port {used}: `{COMMAND} down` first"
                )
            os.environ[port.variable] = str(used)
        if not os.environ.get(STREAM_PORT.variable) and taken(STREAM_PORT.number):
            os.environ[STREAM_PORT.variable] = str(free_port())  # beside another system, whose ports were named
        if self.processes.port("streaming") is None:
            self._hold(STREAM_PORT)

    def _hold(self, port: Port) -> None:
        """Keep a port that is needed only after the deployment: another system that starts meanwhile would take it.

        Raises:
            LocalError: another program has it.
        """
        try:
            self._held = socket.create_server(("127.0.0.1", port.number))
        except OSError:
            raise LocalError(taken_by_another(port, "streaming")) from None

    def _free_held(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def _extra(self, extra: dict[str, str] | None) -> dict[str, str]:
        """Return the deploy parameters asked for, now or by an earlier `up` (which `deploy` keeps)."""
        kept = self.state / "parameters.json"
        if extra is not None:
            return extra
        return json.loads(kept.read_text()) if kept.exists() else {}

    def down(self) -> list[str]:
        """End what `up` started, and nothing else; returns the parts that ran."""
        if not self.state.is_dir():
            return []
        with self._alone(print):
            stopped = self.processes.stop(PARTS)
            for name in ("deployed.json", "outputs.json", "parameters.json"):
                (self.state / name).unlink(missing_ok=True)
            for scratch in parts.scratch_dirs(self.state):
                shutil.rmtree(scratch, ignore_errors=True)
        return stopped

    def _outputs(
        self, endpoint: str, redis_url: str, llm_url: str, stream_url: str, stack: dict[str, str]
    ) -> dict[str, Any]:
        lanes = ("High", "Normal", "Quarantine", "Webhook")
        queues = {lane.lower(): stack[f"{lane}QueueUrl"] for lane in lanes}
        queues |= {f"{lane.lower()}_dlq": stack[f"{lane}DlqUrl"] for lane in lanes}
        queues |= {"firings": stack["FiringQueueUrl"], "bulk": stack["BulkQueueUrl"]}
        functions = {name: stack[f"{logical}FunctionName"] for name, logical in FUNCTIONS.items()}
        return {
            "api_url": f"{endpoint}/_aws/execute-api/{stack['ApiId']}/$default",
            "ws_url": f"ws{endpoint.removeprefix('http')}/_aws/execute-api/{stack['WsApiId']}/live",
            "ws_endpoint_url": f"{endpoint}/_aws/execute-api/{stack['WsApiId']}/live",
            "stream_url": stream_url,
            "openai_base_url": f"{stream_url}/v1",
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
        write_private(path, json.dumps(keys))
        return keys

    def _seed(self, found: dict[str, Any]) -> None:
        from shared.errors import Conflict
        from shared.limits.keys import create_key

        for user, tier in KEYS.items():
            try:
                create_key(user, tier, "seeded", key=found["api_keys"][user])
            except Conflict:
                continue

    def _write(self, found: dict[str, Any]) -> None:
        write_private(self.state / "outputs.json", json.dumps(found, indent=2))

    def _await_api(self, found: dict[str, Any]) -> None:
        """Ask the API how it is, which takes a cold start."""
        try:
            # Asked patiently: every request that is given up starts another environment.
            with urllib.request.urlopen(f"{found['api_url']}/health", timeout=60):  # noqa: S310 - our own address
                return
        except urllib.error.HTTPError as error:
            told = f"the API is not well: {error.code} {error.read(2000).decode(errors='replace')}"
        except OSError as error:
            told = f"the API does not answer: {error}"
        raise LocalError(f"{told}\n{self.processes.tail('aws')}")


FUNCTIONS = {
    "api": "Api",
    "streaming": "Streaming",
    "worker": "Worker",
    "dead_letter": "DeadLetter",
    "sweeper": "Sweeper",
    "scaler": "Scaler",
    "stream": "Stream",
    "webhook": "Webhook",
}
