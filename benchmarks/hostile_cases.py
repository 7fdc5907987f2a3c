"""What a hostile owner does in each case of `benchmarks.hostile`, and what it must not spoil."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDED = ("complete", "failed", "cancelled")
STREAMS = 10
STREAM_SECONDS = 65.0
"""Longer than a minute: a fixed limit of a call that flows would cut it."""
MANY_STREAMS = 100
WHOLE_CEILING_USD = 0.001


class Client:
    """One key. Thread-safe."""

    def __init__(self, api_url: str, key: str) -> None:
        """Talk to the API with it."""
        self.key = key
        limits = httpx2.Limits(max_connections=50)
        headers = {"Authorization": f"Bearer {key}"}
        self.http = httpx2.Client(base_url=api_url, headers=headers, timeout=60, limits=limits)
        self.ids: list[str] = []
        """Every run that was accepted."""
        self.refused: Counter[str] = Counter()
        """Refusals by ``status code``."""

    def submit(self, message: str, **more: Any) -> httpx2.Response:
        """POST /agent."""
        answer = self.http.post("/agent", json={"message": message, **more})
        if answer.status_code == 202:
            self.ids.append(answer.json()["task_id"])
        else:
            self.note(answer)
        return answer

    def note(self, answer: httpx2.Response) -> None:
        """Count a refusal, by who made it and why."""
        try:
            error = answer.json()["error"]
            code = f"{error['code']} {error.get('param') or ''}".strip()
        except (ValueError, KeyError, TypeError):
            code = "not by Sluice"
        self.refused[f"{answer.status_code} {code}"] += 1

    def status(self, task_id: str) -> str:
        """Return a task's status; a refused look is counted and taken for none."""
        answer = self.http.get(f"/result/{task_id}")
        if answer.status_code != 200:
            self.note(answer)
            return "refused"
        return str(answer.json()["status"])

    def cancel_all(self) -> None:
        """End what has not ended."""
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda task_id: self.http.post(f"/agent/{task_id}/cancel"), self.ids))


@dataclass(slots=True)
class Scene:
    """What a case has to work with."""

    hostile: Client
    stamp: int
    """Makes keys of the model simulator its own."""
    quiet_url: str = ""
    """Takes connections and never answers."""
    stream_url: str = ""
    """The streaming address."""
    open_streams: int = 0
    """Most that were open at once."""
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def quiet_server() -> Iterator[str]:
    """Listen, and leave every connection unanswered."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def streams(scene: Scene) -> None:
    """A1: ten long answers that stream steadily, in one environment's ten slots."""
    words = int(STREAM_SECONDS * 20)
    for n in range(STREAMS):
        what = f"[[sim key=a1-{scene.stamp}-{n} latency={STREAM_SECONDS} words={words}]] a very long story"
        scene.hostile.submit(what, max_output_tokens=16000)


def few_streams(scene: Scene) -> None:
    """A1b: six, for far longer than an environment fills its slots from the lane by itself."""
    for n in range(6):
        scene.hostile.submit(f"[[sim latency=45 words=900]] a long story {n}", max_output_tokens=16000)


def polls(scene: Scene) -> None:
    """A2: five long polls and more, without end."""
    task_id = scene.hostile.submit("[[sim latency=60 words=1]] x").json()["task_id"]

    def poll() -> None:
        while not scene.stop.is_set():
            answer = scene.hostile.http.get(f"/result/{task_id}", params={"wait": 25})
            scene.stop.wait(float(answer.headers.get("Retry-After", 0.2)))

    with ThreadPoolExecutor(6) as pool:
        for _ in range(6):
            pool.submit(poll)


def open_streams(scene: Scene) -> None:
    """A2b: a hundred event streams of runs that last, each opened again whenever it ends."""
    ids = [scene.hostile.submit("[[sim latency=70 words=70]] a story").json()["task_id"] for _ in range(5)]
    limits = httpx2.Limits(max_connections=None)
    lock, now_open = threading.Lock(), 0

    def follow(n: int) -> None:
        nonlocal now_open
        while not scene.stop.is_set():
            with http.stream("GET", f"/result/{ids[n % len(ids)]}/stream") as answer:
                lines = answer.iter_lines()
                first = next((line for line in lines if line.startswith(("id: ", "event: "))), "")
                if not first.startswith("id: "):  # the door is busy, or the run has ended
                    scene.stop.wait(1)
                    continue
                with lock:
                    now_open += 1
                    scene.open_streams = max(scene.open_streams, now_open)
                for _ in lines:
                    if scene.stop.is_set():
                        break
                with lock:
                    now_open -= 1

    headers = scene.hostile.http.headers
    with (
        httpx2.Client(base_url=scene.stream_url, headers=headers, timeout=60, limits=limits) as http,
        ThreadPoolExecutor(MANY_STREAMS) as pool,
    ):
        list(pool.map(follow, range(MANY_STREAMS)))


def slots(scene: Scene) -> None:
    """A3: a service's users fill every slot with runs of many model calls, and more of them wait."""
    for n in range(30):
        scene.hostile.submit(calls(3.0), agent="tools", user_id=f"u{n % 3}")


def invented(scene: Scene) -> None:
    """A4: a new user for every submit, as fast as it goes."""

    def ask(part: int) -> None:
        n = 0
        while not scene.stop.is_set():
            n += 1
            scene.hostile.submit("[[sim latency=0.2 words=1]] x", user_id=f"invented-{part}-{n}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ask, range(2)))


def crowd(scene: Scene) -> None:
    """A5: as many runs of invented users as the queue holds, and more whenever there is room."""
    n = 0
    while not scene.stop.is_set():
        n += 1
        answer = scene.hostile.submit(calls(1.0), agent="tools", user_id=f"crowd-{n}")
        scene.stop.wait(0.0 if answer.status_code == 202 else 0.25)


def spenders(scene: Scene) -> None:
    """A6: a service whose key has a ceiling, with a new user for every submit."""
    n = 0
    while not scene.stop.is_set() and n < 100:
        n += 1
        scene.hostile.submit("[[sim latency=0.2 words=50]] x", user_id=f"spender-{n}", max_output_tokens=100)
        scene.stop.wait(0.1)


def silent_pages(scene: Scene) -> None:
    """A7: runs that read 32 pages each, none of which answers."""
    args = f'{{"url": "{scene.quiet_url}/page"}}'
    for _ in range(8):
        scene.hostile.submit(f"[[sim tool=fetch_page parallel=32 latency=0.1 args={args}]] read", agent="tools")


def silent_receivers(scene: Scene) -> None:
    """A8: ends that are told to receivers which never answer: sixty at once, and more for as long as it lasts."""
    n = 0
    while not scene.stop.is_set():
        n += 1
        scene.hostile.submit("[[sim latency=0.1 words=1]] x", webhook_url=f"{scene.quiet_url}/hook{n}")
        scene.stop.wait(0.0 if n < 60 else 0.25)


def calls(seconds: float) -> str:
    """Return the message of a run of eight model calls of so many seconds."""
    args = '{"expression": "1 + 1"}'
    return f"[[sim latency={seconds} words=2 tool=calculator rounds=7 args={args}]] x"


def one_call_each(scene: Scene, sim: httpx2.Client) -> dict[str, Any]:
    """A1: wait for the streams' ends; each is complete, by one call."""
    until = threading.Event()
    left = set(scene.hostile.ids)
    while left:
        left -= {task_id for task_id in left if scene.hostile.status(task_id) in ENDED}
        until.wait(0.5 if left else 0)
    complete = sum(scene.hostile.status(task_id) == "complete" for task_id in scene.hostile.ids)
    by_key = sim.get("/stats", params={"prefix": f"a1-{scene.stamp}-"}).json()["by_key"]
    started = [counts["started"] for counts in by_key.values()]
    return {"complete": complete, "calls": sum(started), "ok": complete == STREAMS and started == [1] * STREAMS}


def ceiling_held(scene: Scene, _: httpx2.Client) -> dict[str, Any]:
    """A6: the service was refused for its money, and has not spent more than its ceiling."""
    refused = sum(n for what, n in scene.hostile.refused.items() if what.startswith("402"))
    spent = 0.0
    for task_id in scene.hostile.ids:
        shown = scene.hostile.http.get(f"/result/{task_id}").json()
        spent += (shown.get("usage") or {}).get("cost_usd") or 0.0
    facts = {"accepted": len(scene.hostile.ids), "refused_402": refused, "spent_usd": round(spent, 6)}
    return {**facts, "ok": bool(scene.hostile.ids) and refused > 0 and spent <= WHOLE_CEILING_USD}


def all_open(scene: Scene, _: httpx2.Client) -> dict[str, Any]:
    """A2b: the streams were really open, all of them at once."""
    return {"open_at_once": scene.open_streams, "ok": scene.open_streams == MANY_STREAMS}


def nothing(_: Scene, __: httpx2.Client) -> dict[str, Any]:
    """Check nothing more."""
    return {"ok": True}


@dataclass(frozen=True, slots=True)
class Case:
    """One case: who does what, how the others are measured meanwhile, and how much longer they may take."""

    name: str
    who: str
    act: Callable[[Scene], None]
    kind: str = "run"
    """What the others do: a short ``run``, one at the streaming address (``streamed``), one that reads a ``page``, one
    whose end is told to a ``webhook``."""
    lead_s: float = 3.0
    """How long the hostile owner is at it before the others come."""
    times: int = 20
    every_s: float = 0.9
    most_added_s: float = 1.0
    then: Callable[[Scene, httpx2.Client], dict[str, Any]] = nothing


ROOMY = (
    Case("A1 ten long streams", "demo", streams, times=20, every_s=3.0, then=one_call_each),
    Case("A1b free slots after RefillSeconds", "demo", few_streams, lead_s=13.0, times=20, every_s=1.4),
    Case("A2 held long polls", "demo", polls),
    Case("A2b a hundred open streams", "demo", open_streams, lead_s=10.0, then=all_open),
    Case("A2c and at the streaming address", "demo", open_streams, "streamed", lead_s=10.0, then=all_open),
    Case("A3 every slot taken", "service", slots, times=12, every_s=3.0, most_added_s=1.0 + 3.0),
    Case("A6 a service's ceiling", "poor_service", spenders, lead_s=1.0, times=10, then=ceiling_held),
    Case("A7 silent pages", "demo", silent_pages, "page", lead_s=1.0, times=12),
    Case("A8 silent receivers", "demo", silent_receivers, "webhook", lead_s=8.0, times=20),
)
TIGHT = (
    # Less often than its share: three owners were here within a minute, and the door lets two requests a second in.
    Case("A4 invented users at the door", "service", invented, lead_s=6.0, times=20, every_s=2.0),
    Case("A5 invented users fill the queue", "service", crowd, lead_s=12.0, times=12, every_s=1.5, most_added_s=2.0),
)
