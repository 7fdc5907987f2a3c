"""Fixture: a whole system of the tests' own, deployed through CloudFormation, on free ports, ended with the session.

Where copies run the tests (`tests.copies`), they share one that is started before them. What changes it for everybody,
as a paused lane does, is for tests that are marked ``together`` or ``alone``.

``SLUICE_TEST_STATE`` names the state folder of a running system to use instead (quicker while writing tests); it must
have been started with ``AUTH=true`` and deployed with ``PARAMETERS``.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import copies

RUNNING = os.environ.get("SLUICE_TEST_STATE")


def quiet_port(above: int | None = None) -> int:
    """Return a port that is free and stays so: connections get none below 32768, and processes begin elsewhere."""
    above = above or 20_000 + os.getpid() % 12_000
    for port in range(above + 1, 32_768):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError("no port is free")


PARAMETERS: dict[str, str] = {
    "LeaseSeconds": "6",
    "HeartbeatSeconds": "2",
    "RetryBaseSeconds": "1",
    "WorkerTimeoutSeconds": "240",
    "ModelTimeoutSeconds": "8",
    "BreakerOpenSeconds": "2",
    "CorsOrigins": f"http://localhost:{quiet_port()}",
    "RunsPerEnvironment": "10",
    "NormalConcurrency": "3",
    "MaxReplicas": "7",
}
"""Deploy parameters of the tests' system: times are short, and slots are few, so that a lane can be full.

A worker's time is not short: with half a minute of it, runs were cut off on a busy machine that a test watched.
"""
if RUNNING:
    PARAMETERS = json.loads((Path(RUNNING) / "parameters.json").read_text())

ENDED = ("complete", "failed", "cancelled")

LASTING = "latency=400 ttft=0.2 words=1200"
"""Of a directive: the call writes three words a second, until it is cancelled or `Stack.hurry` ends it.

The end of its worker's time cuts it off, four minutes later: once it is made again, then it fails.
"""

high_lane = pytest.mark.together("the high lane")
"""For tests that pause the high lane or kill its workers, and those that find it or its dead letters so."""


class Stack:
    """A running system, as a client and its operator see it."""

    def __init__(self, outputs: dict[str, Any]) -> None:
        self.outputs = outputs
        self.keys: dict[str, str] = outputs["api_keys"]
        self.api_url: str = outputs["api_url"]
        self.sim = httpx2.Client(base_url=outputs["llm_url"].removesuffix("/v1") + "/_sim", timeout=60)
        self._clients: dict[str, httpx2.Client] = {}

    def client(self, user: str = "load") -> httpx2.Client:
        """Return an HTTP client with a seeded user's key, or a key's own text."""
        if user not in self._clients:
            key = self.keys.get(user, user)
            headers = {"Authorization": f"Bearer {key}"}
            self._clients[user] = httpx2.Client(base_url=self.api_url, headers=headers, timeout=60)
        return self._clients[user]

    def new_key(self, user: str, tier: str = "standard", **limits: Any) -> str:
        """Create a key; returns its text."""
        from shared.limits.keys import create_key

        self.use()
        return create_key(user, tier, "tests", limits=limits or None)

    def submit(self, message: str, user: str = "load", **body: Any) -> str:
        """Submit and return the task's id."""
        answer = self.client(user).post("/agent", json={"message": message, **body})
        assert answer.status_code == 202, answer.text
        task_id: str = answer.json()["task_id"]
        return task_id

    def result(self, task_id: str, user: str = "load", *, seconds: float = 60) -> dict[str, Any]:
        """Wait until a task has ended and return its result."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            wait = max(0, min(20, int(give_up - time.monotonic())))
            answer = self.client(user).get(f"/result/{task_id}", params={"wait": wait})
            if answer.status_code in (429, 503):  # as many as may be are held, or a service is away
                time.sleep(float(answer.headers["Retry-After"]))
                continue
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            if found["status"] in ENDED:
                return found
        raise AssertionError(f"{task_id} did not end within {seconds} s: {answer.text}")

    def events(self, task_id: str, user: str = "load", after: int = 0) -> list[dict[str, Any]]:
        """Return a task's events."""
        events: list[dict[str, Any]] = (
            self.client(user).get(f"/result/{task_id}/events", params={"after": after}).json()["events"]
        )
        return events

    def calls(self, key: str) -> dict[str, int]:
        """Return what the simulator counted for a directive's key."""
        found: dict[str, int] = self.sim.get("/stats").json()["by_key"].get(key, {"started": 0, "completed": 0})
        return found

    def hurry(self, key: str) -> None:
        """Have the simulated calls of a directive's key end at once: a test says when, whatever else takes its time."""
        self.sim.post("/hurry", json={"key": key}).raise_for_status()

    def hurry_after_a_kill(self, key: str) -> None:
        """The same, once the simulator has noted that who made the calls under way is gone: else they end well."""

        def under_way() -> set[int]:
            calls = self.sim.get("/calls", params={"key": key}).json()["calls"]
            return {call["n"] for call in calls if call["ended"] is None}

        lost, give_up = under_way(), time.monotonic() + 60
        while lost & under_way():
            assert time.monotonic() < give_up, "the killed worker's calls go on"
            time.sleep(0.05)
        self.hurry(key)

    def use(self) -> None:
        """Point this process' AWS clients and Sluice's settings at the system."""
        from localstack.environ import use
        from shared import aws, valkey

        use(self.outputs)
        aws.reset()
        valkey.reset()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Do so for a while."""
        before = dict(os.environ)
        self.use()
        yield
        forget_settings(before)

    def close(self) -> None:
        for client in (self.sim, *self._clients.values()):
            client.close()


def violations(endpoint: str) -> list[dict[str, Any]]:
    """Return what the strict front noted since it was last asked to forget."""
    found: list[dict[str, Any]] = httpx2.get(f"{endpoint}/_strict/report", timeout=60).json()["violations"]
    return found


_last_port: dict[int, int] = {}
"""The port that was given last, by process: a copy of one begins elsewhere."""


def free_ports(n: int) -> list[int]:
    """Return free loopback ports, other ones at each call.

    They lie below those that the kernel gives to connections: one of these may be somebody's before it is used.
    """
    pid, ports = os.getpid(), []
    last = _last_port.get(pid, 20_000 + pid * 1_009 % 12_000)
    for _ in range(n):
        last = _last_port[pid] = quiet_port(last if last < 32_000 else 20_000)
        ports.append(last)
    return ports


_of_all_copies: dict[str, Any] | None = None
"""What is known of the system that was started before the process was copied."""


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, bool, bool]:
    """Start the system before copies are made, if their tests want it."""
    global _of_all_copies
    if RUNNING or not copies.has_copies(session) or not any(asks(session, item) for item in session.items):
        return (yield)
    folders: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    with _deployed(folders.mktemp("system")) as _of_all_copies:
        done = yield
        noted = wrongs(_of_all_copies)
    for wrong in noted:
        report = copies.failed("the system of all tests", wrong)
        session.config.hook.pytest_runtest_logreport(report=report)
    return done


def asks(session: pytest.Session, item: pytest.Item) -> bool:
    """Whether a test asks for the system: some unit tests have a ``stack`` or a parameter ``stack`` of their own."""
    given = getattr(getattr(item, "callspec", None), "params", {})
    if "stack" not in getattr(item, "fixturenames", []) or "stack" in given:
        return False
    fixtures: Any = session._fixturemanager
    return any(one.func.__module__ == __name__ for one in (fixtures.getfixturedefs("stack", item) or ())[-1:])


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The tests' own system."""
    if RUNNING or _of_all_copies:
        made = Stack(_of_all_copies or json.loads((Path(str(RUNNING)) / "outputs.json").read_text()))
        yield made
        made.close()
        return
    with _deployed(tmp_path_factory.mktemp("system")) as outputs:
        made = Stack(outputs)
        yield made
        noted = wrongs(outputs)
        made.close()
    assert noted == []


def wrongs(outputs: dict[str, Any]) -> list[str]:
    """Say what no test may have caused, whatever it saw itself."""
    over = violations(outputs["aws_endpoint_url"])
    log = (Path(outputs["state_dir"]) / "logs" / "aws.log").read_text()
    # The functions' own lines are JSON; MiniStack tells of refusals that a test provoked in lines of another form.
    refused = [line for line in log.splitlines() if "AccessDenied" in line and line.startswith("{")]
    return [f"a request went over a limit of AWS, see docs/aws-limits.md: {one}" for one in over] + [
        f"a function was refused what it asked for: {one}" for one in refused
    ]


@contextmanager
def _deployed(state: Path) -> Iterator[dict[str, Any]]:
    """Have a system for a while; says what is known of it."""
    from localstack.guard import guarded

    names = ("AWS_PORT", "REDIS_PORT", "LLM_PORT", "STREAM_PORT")
    patch = pytest.MonkeyPatch()
    for name, port in zip(names, free_ports(4), strict=True):
        patch.setenv(name, str(port))
    for name in ("REDIS_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "AWS_ENDPOINT_URL", "SLUICE_AWS_ENDPOINT_URL"):
        patch.delenv(name, raising=False)
    patch.setenv("SLUICE_STATE", str(state))
    patch.setenv("AUTH", "true")  # so every test of the system is one of the functions' rights, too
    # `up` points this process at the system; what it sets is taken back with the patch.
    before = dict(os.environ)
    with guarded(state) as system:
        outputs = system.up(PARAMETERS, say=lambda _: None)
        forget_settings(before)  # its clients, too: copies of this process must not share their connections
        yield outputs
    patch.undo()


_NOW = b"PYTEST_CURRENT_TEST"
"""Variable in which pytest itself tells how far a test is."""


@pytest.fixture(autouse=True)
def _settings_as_found() -> Iterator[None]:
    """Take back what a test set for this process' clients (`Stack.use`), and clients that it made or dropped.

    Those that were there before it stay: a module's tests may share an API, and to make one client takes longer than
    most of them.
    """
    from shared import aws, valkey
    from shared.settings import settings

    # `os.environ` decodes all of it at each look.
    held: Any = vars(os.environ)["_data"]
    found = held.copy()
    clients, session, server = aws._clients.copy(), aws._session, valkey._client
    yield
    if _NOW in held:
        found[_NOW] = held[_NOW]
    if held != found:
        forget_settings({os.fsdecode(name): os.fsdecode(value) for name, value in found.items()})
        return
    settings.cache_clear()
    aws._session = session
    if aws._clients != clients:
        aws._clients.clear()
        aws._clients.update(clients)
    if valkey._client is not server or valkey._failures:
        valkey.reset()


def forget_settings(before: dict[str, str]) -> None:
    """Set the environment as it was, and forget what was made of another."""
    from shared import aws, valkey
    from shared.settings import settings

    os.environ.clear()
    os.environ.update(before)
    settings.cache_clear()
    aws.reset()
    valkey.reset()
