"""What a cold start costs beside the least that does the same job, under Lambda's own runtime (`localstack.emulator`).

API, and the streaming function, which is the same application in a runtime loop of our own: from the start of the
runtime to the first answer of `POST /agent`, against a bare FastAPI + Mangum + boto3 + redis function that makes the
same calls. Worker: to the arrival of the first model call, against a bare boto3 + redis +
openai one. Both bare functions have the bundle's own packages, trimmed and compiled alike. Samples alternate. On a
shared machine a run of 11 is coarse: the API's ratio came out as 1.25 in such a run, and as 1.16 and 1.12 in two of 41.

    python -m benchmarks.cold_start [--samples 11]
"""

from __future__ import annotations

import argparse
import json
import py_compile
import shutil
import statistics
import tempfile
import time
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import boto3

from benchmarks.faults.own import own_system
from deploy.stack import BUILT
from localstack.emulator import emulated
from localstack.environ import CREDENTIALS
from shared.clock import day
from shared.tasks import lanes, store
from shared.tasks.model import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
TARGETS = {"api_cold_start_ratio": 1.0, "streaming_cold_start_ratio": 1.0, "worker_cold_start_ratio": 1.0}
REPLY = json.dumps(
    {
        "choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1},
    }
)


class Provider:
    """A model that notes when it is asked."""

    def __init__(self) -> None:
        """Listen on a free port."""
        self.asked_at: list[float] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                provider.asked_at.append(time.perf_counter())
                self.rfile.read(int(self.headers["content-length"]))
                data = f"data: {REPLY}\n\ndata: [DONE]\n\n".encode()
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        Thread(target=self.server.serve_forever, daemon=True).start()


def bare_bundle(of: str, module: str, folder: Path) -> Path:
    """Return a bundle with the packages of a function and none of its code, but a module of `benchmarks.naive`."""
    target = folder / module
    shutil.copytree(
        BUILT / of, target, ignore=lambda path, _: ["functions", "shared"] if Path(path) == BUILT / of else []
    )
    shutil.copy(HERE / "naive" / f"{module}.py", target)
    py_compile.compile(str(target / f"{module}.py"), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    return target


class Bench:
    """The system, and what both sides are given."""

    def __init__(self, outputs: dict[str, Any], folder: Path) -> None:
        """Make queues, bundles and a provider."""
        sqs: Any = boto3.client("sqs")
        self.sqs = sqs
        self.outputs = outputs
        self.folder = folder
        self.provider = Provider()
        # Queues that no poller looks at; the second one is never read.
        self.queue, self.unread = (sqs.create_queue(QueueName=f"cold-{name}")["QueueUrl"] for name in ("worker", "api"))
        self.bundles = {
            "cold_api": bare_bundle("ApiFunction", "cold_api", folder),
            "cold_worker": bare_bundle("WorkerFunction", "cold_worker", folder),
        }

    @contextmanager
    def function(self, handler: str, bundle: Path, like: str) -> Iterator[Any]:
        """Start a function with the deployed one's settings."""
        client: Any = boto3.client("lambda")
        deployed = client.get_function_configuration(FunctionName=self.outputs["functions"][like])
        variables = deployed["Environment"]["Variables"] | CREDENTIALS
        variables |= {
            "AWS_ENDPOINT_URL": self.outputs["aws_endpoint_url"],
            "OPENAI_BASE_URL": self.provider.url,
            "OPENAI_API_KEY": "sk-local",
            "QUEUE_URL_QUARANTINE": self.queue,
            "BARE_QUEUE_URL": self.unread,
            "REFILL_SECONDS": "0",
        }
        with emulated(handler, bundle, variables, self.folder / "log", timeout_s=deployed["Timeout"]) as running:
            yield running

    def api(self, handler: str, bundle: Path, like: str = "api") -> float:
        """Return seconds to the first answer; the emulator starts the runtime with the first call."""
        body = {"message": "[[sim latency=0 words=1]] hi", "session_id": uuid.uuid4().hex}
        headers = {"authorization": f"Bearer {self.outputs['api_keys']['load']}", "content-type": "application/json"}
        http = {"method": "POST", "path": "/agent", "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1", "userAgent": "b"}
        event = {
            "version": "2.0", "routeKey": "$default", "rawPath": "/agent", "rawQueryString": "", "headers": headers,
            "requestContext": {"http": http, "stage": "$default", "requestId": "1", "timeEpoch": 0},
            "isBase64Encoded": False, "body": json.dumps(body),
        }  # fmt: skip
        with self.function(handler, bundle, like) as running:
            began = time.perf_counter()
            answer = running.call(event)  # the streaming function's is no JSON alone
            took = time.perf_counter() - began
        if b"queued" not in answer:
            raise SystemExit(f"{handler} answered {answer!r}")
        return took

    def worker(self, handler: str, bundle: Path) -> float:
        """Return seconds to the arrival of the first model call."""
        at = time.time()
        task = Task(
            task_id=f"task_{uuid.uuid4().hex}", user="load", lane="quarantine", agent="chat", tier="load",
            model="gpt-4o-mini", created=at, day=day(at), reserved_tokens=9_000, reserved_micro_usd=9_000,
            session_id=uuid.uuid4().hex,
        )  # fmt: skip
        store.submit(task, "hi")
        body = json.dumps({"v": lanes.VERSION, "task_id": task.task_id, "gen": 0})
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)
        (message,) = self.sqs.receive_message(QueueUrl=self.queue)["Messages"]
        record = {
            "messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"],
            "attributes": {"ApproximateReceiveCount": "1"},
            "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{self.queue.rsplit('/', 1)[-1]}",
        }  # fmt: skip
        self.provider.asked_at.clear()
        with self.function(handler, bundle, "worker") as running:
            began = time.perf_counter()
            answer = running.invoke({"Records": [record]})
        if answer["batchItemFailures"] or len(self.provider.asked_at) != 1:
            raise SystemExit(f"{handler} answered {answer}")
        self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return self.provider.asked_at[0] - began


def alternate(samples: int, sides: dict[str, Callable[[], float]]) -> dict[str, Any]:
    """Sample the sides in turn; the first round, which warms the disk's cache, does not count."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for round_number in range(samples + 1):
        for name, sample in sides.items():
            took = sample()
            if round_number:
                times[name].append(took)
    return {f"{name}_median_s": round(statistics.median(values), 3) for name, values in times.items()}


def measure(outputs: dict[str, Any], samples: int) -> dict[str, Any]:
    """Measure both functions."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(outputs, Path(folder))
        # Otherwise the runs that the API's samples submit are worked on while the next sample starts.
        client: Any = boto3.client("lambda")
        for mapping in outputs["mappings"].values():
            client.update_event_source_mapping(UUID=mapping, Enabled=False)
        made, api, worker = bench.bundles, BUILT / "ApiFunction", BUILT / "WorkerFunction"
        found = {
            "api": alternate(
                samples,
                {
                    "bare": lambda: bench.api("cold_api.handler", made["cold_api"]),
                    "sluice": lambda: bench.api("functions.api.app.handler", api),
                    "streaming": lambda: bench.api("functions.api.app.handler", api, "streaming"),
                },
            ),
            "worker": alternate(
                samples,
                {
                    "bare": lambda: bench.worker("cold_worker.handler", made["cold_worker"]),
                    "sluice": lambda: bench.worker("functions.worker.handler.handler", worker),
                },
            ),
        }
    ratios = {
        f"{n}_cold_start_ratio": round(one["sluice_median_s"] / one["bare_median_s"], 3) for n, one in found.items()
    }
    ratios["streaming_cold_start_ratio"] = round(found["api"]["streaming_median_s"] / found["api"]["bare_median_s"], 3)
    return {"samples": samples, **found, **ratios, "targets": TARGETS}


def main() -> None:
    """Print the result and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=11)
    asked = parser.parse_args()
    with own_system({}) as (_, outputs):
        found = measure(outputs, asked.samples)
    text = json.dumps(found, indent=2)
    (HERE / "results" / "cold_start.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
