"""Files and batches by the unmodified `openai` package, against the deployed system."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest

from tests.stack_fixture import LASTING, Stack

ENDED = ("completed", "failed", "expired", "cancelled")
PART_BYTES = 4_000_000


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stack.api_url}/v1", api_key=stack.keys["load"]) as made:
        yield made


def lines(number: int, url: str, **body: Any) -> bytes:
    if url == "/v1/responses":
        body = {"input": "[[sim latency=0.1 words=3]] hello"} | body
    else:
        body = {"messages": [{"role": "user", "content": "[[sim latency=0.1 words=3]] hello"}]} | body
    rows = [
        {"custom_id": f"n{n}", "method": "POST", "url": url, "body": {"model": "gpt-4o-mini"} | body}
        for n in range(number)
    ]
    return "\n".join(map(json.dumps, rows)).encode()


def ended(client: openai.OpenAI, batch_id: str, seconds: float = 150) -> Any:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        batch = client.batches.retrieve(batch_id)
        if batch.status in ENDED:
            return batch
        time.sleep(0.5)
    raise AssertionError(f"the batch does not end: {batch}")


@pytest.mark.parametrize(("endpoint", "number"), [("/v1/responses", 60), ("/v1/chat/completions", 20)])
def test_a_batch_is_carried_out(client: openai.OpenAI, endpoint: Any, number: int) -> None:
    file = client.files.create(file=("lines.jsonl", lines(number, endpoint)), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")
    done = ended(client, batch.id)
    assert done.status == "completed"
    assert done.request_counts.to_dict() == {"total": number, "completed": number, "failed": 0}
    rows = [json.loads(one) for one in client.files.content(done.output_file_id).text.splitlines()]
    assert Counter(one["custom_id"] for one in rows) == Counter(f"n{n}" for n in range(number))
    assert {one["response"]["status_code"] for one in rows} == {200}
    assert done.usage.output_tokens == 3 * number
    assert batch.id in [one.id for one in client.batches.list(limit=5)]


def test_a_batch_is_cancelled(client: openai.OpenAI) -> None:
    content = lines(300, "/v1/responses", input=f"[[sim {LASTING}]] hello")
    file = client.files.create(file=("lines.jsonl", content), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h")
    while client.batches.retrieve(batch.id).status == "validating":
        time.sleep(0.2)
    assert client.batches.cancel(batch.id).status == "cancelling"
    done = ended(client, batch.id)
    assert done.status == "cancelled"
    assert done.request_counts.completed + done.request_counts.failed == 300
    errors = [json.loads(one) for one in client.files.content(done.error_file_id).text.splitlines()]
    assert {one["error"]["code"] for one in errors} == {"batch_cancelled"}


def test_a_large_file_goes_to_s3_and_comes_from_there(client: openai.OpenAI, stack: Stack) -> None:
    content = b"0123456789" * 900_000
    asked = {"filename": "large.jsonl", "purpose": "batch", "bytes": len(content)}
    head = {"Authorization": f"Bearer {stack.keys['load']}"}
    made = httpx2.post(f"{stack.api_url}/v1/files", json=asked, headers=head).raise_for_status().json()
    httpx2.put(made["upload_url"], content=content, timeout=60).raise_for_status()
    assert client.files.retrieve(made["id"]).status == "processed"
    assert client.files.content(made["id"]).read() == content
    upload = client.uploads.upload_file_chunked(
        file=content,
        filename="parts.jsonl",
        bytes=len(content),
        mime_type="application/jsonl",
        purpose="batch",
        part_size=PART_BYTES,
    )
    assert upload.file is not None
    assert client.files.content(upload.file.id).read() == content
