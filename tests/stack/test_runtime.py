"""Every function starts from its own built bundle under Lambda's own runtime and does its work."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest

from deploy.bundle import FUNCTIONS
from deploy.stack import BUILT, read_template
from localstack.emulator import Emulated, binary, emulated
from localstack.environ import CREDENTIALS, ROOT, LocalError
from shared import webhooks
from shared.clock import day
from shared.tasks import claims, lanes, store, table
from shared.tasks.items import row_key
from shared.tasks.model import Status, Task
from tests.stack_fixture import Stack

RESOURCES = read_template(ROOT / "template.yaml")["Resources"]
Start = Callable[..., Emulated]
NAMES = {"StreamingFunction": "streaming"}
"""What the outputs call a function whose package is another's, too."""


@pytest.fixture
def start(stack: Stack, tmp_path: Path) -> Iterator[Start]:
    """Start functions as they are deployed, by their logical id; they end with the test."""
    try:
        binary()
    except LocalError as error:
        pytest.skip(str(error))
    stack.use()
    started = ExitStack()

    def make(logical: str, **variables: str) -> Emulated:
        deployed: Any = boto3.client("lambda").get_function_configuration(
            FunctionName=stack.outputs["functions"][NAMES.get(logical, FUNCTIONS[logical][0])]
        )
        everything = deployed["Environment"]["Variables"] | CREDENTIALS | variables
        everything["AWS_ENDPOINT_URL"] = stack.outputs["aws_endpoint_url"]
        handler = RESOURCES[logical]["Properties"]["Handler"]
        log = tmp_path / f"{logical}.log"
        return started.enter_context(emulated(handler, BUILT / logical, everything, log, timeout_s=deployed["Timeout"]))

    yield make
    started.close()


def request(method: str, path: str, key: str = "", body: dict[str, Any] | None = None) -> dict[str, Any]:
    """An HTTP API's event, payload format 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"authorization": f"Bearer {key}", "content-type": "application/json", "host": "api.example"},
        "requestContext": {
            "http": {"method": method, "path": path, "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1", "userAgent": "t"},
            "stage": "$default",
            "requestId": "1",
            "timeEpoch": int(time.time() * 1000),
        },
        "isBase64Encoded": False,
        "body": json.dumps(body) if body else None,
    }


def a_task(message: str = "[[sim words=3]] hi", **values: Any) -> Task:
    """A queued task that has no message yet."""
    at = time.time()
    known: dict[str, Any] = {
        "task_id": f"task_{uuid.uuid4().hex}", "user": "load", "lane": "quarantine", "agent": "chat", "tier": "load",
        "model": "gpt-4o-mini", "created": at, "day": day(at), "reserved_tokens": 9_000, "reserved_micro_usd": 9_000,
    }  # fmt: skip
    return store.submit(Task(**(known | values)), message)


def record(body: str, url: str, receipt: str = "none") -> dict[str, Any]:
    return {
        "messageId": str(uuid.uuid4()),
        "receiptHandle": receipt,
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:{url.rsplit('/', 1)[-1]}",
    }


def loggers(function: Emulated) -> set[str]:
    """Who wrote to the log: each line of a library's would be paid for."""
    lines = [json.loads(line) for line in function.printed().splitlines() if line.startswith("{")]
    return {line["logger"] for line in lines if "logger" in line}


def test_every_function_is_started_by_a_test_here() -> None:
    here = Path(__file__).read_text()
    assert [name for name in FUNCTIONS if f'start("{name}"' not in here] == []


def test_api(stack: Stack, start: Start) -> None:
    api = start("ApiFunction")
    assert api.invoke(request("GET", "/health"))["statusCode"] == 200
    accepted = api.invoke(request("POST", "/agent", stack.keys["load"], {"message": "[[sim words=3]] hi"}))
    assert accepted["statusCode"] == 202
    task_id = json.loads(accepted["body"])["task_id"]
    assert stack.result(task_id)["status"] == "complete"  # the deployed worker ran it
    assert (
        json.loads(api.invoke(request("GET", f"/result/{task_id}", stack.keys["load"]))["body"])["status"] == "complete"
    )
    assert api.invoke(request("GET", f"/result/{task_id}", "nobody"))["statusCode"] == 401
    assert loggers(api) == {"sluice.api"}


def test_streaming(stack: Stack, start: Start) -> None:
    streaming = start("StreamingFunction")
    task_id = stack.submit("[[sim words=3]] hi")
    stack.result(task_id)
    answer = streaming.call(request("GET", f"/result/{task_id}/stream", stack.keys["load"]))
    head, _, body = answer.partition(b"\0" * 8)
    assert (json.loads(head)["statusCode"], json.loads(head)["headers"]["content-type"].partition(";")[0]) == (
        200,
        "text/event-stream",
    )
    events = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
    assert events[:-1] == stack.events(task_id)
    assert events[-1]["status"] == "complete"


def test_worker(stack: Stack, start: Start) -> None:
    sqs: Any = boto3.client("sqs")
    # A queue that no poller of the stack looks at: this function is the only worker there.
    url = sqs.create_queue(QueueName=f"runtime-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    worker = start("WorkerFunction", QUEUE_URL_QUARANTINE=url, REFILL_SECONDS="0")
    for _ in range(2):  # the second time in the same environment: the loop and the pools live on
        task = a_task('[[sim tool=calculator args={"expression": "6*7"}]] what is it?', agent="tools")
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"v": lanes.VERSION, "task_id": task.task_id, "gen": 0}))
        (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
        event = {"Records": [record(message["Body"], url, message["ReceiptHandle"])]}
        assert worker.invoke(event) == {"batchItemFailures": []}, worker.printed()
        assert "42" in stack.result(task.task_id)["result"]["response"]
    sqs.delete_queue(QueueUrl=url)
    assert loggers(worker) == {"sluice.runner", "sluice.batch"}


def test_dead_letter(stack: Stack, start: Start) -> None:
    function = start("DeadLetterFunction")
    function.invoke({"Records": []})  # loaded before the lease has lapsed: the deployed sweeper sends such a task again
    task = a_task()
    assert isinstance(claims.claim(task.task_id, 0), Task)  # by a worker that died: its lease has lapsed
    table.update(table.update_op(row_key(task.task_id), sets={"lease_until": time.time() - 600}))
    body = json.dumps({"v": lanes.VERSION, "task_id": task.task_id, "gen": 0})
    assert function.invoke({"Records": [record(body, stack.outputs["queues"]["normal_dlq"])]}) == {
        "batchItemFailures": []
    }
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    assert (row.error or {})["code"] == "dead_letter"


def test_sweeper(start: Start) -> None:
    done = start("SweeperFunction").invoke({})
    assert done
    assert all(isinstance(number, int) for number in done.values())


def test_scaler(start: Start) -> None:
    done = start("ScalerFunction").invoke({})
    assert set(done["targets"]) == {"high", "normal"}
    assert done["failed"] == []


def test_stream(start: Start) -> None:
    stream = start("StreamFunction")
    asked = {"connectionId": "nobody=", "routeKey": "$connect"}
    event = {"requestContext": asked, "queryStringParameters": {"ticket": "no such ticket"}}
    assert stream.invoke(event) == {"statusCode": 401}
    assert stream.invoke({"requestContext": asked | {"routeKey": "$disconnect"}}) == {"statusCode": 200}


def test_webhook(stack: Stack, start: Start) -> None:
    webhook = start("WebhookFunction")
    at = time.time()
    due = {"v": webhooks.VERSION, "task_id": "task_none", "type": "task.complete", "url": "https://a.example/hook"}
    records = [
        record(json.dumps(due | {"attempt": 1, "first": at, "due": at}), stack.outputs["queues"]["webhook"]),
        record("no delivery", stack.outputs["queues"]["webhook"]),
    ]
    kept = webhook.invoke({"Records": records})["batchItemFailures"]
    assert kept == [{"itemIdentifier": records[1]["messageId"]}], webhook.printed()
