"""A new version is deployed in the middle of 100 runs: is one lost, refused, ended twice or paid twice?

A system of its own is started. While runs are submitted and worked on, bundles of the API and the worker that differ in
one file, and a changed parameter, are built and deployed through CloudFormation, as `make deploy` does. AWS lets
invocations of the old code end; the local AWS ends their environments at once, which is harder: the model calls in
flight are made again, by a worker that takes the run over after a lease (6 s here). No finished step may be.

    python -m benchmarks.deploy_midway [--runs 100]
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.chaos import await_end
from benchmarks.faults.kinds import CALLS, STEPS
from benchmarks.faults.own import own_system
from benchmarks.faults.verify import verify
from deploy.paths import BUILT
from localstack import deployment

if TYPE_CHECKING:
    from localstack.system import System

PARAMETERS = {
    "LeaseSeconds": "6",
    "HeartbeatSeconds": "2",
    "RetryBaseSeconds": "1",
    "WorkerTimeoutSeconds": "60",
    "ModelTimeoutSeconds": "8",
    "IngressRate": "0",
}
CHANGED = PARAMETERS | {"SessionTurns": "49"}
EVERY_SECONDS = 0.2
DEPLOY_AFTER = 0.2
"""Share of the runs that are submitted before the deployment begins."""


class Submitter:
    """Submits runs at a steady rate; counts what did not answer 202 at once."""

    def __init__(self, outputs: dict[str, Any], runs: int) -> None:
        """Use the key that has no quota."""
        headers = {"Authorization": f"Bearer {outputs['api_keys']['load']}"}
        self.http = httpx2.Client(base_url=outputs["api_url"], headers=headers, timeout=60)
        self.runs = runs
        self.ids: dict[str, str] = {}
        self.refused: list[str] = []

    def run(self) -> None:
        """Submit every run, each until it is accepted."""
        for n in range(self.runs):
            self._submit(f"midway-{n}")
            time.sleep(EVERY_SECONDS)

    def _submit(self, key: str) -> None:
        message = f"[[sim key={key} words=6 latency=0.5-2 {STEPS}]] {key}"
        body = {"message": message, "agent": "tools", "session_id": key}
        while key not in self.ids:
            try:
                answer = self.http.post("/agent", json=body, headers={"Idempotency-Key": key})
            except httpx2.HTTPError as error:
                self.refused.append(type(error).__name__)
                time.sleep(0.5)
                continue
            if answer.status_code == 202:
                self.ids[key] = answer.json()["task_id"]
            else:
                self.refused.append(str(answer.status_code))
                time.sleep(0.5)


def deploy_a_change(system: System) -> float:
    """Build, change both bundles and a parameter, deploy; returns the seconds that it took."""
    build = deployment.build

    def build_with_a_change() -> dict[str, Any]:
        template = build()
        for function in ("ApiFunction", "WorkerFunction"):
            (BUILT / function / "changed.txt").write_text(str(time.time_ns()))
        (BUILT / "made-from").unlink()  # no other system shall take it
        return template

    began = time.monotonic()
    deployment.build = build_with_a_change
    try:
        system.up(CHANGED)
    finally:
        deployment.build = build
    return time.monotonic() - began


def measure(system: System, outputs: dict[str, Any], runs: int) -> tuple[dict[str, Any], bool]:
    """Run it on a system that is up; returns the figures and whether every promise held."""
    submitter = Submitter(outputs, runs)
    submitting = threading.Thread(target=submitter.run)
    began = time.monotonic()
    submitting.start()
    while len(submitter.ids) < runs * DEPLOY_AFTER:
        time.sleep(0.05)
    accepted_before = len(submitter.ids)
    took = deploy_a_change(system)
    accepted_meanwhile = len(submitter.ids) - accepted_before
    submitting.join()
    await_end(outputs["table"], list(submitter.ids.values()))
    with httpx2.Client(base_url=outputs["llm_url"].removesuffix("/v1") + "/_sim", timeout=30) as sim:
        verdict = verify(submitter.ids, sim)
    figures = {
        "runs": runs,
        "seconds": round(time.monotonic() - began, 1),
        "deploy_seconds": round(took, 1),
        "accepted_before": accepted_before,
        "accepted_meanwhile": accepted_meanwhile,
        "submits_not_answered_202": len(submitter.refused),
        "answers": sorted(set(submitter.refused)),
        **verdict.figures(),
        "model_calls_needed": runs * CALLS["plain"],
    }
    return figures, not verdict.broken and verdict.statuses["complete"] == runs


def main() -> int:
    """Start a system, deploy amid runs, print and judge it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    asked = parser.parse_args()
    with own_system(PARAMETERS) as (system, outputs):
        result, good = measure(system, outputs, asked.runs)
    print(json.dumps(result, indent=2))
    target = Path(__file__).parent / "results" / "deploy_midway.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    if not good:
        print("a promise was broken", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
