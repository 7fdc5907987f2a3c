"""How soon is an edited agent live with `sluice up --watch`? From the save to the end of a run with the new code.

A project as `sluice init` writes it, on a system of the benchmark's own, with what follows its files as `--watch` does.
Each edit changes the agent's answer; runs are submitted one after the other until one answers so. The model takes no
time. The exit code is not 0 if the longest of the edits took more than `MOST_SECONDS`.

    python -m benchmarks.watch_edit [--edits 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.faults.own import own_system
from sluice.cli.scaffold import write

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_SECONDS = 3.0
PATIENCE_SECONDS = 60.0
ANSWER = "return AgentResult(reply.content)"
"""The line of the scaffold's agent that is edited."""


@contextmanager
def followed(log: Path) -> Iterator[None]:
    """Follow the project's files, as `sluice up --watch` does."""
    with log.open("wb") as told:
        process = subprocess.Popen([sys.executable, "-m", "localstack.live", "follow"], stdout=told, stderr=told)
    try:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while b"watching" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > give_up:
                raise SystemExit(f"nothing watches: {log.read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def answered(client: httpx2.Client) -> str:
    """Submit a run and return what it answers."""
    submitted = client.post("/agent", json={"message": "[[sim latency=0 words=2]] hi", "agent": "hello"})
    submitted.raise_for_status()
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        told: Any = client.get(f"/result/{submitted.json()['task_id']}", params={"wait": 20}).json()
        if told["status"] == "complete":
            return str(told["result"]["response"])
        if told["status"] not in ("queued", "processing"):
            raise SystemExit(f"a run did not complete: {told}")
    raise SystemExit("a run did not end")


def edit(client: httpx2.Client, agent: Path, text: str, mark: str) -> tuple[float, int]:
    """Save an edit; returns the seconds until the end of the first run that has it, and the runs that had not."""
    agent.write_text(text.replace(ANSWER, f'return AgentResult("{mark}")'))
    began, older = time.monotonic(), 0
    while answered(client) != mark:
        older += 1
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise SystemExit(f"edit {mark} never came")
    return time.monotonic() - began, older


def measure(edits: int) -> dict[str, Any]:
    """Start a system for a new project, edit its agent so often; returns what each edit took."""
    with tempfile.TemporaryDirectory(prefix="sluice-watch-") as folder:
        project = write(Path(folder), "watched")
        live = Path(folder) / "live"
        agent = project / "agents" / "hello.py"
        text = agent.read_text()
        if ANSWER not in text:
            raise SystemExit(f"the scaffold's agent has no line {ANSWER!r}")
        os.environ |= {"SLUICE_PROJECT": str(project), "SLUICE_LIVE": str(live)}
        subprocess.run([sys.executable, "-m", "localstack.live", "once"], check=True)
        with own_system({}, project=project) as (_, outputs), followed(Path(folder) / "follow.log"):
            headers = {"Authorization": f"Bearer {outputs['api_keys']['load']}"}
            with httpx2.Client(base_url=outputs["api_url"], headers=headers, timeout=60) as client:
                answered(client)  # its environments start
                took = []
                for number in range(edits):
                    took.append(edit(client, agent, text, f"edit {number}"))
                    time.sleep(1.0 + number * 0.13)  # saves come at any moment of the look at the files
    seconds = [round(one, 2) for one, _ in took]
    return {
        "edits": edits,
        "seconds": seconds,
        "median_s": statistics.median(seconds),
        "most_s": max(seconds),
        "runs_with_the_old_code": [older for _, older in took],
        "good": max(seconds) <= MOST_SECONDS,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=5)
    found = measure(parser.parse_args().edits)
    print(json.dumps(found, indent=2))
    return 0 if found["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
