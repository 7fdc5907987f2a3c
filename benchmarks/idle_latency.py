"""Time from submit to the agent's first line in an idle system, against the bare path from SQS to a handler.

    make up && python -m benchmarks.idle_latency [--times 60]

The floor is a message sent straight to a queue of its own with a handler of one line behind it, on the same emulator:
what any worker on SQS and Lambda waits for. The bare way takes an HTTP request on the same gateway first, with a
FastAPI + Mangum function that does nothing but send that message: what anybody pays who takes work over HTTP. Sluice's
side begins before the HTTP request, too, and holds authentication, admission, the row's write, the send, the claim and
the history's read besides. The three take turns, with the same pauses, so that all meet the same machine.

What Sluice adds is its time less the bare way's. Exits non-zero where that is above three times the floor (p50).
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
import zipfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx2

from benchmarks.submit_overhead import deploy_bare, remove_bare
from localstack.environ import outputs, use
from shared.clock import epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "sluice-bench-floor"
HANDLER = """
import os, time
def handler(event, context):
    for record in event["Records"]:
        with open(os.path.join(os.environ["FOLDER"], record["body"]), "w") as file:
            file.write(repr(time.time()))
"""
BARE = """
import logging, os, sys, boto3
from fastapi import FastAPI
from mangum import Mangum
logging.basicConfig(stream=sys.stdout, level="INFO", force=True)
logging.getLogger("botocore").setLevel("WARNING")
app = FastAPI(openapi_url=None)
queues = boto3.client("sqs")
@app.post("/agent", status_code=202)
def submit(body: dict) -> dict:
    queues.send_message(QueueUrl=os.environ["QUEUE"], MessageBody=body["message"])
    logging.getLogger("bare").info("request")
    return {"task_id": "task_0", "status": "queued"}
handler = Mangum(app, lifespan="off")
"""
PAUSE_SECONDS = 0.3
WARM_UP = 5
MOST_RATIO = 3.0


@contextmanager
def others(client: httpx2.Client, role: str, endpoint: str) -> Iterator[tuple[Callable[[int], float], ...]]:
    """Deploy the floor and the bare way; yields, of each, what returns the seconds to its handler's first line."""
    functions: Any = boto3.client("lambda")
    queues: Any = boto3.client("sqs")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("bare.py", HANDLER)
    with tempfile.TemporaryDirectory(prefix="sluice-floor-") as folder:
        url = queues.create_queue(QueueName=NAME, Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        functions.create_function(
            FunctionName=NAME, Runtime="python3.13", Role=role, Handler="bare.handler", MemorySize=1024, Timeout=29,
            Code={"ZipFile": packed.getvalue()}, Environment={"Variables": {"FOLDER": folder}},
        )  # fmt: skip
        mapping = functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=NAME, BatchSize=10)["UUID"]

        api = deploy_bare(role, BARE, QUEUE=url)

        def floor(n: int) -> float:
            began = time.time()
            queues.send_message(QueueUrl=url, MessageBody=f"floor-{n}")
            return read_when_there(Path(folder) / f"floor-{n}") - began

        def bare(n: int) -> float:
            began = time.time()
            address = f"{endpoint}/_aws/execute-api/{api}/$default/agent"
            client.post(address, json={"message": f"bare-{n}"}).raise_for_status()
            return read_when_there(Path(folder) / f"bare-{n}") - began

        try:
            yield floor, bare
        finally:
            remove_bare()
            functions.delete_event_source_mapping(UUID=mapping)
            functions.delete_function(FunctionName=NAME)
            queues.delete_queue(QueueUrl=url)


def read_when_there(path: Path) -> float:
    """Wait for a handler's note.

    Raises:
        TimeoutError: none came within 30 s.
    """
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        text = path.read_text() if path.exists() else ""
        if text:
            return float(text)
        time.sleep(0.005)
    raise TimeoutError(f"no note at {path}")


def sluice(client: httpx2.Client, n: int) -> float:
    """Submit a run; returns the seconds to its agent's first line."""
    began = time.time()
    body = {"message": "[[sim latency=0.05 words=1]] x", "session_id": f"idle-{time.time_ns()}-{n}"}
    task_id = client.post("/agent", json=body).raise_for_status().json()["task_id"]
    client.get(f"/result/{task_id}", params={"wait": 20}).raise_for_status()
    events = client.get(f"/result/{task_id}/events").raise_for_status().json()["events"]
    return next(epoch(event["at"]) for event in events if event["type"] == "started") - began


def measure(times: int) -> dict[str, Any]:
    """Let the three take turns; returns percentiles in milliseconds and their ratios."""
    found = outputs()
    use(found)
    functions: Any = boto3.client("lambda")
    role = functions.get_function_configuration(FunctionName=found["functions"]["worker"])["Role"]
    headers = {"Authorization": f"Bearer {found['api_keys']['load']}"}
    took: dict[str, list[float]] = {"floor": [], "bare": [], "sluice": []}
    with (
        httpx2.Client(base_url=found["api_url"], headers=headers, timeout=60) as client,
        others(client, role, found["aws_endpoint_url"]) as (floor, bare),
    ):
        for n in range(times + WARM_UP):
            for name, once in (("floor", floor), ("bare", bare), ("sluice", partial(sluice, client))):
                time.sleep(PAUSE_SECONDS)
                seconds = once(n)
                if n >= WARM_UP:
                    took[name].append(seconds)
    figures: dict[str, Any] = {"times": times}
    for percent in (50, 95):
        rows = {name: statistics.quantiles(values, n=100)[percent - 1] for name, values in took.items()}
        figures |= {f"{name}_p{percent}_ms": round(seconds * 1000, 1) for name, seconds in rows.items()}
        figures[f"p{percent}_added_floor_ratio"] = round((rows["sluice"] - rows["bare"]) / rows["floor"], 2)
        figures[f"p{percent}_floor_ratio"] = round(rows["sluice"] / rows["floor"], 2)
        figures[f"p{percent}_bare_ratio"] = round(rows["sluice"] / rows["bare"], 2)
    return figures


def main() -> None:
    """Measure, print, write and judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--times", type=int, default=60)
    figures = measure(parser.parse_args().times)
    print(json.dumps(figures, indent=2))
    (Path(__file__).parent / "results" / "idle_latency.json").write_text(json.dumps(figures, indent=2) + "\n")
    if figures["p50_added_floor_ratio"] > MOST_RATIO:
        raise SystemExit(f"adds more than {MOST_RATIO:.0f} times the floor")


if __name__ == "__main__":
    main()
