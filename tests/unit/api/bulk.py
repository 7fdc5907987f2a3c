"""Batches in tests: files of lines, somebody who looks at batches, and workers that end what they find."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from functions.api.bulk import looking
from functions.api.door.gate import gate
from shared.bulk import files, model, objects, store
from shared.bulk.model import Batch
from shared.tasks import aftermath, claims, listing, settle
from shared.tasks import store as tasks
from shared.tasks.model import Status, Task, Usage

RESPONSES, CHAT = "/v1/responses", "/v1/chat/completions"


def line(custom_id: Any, url: str = RESPONSES, *, method: Any = "POST", **body: Any) -> str:
    """Return a line of a batch's file."""
    if url == CHAT:
        body = {"messages": [{"role": "user", "content": f"hello {custom_id}"}]} | body
    else:
        body = {"input": f"hello {custom_id}"} | body
    body = {"model": "gpt-4o-mini"} | body
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": body})


def begin(user: str, key: str, lines: list[str], endpoint: str = RESPONSES) -> Batch:
    """Make a file and a batch of it, as the API does."""
    from shared.clock import now
    from shared.limits import keys

    content = "\n".join(lines).encode()
    file = files.make(user, filename="lines", purpose=files.INPUT, size=len(content), state="processed")
    files.store(file, content)
    made = Batch(
        batch_id=files.new_id(model.PREFIX),
        user=user,
        key=keys.digest_of(key),
        endpoint=endpoint,
        file_id=file.file_id,
        made_at=now(),
        size=len(content),
    )
    store.create(made)
    return made


def of_batch(batch_id: str) -> list[Task]:
    """Return the tasks of a batch's lines."""
    found, _ = listing.list_tasks(f"BATCH#{batch_id}", limit=100)
    return [tasks.get(str(one["task_id"])) for one in found]


def complete(task: Task, text: str = "done") -> None:
    """Run a task to its end, as a worker does."""
    claimed = claims.claim(task.task_id, task.gen)
    assert isinstance(claimed, Task), claimed
    claimed.input_tokens, claimed.output_tokens, claimed.micro_usd = 3, 4, 50
    claimed.unwritten.append(Usage(3, 4, 50))
    settle.settle(claimed, settle.Outcome(status=Status.COMPLETE, response=text), message="hi")
    aftermath.finished(gate(), claimed)


def work(batch_id: str, end: Callable[[Task], None] = complete) -> int:
    """End every task of a batch that is queued; returns how many."""
    queued = [task for task in of_batch(batch_id) if task.status is Status.QUEUED]
    for task in queued:
        end(task)
    return len(queued)


def carry_out(user: str, batch_id: str, end: Callable[[Task], None] = complete, *, most: int = 60) -> Batch:
    """Look at a batch and end its lines' tasks until it has ended."""
    for _ in range(most):
        looking.look(user, batch_id)
        batch = store.load(user, batch_id)
        if batch.ended:
            return batch
        work(batch_id, end)
    raise AssertionError(f"the batch does not end: {batch}")


def lines_of(user: str, file_id: str) -> list[dict[str, Any]]:
    """Return what stands in a file."""
    return [json.loads(one) for one in objects.read(files.load(user, file_id).key).splitlines()] if file_id else []


def told(batch: Batch) -> Counter[str]:
    """Count the lines that the files of a batch tell of, by ``custom_id``."""
    found = lines_of(batch.user, batch.output_id) + lines_of(batch.user, batch.error_id)
    return Counter(one["custom_id"] for one in found)
