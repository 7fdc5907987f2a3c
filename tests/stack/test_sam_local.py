"""`sam local` against the running system; without a Docker engine it says so, and the rest skips."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from localstack import lambda_image, sam_local
from localstack.environ import ROOT, LocalError
from localstack.relay import relayed
from tests.stack_fixture import Stack, free_ports


def command(stack: Stack, *arguments: str, **variables: str) -> tuple[list[str], dict[str, str]]:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "OPENAI_", "REDIS_"))}
    environment = keep | {"SLUICE_STATE": stack.outputs["state_dir"]} | variables
    return [sys.executable, "-m", "localstack.sam_local", *arguments], environment


@pytest.fixture(scope="module")
def engine() -> None:
    try:
        sam_local.need_engine()
    except LocalError as error:
        pytest.skip(str(error))


@pytest.fixture
def served(stack: Stack, engine: None, tmp_path: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    words, environment = command(stack, "api", "--port", str(port))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(words, env=environment, cwd=ROOT, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    give_up = time.monotonic() + 200  # the image may have to be had first
    try:
        while True:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < give_up, (tmp_path / "log").read_text()
            try:
                if httpx2.get(f"{url}/health", timeout=60).status_code == 200:
                    break
            except httpx2.TransportError:
                time.sleep(0.2)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_without_an_engine_it_says_what_to_do_instead(stack: Stack) -> None:
    words, environment = command(stack, "api", DOCKER_HOST="unix:///nowhere/docker.sock")
    told = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert told.stderr.startswith("error: `sam local` runs functions as containers, and no Docker engine answers here")
    assert "make up" in told.stderr


def test_the_api_takes_a_run_that_the_deployed_worker_does(stack: Stack, served: str) -> None:
    headers = {"Authorization": f"Bearer {stack.keys['load']}"}
    accepted = httpx2.post(f"{served}/agent", json={"message": "[[sim words=3]] hi"}, headers=headers, timeout=60)
    assert accepted.status_code == 202, accepted.text
    task_id = accepted.json()["task_id"]
    assert stack.result(task_id)["status"] == "complete"
    found = httpx2.get(f"{served}/result/{task_id}", headers=headers, timeout=60).json()
    assert len(found["result"]["response"].split()) == 3
    assert httpx2.get(f"{served}/result/{task_id}", timeout=60).status_code == 401


@pytest.mark.parametrize(
    ("event", "told"), [("events/worker.json", r"task_\w+: complete, .*42"), ("events/api.json", r'"statusCode": 200')]
)
def test_a_function_is_called_with_an_event(stack: Stack, engine: None, event: str, told: str) -> None:
    words, environment = command(stack, "invoke", event)
    done = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(told, done.stdout), done.stdout + done.stderr


def test_no_container_is_left(engine: None) -> None:
    names = subprocess.run(
        ["docker", "ps", "--all", "--format", "{{.Image}}"], capture_output=True, text=True, check=True
    )
    assert lambda_image.REPOSITORY not in names.stdout


def test_the_relay_forwards_both_ways_and_ends(stack: Stack) -> None:
    # Loopback has more than one address, so no engine is needed.
    port = int(stack.outputs["llm_url"].split(":")[2].split("/")[0])
    with relayed("127.0.0.2", [port]):
        assert httpx2.get(f"http://127.0.0.2:{port}/_sim/health", timeout=60).status_code == 200
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"http://127.0.0.2:{port}/_sim/health", timeout=60)
