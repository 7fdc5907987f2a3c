"""A file at both limits (200 MB, 50,000 lines), on the running local system: time and memory of what reads it.

The file is announced, put to S3, and a batch of it is begun. Counted are the seconds until it has been read through
and its lines would run, and the most memory that a process of the API function ever had (`VmHWM`): the function reads
the file by ranges, so this must not grow with the file. Then the batch is cancelled, which writes an answer for each
of its lines. A file of one byte more, and one of a line more, are to be refused.

    make up && python -m benchmarks.large_file            (--lines 34: few lines, as long as lines may be)

Exits non-zero where a file at the limit is not taken, one above it is, or the peak is above half of the function's
memory.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import openai

from localstack.environ import outputs, use
from shared.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY_MB = 1024
"""What the template gives the API function (`ApiMemory`)."""
MOST_PART = 0.5
ENDED = ("completed", "failed", "expired", "cancelled")
SECONDS = 300.0


def content(size: int, lines: int) -> bytes:
    """Return so many lines, of so many bytes in all."""
    return b"".join(_lines(size, lines))


def _lines(size: int, lines: int) -> Iterator[bytes]:
    each = size // lines
    for n in range(lines):
        length = each - 1 if n < lines - 1 else size - each * (lines - 1)
        body = {"model": "gpt-4o-mini", "input": "@"}
        row = json.dumps({"custom_id": f"n{n}", "method": "POST", "url": "/v1/responses", "body": body})
        yield row.replace("@", "x" * (length - len(row) + 1)).encode()
        if n < lines - 1:
            yield b"\n"


def peak_mb() -> float:
    """Return the most memory that any process of the API function has had so far, MB; 0: none runs."""
    most = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = (status.parent / "cmdline").read_text()
            if "lambda-sluice-ApiFunction" in command and (found := re.search(r"VmHWM:\s+(\d+)", status.read_text())):
                most = max(most, int(found[1]) / 1024)
        except OSError:  # it ended meanwhile
            continue
    return most


def until(client: openai.OpenAI, batch: Any, statuses: tuple[str, ...]) -> Any:
    """Wait until a batch has one of these statuses.

    Raises:
        SystemExit: it takes too long.
    """
    give_up = time.monotonic() + SECONDS
    while batch.status not in statuses:
        if time.monotonic() > give_up:
            raise SystemExit(f"the batch stays {batch.status}")
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    return batch


class Limits:
    """A user who sends files at the limits."""

    def __init__(self, found: dict[str, Any]) -> None:
        """Talk to the API."""
        key = found["api_keys"]["load"]
        self.http = httpx2.Client(base_url=found["api_url"], headers={"Authorization": f"Bearer {key}"}, timeout=60)
        self.client = openai.OpenAI(base_url=found["openai_base_url"], api_key=key)

    def announced(self, size: int) -> Any:
        """Announce a file."""
        return self.http.post("/v1/files", json={"filename": "lines.jsonl", "purpose": "batch", "bytes": size})

    def begun(self, data: bytes) -> Any:
        """Put a file to S3 and begin a batch of it."""
        made = self.announced(len(data)).raise_for_status().json()
        httpx2.put(made["upload_url"], content=data, timeout=300).raise_for_status()
        return self.client.batches.create(
            input_file_id=made["id"], endpoint="/v1/responses", completion_window="24h", metadata={"file": made["id"]}
        )


def measure(lines: int) -> dict[str, Any]:
    """Send files at the limits and above them; returns the figures."""
    found = outputs()
    use(found)
    size, user = settings().max_file_bytes, Limits(found)
    data = content(size, lines)
    began = time.monotonic()
    batch = user.begun(data)
    put_s = time.monotonic() - began
    began = time.monotonic()
    batch = until(user.client, batch, (*ENDED, "in_progress"))
    figures: dict[str, Any] = {"bytes": size, "lines": lines, "put_s": round(put_s, 1), "taken": batch.status}
    figures |= {"read_through_s": round(time.monotonic() - began, 1), "peak_mb": round(peak_mb())}
    user.client.batches.cancel(batch.id)
    began = time.monotonic()
    batch = until(user.client, batch, ENDED)
    counts = batch.request_counts
    figures |= {"cancelled_s": round(time.monotonic() - began, 1), "peak_with_cancel_mb": round(peak_mb())}
    figures["lines_told"] = counts.completed + counts.failed
    refused = user.announced(size + 1)
    figures["a_byte_more"] = f"{refused.status_code} {refused.json()['error']['code']}"
    more = settings().max_batch_lines + 1
    over = until(user.client, user.begun(content(200 * more, more)), (*ENDED, "in_progress"))
    figures["a_line_more"] = f"{over.status} {over.errors.data[0].code if over.errors else ''}"
    return figures


def main() -> None:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--lines", type=int, default=50_000)
    figures = measure(parser.parse_args().lines)
    print(json.dumps(figures, indent=2))
    told = (figures["taken"], figures["lines_told"], figures["a_byte_more"][:1], figures["a_line_more"])
    if told != ("in_progress", figures["lines"], "4", "failed too_many_lines"):
        raise SystemExit("a limit is not where it should be")
    if figures["peak_with_cancel_mb"] > MEMORY_MB * MOST_PART:
        raise SystemExit("the function takes too much memory for its files")


if __name__ == "__main__":
    main()
