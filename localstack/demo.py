"""`make demo`: five agent requests of two users over HTTP, followed to their results; one webhook is verified.

``QUOTA=3`` gives the two users fresh keys with that quota, so that the requests above it are seen to be refused.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from localstack.environ import use
from localstack.receiver import Receiver
from shared import webhooks
from shared.limits.keys import create_key, key_id

if TYPE_CHECKING:
    from rich.progress import TaskID

FOLLOW_SECONDS = 300
"""How long a run is followed before the demo gives up."""
STAGES = {"queued": 10, "started": 25, "resumed": 25, "tool_call": 45, "tool_result": 60, "token": 75, "step": 85}

console = Console()


@dataclass(frozen=True)
class Ask:
    """One request of the demo."""

    user: str
    agent: str
    message: str


ASKS = (
    Ask("demo", "chat", "In one sentence: what does a sluice do?"),
    Ask("demo", "tools", "What is (17 + 25) * 100 / 7?"),
    Ask("other", "chat", "Name three rivers and say one thing about each."),
    Ask("demo", "tools", "What time is it in UTC right now?"),
    Ask("demo", "chat", "And how is that sluice different from a dam?"),
)


class Demo:
    """Submits, follows and prints."""

    def __init__(self, outputs: dict[str, Any], keys: dict[str, str], progress: Progress, receiver: Receiver) -> None:
        """Talk to the system of ``outputs`` with one key a user."""
        self.client = httpx2.Client(base_url=outputs["api_url"], timeout=60)
        self.keys = keys
        self.progress = progress
        self.receiver = receiver
        self.results: list[tuple[Ask, str, dict[str, Any]]] = []
        self.refusals: list[tuple[Ask, str, str]] = []
        self._lock = threading.Lock()

    def run(self, ask: Ask) -> None:
        """See one request through."""
        bar = self.progress.add_task(
            f"[cyan]{ask.user:>5}[/] {ask.agent:<5} {escape(ask.message[:38])}", total=100, state=""
        )
        headers = {"Authorization": f"Bearer {self.keys[ask.user]}"}
        body = {"message": ask.message, "agent": ask.agent, "webhook_url": self.receiver.url}
        answer = self.client.post("/agent", json=body, headers=headers)
        if answer.status_code != 202:
            wait = answer.headers.get("Retry-After", "-")
            error = answer.json()["error"]
            self.progress.update(
                bar, completed=100, state=f"[red]{answer.status_code} {error['code']}, retry in {wait} s"
            )
            with self._lock:
                self.refusals.append((ask, f"{answer.status_code} {error['code']}: {error['message']}", wait))
            return
        task_id = answer.json()["task_id"]
        self._follow(task_id, headers, bar)
        result = self.client.get(f"/result/{task_id}", headers=headers).json()
        colour = "green" if result["status"] == "complete" else "red"
        self.progress.update(bar, completed=100, state=f"[{colour}]{result['status']}")
        with self._lock:
            self.results.append((ask, task_id, result))

    def _follow(self, task_id: str, headers: dict[str, str], bar: TaskID) -> None:
        seen = 0
        give_up = time.monotonic() + FOLLOW_SECONDS
        while time.monotonic() < give_up:
            page = self.client.get(
                f"/result/{task_id}/events", params={"after": seen, "wait": 10}, headers=headers
            ).json()
            for event in page["events"]:
                seen = event["seq"]
                done = STAGES.get(event["type"], 50)
                self.progress.update(bar, completed=done, state=f"[dim]{event['type']}")
            if page["status"] in ("complete", "failed", "cancelled"):
                return
        raise TimeoutError(f"{task_id} did not end within {FOLLOW_SECONDS} s")


def fresh_keys(quota: int) -> dict[str, str]:
    """Create keys whose users may ask ``quota`` times an hour."""
    stamp = int(time.time())
    return {
        user: create_key(f"{user}-{stamp}", "standard", "make demo", limits={"requests": quota, "window_s": 3600})
        for user in ("demo", "other")
    }


def show(demo: Demo) -> None:
    """Print what came of it."""
    table = Table(title="results", show_lines=True)
    for name in ("user", "agent", "status"):
        table.add_column(name, no_wrap=True)
    table.add_column("response", ratio=1)
    for name in ("tokens", "USD", "s"):
        table.add_column(name, no_wrap=True, justify="right")
    for ask, _, result in demo.results:
        usage = result.get("usage", {})
        text = result["result"]["response"] if result["status"] == "complete" else json.dumps(result.get("error"))
        cost, took = f"{usage.get('cost_usd', 0):.6f}", f"{_seconds(result):.1f}"
        table.add_row(
            ask.user, ask.agent, result["status"], escape(text[:160]), str(usage.get("total_tokens", 0)), cost, took
        )
    console.print(table)
    for ask, why, wait in demo.refusals:
        console.print(f"[red]refused[/] {ask.user}: {escape(why)} [bold](Retry-After: {wait} s)[/]")


def _seconds(result: dict[str, Any]) -> float:
    from datetime import datetime

    ends = datetime.fromisoformat(result["ended_at"]) - datetime.fromisoformat(result["created_at"])
    return ends.total_seconds()


def main() -> int:
    """Run the demo; 0 when every request either ended complete or was refused for a quota that was asked for."""
    state = Path(os.environ.get("SLUICE_STATE", ".local"))
    if not (state / "outputs.json").exists():
        console.print("The local system is not up: run [bold]make up[/] first.")
        return 1
    outputs = json.loads((state / "outputs.json").read_text())
    quota = os.environ.get("QUOTA")
    use(outputs)
    keys = fresh_keys(int(quota)) if quota else outputs["api_keys"]
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
    )
    secrets = [webhooks.secret_for(key_id(key)) for key in keys.values()]
    with (
        Receiver(secrets) as receiver,
        Progress(*columns, console=console) as progress,
        ThreadPoolExecutor(len(ASKS)) as pool,
    ):
        demo = Demo(outputs, keys, progress, receiver)
        first = [pool.submit(demo.run, ask) for ask in ASKS[:-1]]
        for future in first:
            future.result()
        demo.run(ASKS[-1])  # asked last: it follows up on the session of the first
        delivered = receiver.wait_for(1, timeout_s=10) if demo.results else []
    show(demo)
    for delivery in delivered[:1]:
        verdict = "[green]a valid signature[/]" if delivery.valid else "[red]a wrong signature[/]"
        console.print(f"webhook {delivery.id} arrived with {verdict}: {delivery.type}")
    complete = sum(result["status"] == "complete" for _, _, result in demo.results)
    console.print(f"[bold]{complete} complete, {len(demo.refusals)} refused, {len(demo.results) - complete} otherwise")
    return 0 if complete + len(demo.refusals) == len(ASKS) and (quota or not demo.refusals) else 1


if __name__ == "__main__":
    sys.exit(main())
