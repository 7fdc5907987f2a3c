"""What a hostile owner's runs cost the others (`make hostile`): each case beside an empty system, about six minutes.

A local system of its own is started, with two environments of ten slots for the lane and five API functions. In each
case one owner does its worst while another does something short every so often. What counts is how much longer that
takes at p95 than in the empty system, refusals and the waits that they ask for included. Both environments are warm
before each case, and two of the function that delivers webhooks before A8 is measured: starting one is what a growing
system costs, not what one owner costs another.

Written: ``benchmarks/results/hostile.json``. Fails when a case takes the others longer than it may.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import threading
import time
from collections import Counter
from contextlib import ExitStack
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.faults.own import own_system
from benchmarks.hostile_cases import ENDED, ROOMY, TIGHT, WHOLE_CEILING_USD, Case, Client, Scene, quiet_server
from localstack.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

PARAMETERS = {
    "NormalConcurrency": "2",
    "HighConcurrency": "2",
    "QuarantineConcurrency": "2",
    "MaxReplicas": "6",
    "ReservedConcurrency": "8",
    "RunsPerEnvironment": "10",
    "ApiReservedConcurrency": "16",  # of which 9 may be held; more requests at once than 16 are answered 500
    "StreamingConcurrency": "170",  # of which 102 may be held: one owner's hundred streams, and hardly more
    "WebhookConcurrency": "2",
    "RefillSeconds": "10",
}
NARROW = PARAMETERS | {"IngressRate": "2", "IngressBurst": "20", "GlobalQueueLimit": "25"}
LOOSE = {"requests": 0, "tokens_per_day": 0, "usd_per_day": 0, "running": 100, "queued": 1000}
SLOTS = 20
EMPTY_TIMES = 20
REST_SECONDS = 10.0
"""Until `NARROW`'s ingress has its whole burst again."""


class Others:
    """What the other owner does, and how long it takes, by kind."""

    def __init__(self, client: Client, streaming: Client, page_url: str, hooks: Receiver) -> None:
        """Use one key at both addresses, a page that answers and a receiver that does."""
        self.client = client
        self.streaming = streaming
        self._page = f'[[sim tool=fetch_page latency=0.1 args={{"url": "{page_url}/page"}}]] read'
        self._hooks = hooks

    def refused(self) -> Counter[str]:
        """Return how often it was refused, by what it was told."""
        return self.client.refused + self.streaming.refused

    def took(self, kind: str) -> float:
        """Do it once; returns the seconds from the first try to its end. Refusals count with the wait they ask for."""
        began = time.monotonic()
        client = self.streaming if kind == "streamed" else self.client
        more = {"page": {"agent": "tools"}, "webhook": {"webhook_url": self._hooks.url}}.get(kind, {})
        message = self._page if kind == "page" else "[[sim latency=0.2 words=1]] quick"
        while (answer := client.submit(message, **more)).status_code in (429, 503):
            time.sleep(float(answer.headers.get("Retry-After", 5)))
        task_id = answer.raise_for_status().json()["task_id"]
        if kind == "webhook":
            while not any(hook.id.startswith(f"msg_{task_id}_") for hook in list(self._hooks.deliveries)):
                time.sleep(0.05)
        else:
            while client.status(task_id) not in ENDED:
                time.sleep(0.1)
        return time.monotonic() - began

    def measured(self, kind: str, times: int, every_s: float) -> list[float]:
        """Do it so many times, once every so often."""
        found: list[float] = []
        for _ in range(times):
            began = time.monotonic()
            found.append(self.took(kind))
            time.sleep(max(0.0, every_s - (time.monotonic() - began)))
        return found


def p95(values: list[float]) -> float:
    """Return the 95th percentile, the nearest value above."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def warm(client: Client) -> None:
    """Let short runs fill the lane until more run at once than one environment has slots for."""
    for _ in range(20):
        answers = [client.submit("[[sim latency=1 words=1]] warm") for _ in range(SLOTS)]
        if any(answer.status_code == 429 for answer in answers):
            time.sleep(REST_SECONDS)
        ids = [answer.json()["task_id"] for answer in answers if answer.status_code == 202]
        spans = []
        for task_id in ids:
            while (shown := client.http.get(f"/result/{task_id}").json())["status"] not in ENDED:
                time.sleep(0.1)
            spans.append([datetime.fromisoformat(shown[name]).timestamp() for name in ("started_at", "ended_at")])
        if max((sum(a <= at < b for a, b in spans) for at, _ in spans), default=0) > SLOTS / 2:
            return
    raise SystemExit("the lane never had two environments")


def try_case(case: Case, scene: Scene, others: Others, empty: dict[str, float], sim: httpx2.Client) -> dict[str, Any]:
    """Let one owner do its worst and measure the other meanwhile."""
    refused = others.refused()
    thread = threading.Thread(target=case.act, args=(scene,), daemon=True)
    thread.start()
    time.sleep(case.lead_s)
    load = os.getloadavg()[0]
    waits = others.measured(case.kind, case.times, case.every_s)
    scene.stop.set()
    thread.join(40)
    facts = case.then(scene, sim)
    scene.hostile.cancel_all()
    added = p95(waits) - empty[case.kind]
    return {
        "others_p95_s": round(p95(waits), 3),
        "others_longest_s": round(max(waits), 3),
        "added_s": round(added, 3),
        "may_add_s": case.most_added_s,
        "others_refused": dict(others.refused() - refused),
        "hostile_accepted": len(scene.hostile.ids),
        "hostile_refused": dict(scene.hostile.refused),
        "load_average": round(load, 1),
        **facts,
        "ok": facts["ok"] and added <= case.most_added_s,
    }


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.end_headers()
        self.wfile.write(b"a short page")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name begins with one of these, comma-separated")
    parser.add_argument("--keep-log", type=Path, default=None, help="where the local AWS's log is kept")
    asked = parser.parse_args()
    only = tuple(asked.only.split(",")) if asked.only else ("",)
    target = Path(__file__).parent / "results" / "hostile.json"
    cases: dict[str, Any] = {}
    with ExitStack() as until:
        system, found = until.enter_context(own_system(PARAMETERS, keep_log=asked.keep_log))
        hooks = until.enter_context(Receiver())
        quiet_url = until.enter_context(quiet_server())
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        until.callback(server.shutdown)
        sim = until.enter_context(httpx2.Client(base_url=found["llm_url"].removesuffix("/v1") + "/_sim"))
        stamp = int(time.time())
        key = _keys(found["api_url"], stamp)
        other = key("other", "standard")
        streaming = Client(found["stream_url"], other.key)
        others = Others(other, streaming, f"http://127.0.0.1:{server.server_address[1]}", hooks)
        warmer = key("warm", "load")
        warm(warmer)
        kinds = {case.kind for case in (*ROOMY, *TIGHT) if case.name.startswith(only)}
        for kind in kinds:
            others.took(kind)
        empty = {kind: p95(others.measured(kind, EMPTY_TIMES, 0.3)) for kind in sorted(kinds)}
        for parameters, part in ((None, ROOMY), (NARROW, TIGHT)):
            chosen = [case for case in part if case.name.startswith(only)]
            if parameters and chosen:
                system.up(parameters)
            for n, case in enumerate(chosen):
                warm(warmer)
                tier, limits = WHO[case.who]
                scene = Scene(
                    key(f"{case.who}-{n}{part is TIGHT:d}", tier, limits), stamp, quiet_url, found["stream_url"]
                )
                cases[case.name] = try_case(case, scene, others, empty, sim)
                print(case.name, json.dumps(cases[case.name]), flush=True)
    result = {"others_p95_empty_s": {kind: round(at, 3) for kind, at in empty.items()}, "cases": cases}
    if not asked.only:
        target.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    if bad := [name for name, case in cases.items() if not case["ok"]]:
        raise SystemExit(f"not as it should be: {', '.join(bad)}")


WHO: dict[str, tuple[str, dict[str, Any]]] = {
    "demo": ("standard", {}),
    "service": ("service", {}),
    "poor_service": ("service", {"usd_per_day": WHOLE_CEILING_USD}),
}
"""The hostile owners: tier and limits that differ from `LOOSE`."""


def _keys(api_url: str, stamp: int) -> Callable[..., Client]:
    def key(user: str, tier: str, limits: dict[str, Any] | None = None) -> Client:
        from shared.limits.keys import create_key

        made = create_key(f"{user}-{stamp}", tier, "make hostile", limits=LOOSE | (limits or {}))
        return Client(api_url, made)

    return key


if __name__ == "__main__":
    main()
