"""The naive Lambda on the local system: deployed on a queue of its own, sent work, and followed by its log."""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
NAME = "naive-worker"
PATIENCE_S = 240.0


class Naive:
    """The naive function. ``lines`` returns a function's log lines with a message that were not returned before."""

    def __init__(self, worker: str, environments: int, lines: Callable[[str, str], list[dict[str, Any]]]) -> None:
        """Deploy it with what Sluice's ``worker`` has of packages, memory and addresses."""
        self._new_lines = lines
        self._functions: Any = boto3.client("lambda")
        self._sqs: Any = boto3.client("sqs")
        self._url = self._deploy(worker, environments)

    def _deploy(self, worker: str, environments: int) -> str:
        build = ROOT / ".aws-sam" / "build" / "WorkerFunction"
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(build.rglob("*")):
                if path.is_file() and path.relative_to(build).parts[0] not in ("functions", "shared"):
                    archive.write(path, path.relative_to(build))
            archive.write(ROOT / "benchmarks" / "naive" / "handler.py", "handler.py")
        boto3.client("dynamodb").create_table(
            TableName=NAME,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
        found = self._functions.get_function_configuration(FunctionName=worker)
        kept = {
            name: value
            for name, value in found["Environment"]["Variables"].items()
            if name.startswith(("OPENAI_", "AWS_ENDPOINT"))
        }
        self._functions.create_function(
            FunctionName=NAME,
            Runtime=found["Runtime"],
            Role=found["Role"],
            Handler="handler.handler",
            Code={"ZipFile": code.getvalue()},
            Timeout=120,
            MemorySize=found["MemorySize"],
            Environment={"Variables": kept | {"TABLE": NAME}},
        )
        boto3.client("logs").create_log_group(logGroupName=f"/aws/lambda/{NAME}")
        url = str(self._sqs.create_queue(QueueName=NAME, Attributes={"VisibilityTimeout": "120"})["QueueUrl"])
        arn = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self._functions.create_event_source_mapping(
            EventSourceArn=arn, FunctionName=NAME, BatchSize=1, ScalingConfig={"MaximumConcurrency": environments}
        )
        return url

    def send(self, asked: list[float]) -> None:
        """Ask for runs of so many seconds."""
        for n, length in enumerate(asked):
            body = {"id": f"{time.time_ns()}", "message": f"[[sim latency={length} words=5]] {n}"}
            self._sqs.send_message(QueueUrl=self._url, MessageBody=json.dumps(body))

    def lines(self, wanted: int) -> list[dict[str, Any]]:
        """Wait for so many invocations."""
        lines: list[dict[str, Any]] = []
        give_up = time.monotonic() + PATIENCE_S
        while len(lines) < wanted:
            if time.monotonic() > give_up:
                raise SystemExit(f"the naive function ended {len(lines)} of {wanted} runs")
            time.sleep(1)
            lines += self._new_lines(NAME, "done")
        return lines
