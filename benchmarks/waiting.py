"""Runs that wait: that they cost a sweep nothing, that a thousand children join, and how soon a signal wakes its run.

    make up && make waiting            (SIGNALS=1000 on an idle machine; about five minutes)

The first two parts count, in this process (`benchmarks.waiting_parts`). The third is timed on the running local system:
so many runs wait for an approval, which is a signal; all are answered at once, and a run goes on when its `woken` event
says so. As many runs are submitted at once, in turn with them, and timed to their `started` event: what waking costs is
what it takes longer than that. Both are told from the client's request, which holds the wait for the API, and from its
answer, when the signal, or the run, is accepted: on a machine of two cores the first is mostly a queue before the API.
(A run that goes on before its answer has reached the client counts as 0 s in the second.)

Exits non-zero where a sweep asks more with more runs waiting, a lane holds a message, children are lost or run twice,
or the p95 from acceptance to going on is more than a second above an immediate submit's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from benchmarks.waiting_parts import joined, stored
from localstack.environ import outputs, use
from shared.clock import epoch
from shared.limits.keys import create_key
from shared.tasks.family import ENDS_PER_ITEM, MOST_ITEMS

if TYPE_CHECKING:
    from collections.abc import Callable

ASKING = '[[sim latency=0.05 tool=calculator args={"expression": "6*7"} rounds=1]] What is it?'
PLAIN = "[[sim latency=0.05 words=3]] Hello."
CLIENTS = 16
"""Requests under way at the same time."""
LONGEST_SECONDS = 300.0
AGAIN_SECONDS = 0.2
TRIES = 100
MOST_ADDED_SECONDS = 1.0

type Timed = tuple[str, float, float]
"""A task's id, when its request was sent, and when it was answered."""


class Client:
    """A user without a quota."""

    def __init__(self, api_url: str, key: str) -> None:
        """Talk to the API with the user's key."""
        self.http = httpx2.Client(base_url=api_url, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def asked(self, method: str, path: str, **more: Any) -> Any:
        """Ask as clients do: again after a moment when the system is too busy to answer; the wait counts."""
        for _ in range(TRIES):
            answer = self.http.request(method, path, **more)
            if answer.status_code not in (429, 503):
                break
            time.sleep(AGAIN_SECONDS)
        return answer.raise_for_status().json()

    def submit(self, body: dict[str, Any]) -> Timed:
        """Submit a run."""
        began = time.time()
        key = {"Idempotency-Key": f"{time.time_ns()}"}
        return str(self.asked("POST", "/agent", json=body, headers=key)["task_id"]), began, time.time()

    def until_waiting(self, task_id: str) -> tuple[str, str]:
        """Wait until a run asks for its approval; returns its id and what identifies the approval."""
        give_up = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < give_up:
            found = self.asked("GET", f"/result/{task_id}")
            if found["status"] == "waiting":
                (one,) = found["waiting_for"]
                return task_id, str(one["fingerprint"])
            time.sleep(AGAIN_SECONDS)
        raise SystemExit(f"{task_id} does not wait: {found}")

    def allow(self, asks: tuple[str, str]) -> Timed:
        """Answer an approval, which wakes its run."""
        task_id, fingerprint = asks
        began = time.time()
        self.asked("POST", f"/agent/{task_id}/approvals/{fingerprint}", json={"decision": "allow"})
        return task_id, began, time.time()

    def at(self, task_id: str, type_: str) -> float:
        """Wait until a run has ended; returns when an event of it came.

        Raises:
            SystemExit: the run is not complete, or the event did not come once.
        """
        give_up = time.monotonic() + LONGEST_SECONDS
        while (found := self.asked("GET", f"/result/{task_id}", params={"wait": 20}))["status"] != "complete":
            if found["status"] in ("failed", "cancelled") or time.monotonic() > give_up:
                raise SystemExit(f"{task_id} is {found['status']}: {found.get('error')}")
        events = self.asked("GET", f"/result/{task_id}/events")["events"]
        times = [epoch(event["at"]) for event in events if event["type"] == type_]
        if len(times) != 1:
            raise SystemExit(f"{task_id} has {len(times)} events {type_}")
        return times[0]


def at_once[T](what: Callable[[T], Timed], each: list[T]) -> list[Timed]:
    """Send so many requests, as fast as the clients get answers."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(what, each))


def waits_of(client: Client, sent: list[Timed], type_: str) -> tuple[list[float], list[float]]:
    """Return the seconds from each request, and from each answer, to an event of its run."""
    with ThreadPoolExecutor(4) as pool:
        times = list(pool.map(partial(client.at, type_=type_), [one[0] for one in sent]))
    pairs = list(zip(sent, times, strict=True))
    return [at - one[1] for one, at in pairs], [max(0.0, at - one[2]) for one, at in pairs]


def woken(signals: int, rounds: int) -> dict[str, Any]:
    """Time signals and submits on the running local system, in turn, ``signals`` at once of each."""
    found = outputs()
    use(found)
    client = Client(found["api_url"], create_key("bench-waiting", "load", "waiting", limits={"running": 2 * signals}))
    asking = {"message": ASKING, "agent": "tools", "approve": True}
    plain = {"message": PLAIN, "agent": "tools"}
    took: dict[str, list[float]] = {}

    def note(name: str, sent: list[Timed], type_: str) -> None:
        for side, values in zip(("request", "accepted"), waits_of(client, sent, type_), strict=True):
            took.setdefault(f"{name}_from_{side}", []).extend(values)

    waits_of(client, at_once(client.submit, [plain] * 60), "started")  # environments start
    for n in range(rounds):
        note("submit", at_once(client.submit, [plain] * signals), "started")
        waiting = [one[0] for one in at_once(client.submit, [asking] * signals)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            asks = list(pool.map(client.until_waiting, waiting))
        note("signal", at_once(client.allow, asks), "woken")
        print(f"  round {n + 1} of {rounds}", flush=True)
    figures: dict[str, Any] = {"signals_at_once": signals, "rounds": rounds}
    for name, values in took.items():
        cuts = statistics.quantiles(values, n=100)
        figures |= {f"{name}_p50_s": round(cuts[49], 3), f"{name}_p95_s": round(cuts[94], 3)}
    for side in ("request", "accepted"):
        signal, submit = figures[f"signal_from_{side}_p95_s"], figures[f"submit_from_{side}_p95_s"]
        figures[f"{side}_p95_added_s"] = round(signal - submit, 3)
        figures[f"{side}_p95_ratio"] = round(signal / max(submit, 0.001), 2)
    return figures


def faults(result: dict[str, Any]) -> list[str]:
    """Say what of a result must not be."""
    found = []
    if (sweeps := result.get("stored")) is not None:
        few, many = sweeps["sweeps"]
        found += [f"a sweep's {what} grow" for what in ("requests", "items") if many[what] > few[what]]
        found += ["a lane holds a message"] if few["messages"] or many["messages"] else []
    if (join := result.get("joined")) is not None:
        total = join["children"]
        whole = (join["children_run"], join["children_complete"], join["children_run_twice"]) == (total, total, 0)
        found += [] if whole and join["in_order"] and join["status"] == "complete" else ["children are lost or doubled"]
        most = max(ENDS_PER_ITEM, -(-total // MOST_ITEMS))
        found += ["too many ends meet in one item"] if join["most_writes_of_another_item"] > most else []
    if (live := result.get("woken")) is not None and live["accepted_p95_added_s"] > MOST_ADDED_SECONDS:
        found.append("a signal wakes its run more than a second later than a submit starts one")
    return found


def main() -> None:
    """Measure, print, write and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--fewest", type=int, default=1_000)
    parser.add_argument("--most", type=int, default=100_000, help="waiting runs stored")
    parser.add_argument("--children", type=int, default=1_000)
    parser.add_argument("--signals", type=int, default=200, help="at once")
    parser.add_argument("--rounds", type=int, default=2, help="of signals and submits")
    parser.add_argument("--only", choices=("stored", "joined", "woken"))
    asked = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "stored": lambda: stored(asked.fewest, asked.most),
        "joined": lambda: joined(asked.children),
        "woken": lambda: woken(asked.signals, asked.rounds),
    }
    target = Path(__file__).parent / "results" / "waiting.json"
    result = json.loads(target.read_text()) if asked.only and target.exists() else {}
    for name, part in parts.items():
        if asked.only in (None, name):
            result[name] = part()
            print(json.dumps({name: result[name]}, indent=2), flush=True)
    target.write_text(json.dumps(result, indent=2) + "\n")
    if found := faults(result):
        raise SystemExit("; ".join(found))


if __name__ == "__main__":
    main()
