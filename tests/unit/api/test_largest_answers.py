"""Every GET of the API, asked for the largest that it can be made to answer: Lambda lets 6 MB through, all counted.

A route that is not in `LARGEST` fails: whoever adds a list says here how its answer is bounded, by building the rows
that the API itself accepts and are the largest. ``\\x01`` takes seven bytes of an answer, a quote four.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from fastapi.routing import APIRoute
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from functions.api.app import app
from functions.api.bulk import validate
from functions.api.contract import requests as schemas
from functions.api.dialect import options, request, runs
from functions.api.door.later import every
from functions.api.read import pending, tree
from functions.api.routes import batches as batch_routes
from functions.api.routes import costs as cost_routes
from functions.api.routes import dashboard, docs
from functions.api.routes import files as file_routes
from functions.api.routes import schedules as schedule_routes
from functions.api.system import costs as cost_pages
from shared import wire
from shared.bulk import files, model
from shared.errors import TooLarge
from shared.limits import operators
from shared.schedules.model import Schedule, row_of
from shared.settings import settings
from shared.tasks import approvals, audit, claims, costs, events, family, settle, store, table
from shared.tasks.items import Attributes, row_key, task_row
from shared.tasks.model import Status, Task, dumps
from sluice.testing.account import REGION
from tests.unit.api.conftest import Api
from tests.unit.api.lambda_call import ask, through_lambda
from tests.unit.tables import TABLE

LARGEST: dict[str, list[Callable[[Api], None]]] = {}
ROUTES = sorted(
    {route.path_format for route in every(app.routes) if isinstance(route, APIRoute) and "GET" in route.methods}
)
CONTROL = "\x01"
ERROR = {"code": CONTROL * 100, "message": CONTROL * 500, "type": "server_error"}
"""As long as `functions/worker/run/outcomes.py` lets one be."""
METADATA = {f"{n:02d}".ljust(64, CONTROL): CONTROL * 512 for n in range(schemas.METADATA_PAIRS)}


def largest[F: Callable[[Api], None]](*paths: str) -> Callable[[F], F]:
    """Say that a function asks some routes for the largest that they can answer."""

    def note(function: F) -> F:
        for path in paths:
            LARGEST.setdefault(path, []).append(function)
        return function

    return note


def put(rows: list[Attributes]) -> None:
    """Write many rows, as a request for them would: thousands of them took longer to ask for than to read."""
    backend = dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION]
    for row in rows:
        backend.put_item(TABLE, row)  # refuses what is too large for an item


def large_task(n: int, **more: Any) -> Task:
    """Return a task whose every text is as long as may be."""
    values: dict[str, Any] = {
        "task_id": f"tsk_{n:060d}",
        "user": "demo",
        "key_id": "k" * 64,
        "lane": "quarantine",
        "agent": "a" * 64,
        "model": "m" * schemas.NAME_CHARACTERS,
        "session_id": "s" * schemas.SESSION_CHARACTERS,
        "created": time.time() - n,
        "day": "2026-11-01",
        "excerpt": CONTROL * 200,
        "parent": f"tsk_{n:060d}",
        "error": ERROR,
        "last_error": ERROR,
        "reason": CONTROL * 200,
        "family": "s" * 64 + "#1",
        "status": Status.FAILED,
    }
    return Task(**values | more)


def ended(api: Api, response: str = "ok", *, data: dict[str, Any] | None = None, log: int = 0) -> str:
    """Run a task to its end, with so many events of the largest size; returns its id."""
    task_id: str = api.submit("load", metadata=METADATA).json()["task_id"]
    task = claims.claim(task_id, 0)
    assert isinstance(task, Task)
    for _ in range(0, log, 3):
        batch = [events.Event("token", time.time(), {"text": CONTROL * 16_000}) for _ in range(3)]
        op, task.last_seq = events.append_op(task, batch, expires=time.time() + 999)
        moved = table.update_op(row_key(task_id), sets={"last_seq": task.last_seq})
        table.transact([op, moved])
    settle.settle(task, settle.Outcome(status=Status.COMPLETE, response=response, data=data), message="hi")
    return task_id


FULL = {"response": '"' * 999_000, "data": {"rows": "x" * 1_000_000}}
"""A result that only just stands in its answer."""


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_is_bounded(path: str) -> None:
    assert path in LARGEST, f"say how the answer of GET {path} is bounded: add its largest one here"


def test_no_route_is_named_that_there_is_not() -> None:
    assert not LARGEST.keys() - set(ROUTES)


# ---- tasks


@largest("/agent", "/operator/tasks")
def _of_tasks(api: Api) -> None:
    put([task_row(large_task(n), due_at=0) for n in range(schemas.PAGE_TASKS)])
    found, size = through_lambda(api, "/agent", f"limit={schemas.PAGE_TASKS}")
    assert len(found["tasks"]) == schemas.PAGE_TASKS
    assert size > 500_000, "the rows are large"
    found, _ = through_lambda(api, "/operator/tasks", f"limit={schemas.PAGE_TASKS}", who="operator")
    assert len(found["tasks"]) == schemas.PAGE_TASKS


@largest("/result/{task_id}", "/operator/tasks/{task_id}", "/v1/responses/{response_id}")
def _of_a_result(api: Api) -> None:
    task_id = ended(api, FULL["response"], data=FULL["data"])
    found, size = through_lambda(api, f"/result/{task_id}", who="load")
    assert found["result"]["response"] == FULL["response"]
    assert found["result"]["data"] == FULL["data"]
    assert size > 4_900_000
    through_lambda(api, f"/v1/responses/resp_{task_id}", who="load")
    found, _ = through_lambda(api, f"/operator/tasks/{task_id}", who="operator")
    assert found["message"] == "hi"


@largest(
    "/v1/chat/completions",
    "/v1/chat/completions/{completion_id}",
    "/v1/chat/completions/{completion_id}/messages",
)
def _of_stored_completions(api: Api) -> None:
    text, image = CONTROL * 40_000, "data:image/png;base64," + "A" * 5_200_000
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": image}}]
    said = [{"role": "user", "content": "first"}, {"role": "user", "content": parts}]
    function = {"name": "f", "description": CONTROL * 4_000, "parameters": {}}
    schema = {"name": "n", "description": CONTROL * 4_000, "schema": {}}
    asked = {"messages": said, "tools": [{"type": "function", "function": function}], "metadata": METADATA}
    asked["response_format"] = {"type": "json_schema", "json_schema": schema}
    for _ in range(2):
        with patch.object(runs, "MAX_WAIT_SECONDS", 0), patch.object(runs, "streams", lambda _: False):
            made = api.post("/v1/chat/completions", "load", model="sim-small", store=True, **asked)
        assert made.status_code == 504, made.text
        task_id = made.headers["x-sluice-task-id"]
        task = claims.claim(task_id, 0)
        assert isinstance(task, Task)
        settle.settle(task, settle.Outcome(status=Status.COMPLETE, **FULL), message="hi")
    path = "/v1/chat/completions"
    found, _ = through_lambda(api, path, who="load")
    assert (len(found["data"]), found["has_more"]) == (1, True)
    found, _ = through_lambda(api, f"{path}/chatcmpl-{task_id}", who="load")
    assert found["choices"][0]["message"]["content"] == FULL["response"]
    found, size = through_lambda(api, f"{path}/chatcmpl-{task_id}/messages", "order=desc", who="load")
    assert found["data"][0]["content_parts"][0]["text"] == text
    assert size > 5_700_000


@largest("/operator/tasks/{task_id}")
def _of_a_message_beside_a_full_result(api: Api) -> None:
    image = "data:image/png;base64," + "A" * 4_000_000
    said = [{"role": "user", "content": [{"type": "input_image", "image_url": image}]}]
    made = api.post("/v1/responses", "load", input=said, background=True)
    task_id = made.json()["id"].removeprefix("resp_")
    found, size = through_lambda(api, f"/operator/tasks/{task_id}", who="operator")
    assert found["message"] is None
    assert found["message_bytes"] > 4_000_000
    assert f"/tasks/{task_id}/message/" in found["message_url"]
    assert size < 100_000
    small = api.submit("load", message=CONTROL * 200_000).json()["task_id"]
    found, _ = through_lambda(api, f"/operator/tasks/{small}", who="operator")
    assert found["message"] == CONTROL * 200_000


@largest("/result/{task_id}", "/operator/tasks/{task_id}")
def _of_a_tree_beside_a_full_result(api: Api) -> None:
    task_id = ended(api, FULL["response"], data=FULL["data"])
    group = family.Group("map", 1, 1_000)
    where = {"pk": row_key(task_id)["pk"], "sk": {"S": f"{family.GROUP}{group.key}"}}
    put([where | {"total": {"N": "1000"}, "micro_usd": {"N": "0"}}])
    table.update(table.update_op(row_key(task_id), sets={"children": 1_000}))
    ids = family.ids(task_id, group)
    put([task_row(large_task(n, task_id=one, user="load"), due_at=0) for n, one in enumerate(ids)])
    for path, who in ((f"/result/{task_id}", "load"), (f"/operator/tasks/{task_id}", "operator")):
        found, _ = through_lambda(api, path, "tree=1", who=who)
        assert found["result"]["response"] == FULL["response"]
        assert found["tree"]["more"]
        assert 10 < found["tree"]["runs"] < 1_000
        assert len(found["tree"]["root"]["children"]) == found["tree"]["runs"] - 1


@largest("/result/{task_id}/events", "/operator/tasks/{task_id}/events")
def _of_events(api: Api) -> None:
    task_id = ended(api, log=90)
    for path, who in ((f"/result/{task_id}/events", "load"), (f"/operator/tasks/{task_id}/events", "operator")):
        seen: list[int] = []
        found: dict[str, Any] = {"has_more": True}
        pages = 0
        while found.get("has_more"):
            found, size = through_lambda(api, path, f"after={seen[-1] if seen else 0}", who=who)
            seen += [event["seq"] for event in found["events"]]
            pages += 1
            assert size > 5_000_000 or "has_more" not in found
        assert (seen, pages) == ([*range(1, 93)], 2)
        assert found["status"] == "complete"


@largest("/result/{task_id}/stream")
def _of_a_stream(api: Api) -> None:
    ask(api, f"/result/{ended(api)}/stream", who="load", status=400)  # a function that streams has no such limit


# ---- approvals


def waiting(n: int, waits: int, **asked: Any) -> Task:
    """Return a task that waits for so many approvals."""
    more = {"tool": "t" * 64, "editable": True, "cost_usd": 0.001, "arguments": {"x": CONTROL * 150}} | asked
    stored = [
        {"kind": "approval", "name": f"approval:{m:064d}", "nth": 1, "since": 1.0, "until": 2e9,
         "more": more | {"fingerprint": f"{m:064d}"}}
        for m in range(waits)
    ]  # fmt: skip
    return large_task(n, status=Status.WAITING, waiting_for=stored, error=None, last_error=None)


@largest("/approvals")
def _of_approvals(api: Api) -> None:
    put([task_row(waiting(n, 100), due_at=0) for n in range(60)])
    seen: list[tuple[str, str]] = []
    query, pages = "limit=100", 0
    while query:
        found, _ = through_lambda(api, "/approvals", query)
        seen += [(one["task_id"], one["fingerprint"]) for one in found["approvals"]]
        pages += 1
        query = f"limit=100&cursor={found['next_cursor']}" if found["next_cursor"] else ""
    assert len(seen) == len(set(seen)) == 60 * 100
    assert 1 < pages < 10


@largest("/agent/{task_id}/approvals/{fingerprint}", "/approvals")
def _of_large_arguments(api: Api) -> None:
    tasks = [waiting(n, 1, arguments=None) for n in range(7)]
    put([task_row(task, due_at=0) for task in tasks])
    large, larger = ({"x": '"' * ((wire.ANSWER_BYTES - 20 + more) // 4)} for more in (0, 100))
    medium = {"x": "y" * 2_000_000}
    for task in tasks:
        arguments = large if task is tasks[-1] else medium
        approvals.more_of(task, approvals.Asked("pay", arguments, f"{0:064d}", True, 0))
    one, size = through_lambda(api, f"/agent/{tasks[-1].task_id}/approvals/{0:064d}")
    assert one["arguments"] == large
    assert size > 5_400_000
    found, _ = through_lambda(api, "/approvals", "limit=100")
    assert [one["arguments"] is None for one in found["approvals"]] == [False] * 2 + [True] * 5
    assert found["approvals"][-1]["arguments_bytes"] == len(dumps(large))
    with pytest.raises(TooLarge, match="may take 5500000 bytes of an answer"):
        approvals.more_of(tasks[0], approvals.Asked("pay", larger, "f", True, 0))


def test_a_page_of_approvals_reads_so_many_arguments_and_ends_between_two_tasks(api: Api) -> None:
    tasks = [waiting(n, 3, arguments=None) for n in range(3)]
    for task in tasks:
        for one in task.waiting_for:
            mark = one["more"]["fingerprint"]
            approvals.more_of(task, approvals.Asked("pay", {"x": "y" * 2_000}, mark, True, 0))
    page = pending.Page(reads=6)
    assert [page.take(task) for task in tasks] == [True, True, False]
    assert len(page.shown) == 6
    page = pending.Page(most_bytes=1)
    assert page.take(tasks[0]), "the first task's always fit"
    assert not page.take(tasks[1])
    assert {one["arguments"] for one in page.shown} == {None}


# ---- schedules, sessions, conversations


@largest("/schedules", "/schedules/{schedule_id}")
def _of_schedules(api: Api) -> None:
    run = {"message": '"' * (schedule_routes.RUN_BYTES // 2 - 20)}
    assert len(dumps(run).encode()) <= schedule_routes.RUN_BYTES < len(dumps(run).encode()) + 30
    made = [
        Schedule(schedule_id=f"sch_{n:032d}", user="demo", key="k", created=1.0, run=run, cron="0 8 * * *",
                 name=CONTROL * 100, next_at=2e9, last={"error": ERROR})
        for n in range(20)
    ]  # fmt: skip
    put([row_of(one, due_at=0) for one in made])
    seen: list[str] = []
    query, pages = f"limit={schedule_routes.PAGE}", 0
    while query:
        found, _ = through_lambda(api, "/schedules", query)
        seen += [one["schedule_id"] for one in found["schedules"]]
        pages += 1
        query = f"limit={schedule_routes.PAGE}&cursor={found['next_cursor']}" if found["next_cursor"] else ""
    assert seen == [one.schedule_id for one in made]
    assert pages > 1
    found, size = through_lambda(api, f"/schedules/{seen[0]}")
    assert found["run"] == run
    assert size > 500_000


@largest("/sessions/{session_id}")
def _of_a_session(api: Api) -> None:
    from tests.unit.api import test_bounded

    test_bounded.test_a_conversation_is_paged_by_bytes(api)


@largest(
    "/v1/conversations/{conversation_id}",
    "/v1/conversations/{conversation_id}/items",
    "/v1/conversations/{conversation_id}/items/{item_id}",
)
def _of_a_conversation(api: Api) -> None:
    most = (wire.ALONE_BYTES - 1_000) // 7
    item = {"role": "user", "content": CONTROL * most}
    made = api.post("/v1/conversations", items=[item], metadata=METADATA).json()
    path = f"/v1/conversations/{made['id']}"
    assert through_lambda(api, path)[0]["metadata"] == METADATA
    for _ in range(2):
        assert api.post(f"{path}/items", items=[item]).status_code == 200
    found, size = through_lambda(api, f"{path}/items", "limit=100")
    assert (len(found["data"]), found["has_more"]) == (1, True)
    assert size > 6_000_000
    one, _ = through_lambda(api, f"{path}/items/{found['last_id']}")
    assert one["content"][0]["text"] == item["content"]
    refused = api.post(f"{path}/items", items=[item | {"content": CONTROL * (most + 300)}])
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "too_large")
    refused = api.post("/v1/conversations", items=[item | {"content": CONTROL * (most + 300)}])
    assert refused.json()["error"]["code"] == "too_large"


@largest("/v1/responses/{response_id}", "/v1/responses/{response_id}/input_items")
def _of_an_input(api: Api) -> None:
    image = "data:image/png;base64," + "A" * ((runs.INLINE_BYTES - 22) // 4 * 4)
    parts = [{"type": "input_text", "text": '"' * 127_000}, {"type": "input_image", "image_url": image}]
    tools = [{"type": "function", "name": "f", "parameters": {"x": '"' * (request.TOOLS_BYTES // 2 - 100)}}]
    asked = {
        "input": [{"role": "user", "content": parts}],
        "instructions": CONTROL * request.INSTRUCTIONS_BYTES,
        "metadata": METADATA,
        "tools": tools,
        "text": {
            "format": {"type": "json_schema", "name": "n", "schema": {"x": '"' * (options.OPTIONS_BYTES // 2 - 100)}}
        },
        "background": True,
    }
    made = api.post("/v1/responses", "load", **asked)
    assert made.status_code == 200, made.text[:300]
    row = table.get(row_key(made.json()["id"].removeprefix("resp_")))
    assert row is not None
    stored = sum(len(f"{name}{next(iter(value.values()))}".encode()) for name, value in row.items())
    assert 370_000 < stored < 400_000, "an item of DynamoDB holds 409,600 bytes"
    found, size = through_lambda(api, f"/v1/responses/{made.json()['id']}", who="load")
    assert 300_000 < size < wire.LAMBDA_BYTES - wire.ANSWER_BYTES, "it stands beside a full result"
    assert found["instructions"] == asked["instructions"]
    found, size = through_lambda(api, f"/v1/responses/{made.json()['id']}/input_items", who="load")
    assert found["data"][0]["content"][1]["image_url"] == image
    quoted = [{"type": "input_image", "image_url": "https://a.b/" + chr(34) * 2_500_000}]
    refused = api.post("/v1/responses", "load", input=[{"role": "user", "content": quoted}], background=True)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "too_large")


@largest("/v1/responses/{response_id}/input_items", "/v1/chat/completions/{completion_id}/messages")
def _of_a_long_conversation(api: Api) -> None:
    said = [{"role": "user", "content": mark * (schemas.CONVERSATION_BYTES // 4 - 100)} for mark in ('"', "\\")]
    made = api.post("/v1/responses", "load", input=said, background=True).json()
    found, size = through_lambda(api, f"/v1/responses/{made['id']}/input_items", "order=asc", who="load")
    assert [one["content"][0]["text"] for one in found["data"]] == [one["content"] for one in said]
    assert size > 2_000_000
    with patch.object(runs, "life", lambda _: 0.0):
        answer = api.post("/v1/chat/completions", "load", messages=said, store=True)
    task_id = answer.headers["x-sluice-task-id"]
    settle.settle(claims.claim(task_id, 0), settle.Outcome(status=Status.COMPLETE, response="yes"))  # type: ignore[arg-type]
    found, _ = through_lambda(api, f"/v1/chat/completions/chatcmpl-{task_id}/messages", who="load")
    assert [one["content"] for one in found["data"]] == [one["content"] for one in said]


def test_instructions_are_bounded_wherever_they_are_given(api: Api) -> None:
    for path in ("/v1/responses", "/v1/responses/compact"):
        refused = api.post(path, "load", input="hi", instructions="é" * (request.INSTRUCTIONS_BYTES // 2 + 1))
        assert refused.status_code == 400, path
        assert "instructions" in refused.text


# ---- files and batches


@largest("/v1/files", "/v1/files/{file_id}")
def _of_files(api: Api) -> None:
    name = "😀" * file_routes.NAME_CHARACTERS
    made = [
        files.File(file_id=f"file-{n:059d}", user="demo", filename=name, purpose="batch", size=1, made_at=1.0,
                   expires_at=2e10, state="error", why=f"{10**9} bytes were announced, and {10**9} came")
        for n in range(4_500)
    ]  # fmt: skip
    put([files.row_op(one)["Put"]["Item"] for one in made])
    found, size = through_lambda(api, "/v1/files")
    assert found["has_more"]
    assert size > 5_000_000
    rest, _ = through_lambda(api, "/v1/files", f"after={found['last_id']}")
    assert not rest["has_more"]
    assert [one["id"] for one in found["data"] + rest["data"]] == [one.file_id for one in reversed(made)]
    through_lambda(api, f"/v1/files/{made[0].file_id}")


@largest("/v1/files/{file_id}/content")
def _of_a_content(api: Api) -> None:
    for size, status in ((file_routes.CONTENT_BYTES, 200), (file_routes.CONTENT_BYTES + 1, 302)):
        file = files.File(
            file_id=f"file-{size:059d}",
            user="demo",
            filename="f",
            purpose="batch",
            size=size,
            made_at=1,
            expires_at=2e10,
        )
        files.store(file, b"\xff" * size)
        _, whole = ask(api, f"/v1/files/{file.file_id}/content", status=status)
        assert (whole > 5_000_000) == (status == 200)


@largest("/v1/batches", "/v1/batches/{batch_id}")
def _of_batches(api: Api) -> None:
    fault = {"code": "missing_required_parameter", "line": 10**9, "message": "x" * 100, "param": "custom_id"}
    made = [
        model.Batch(batch_id=f"batch_{n:058d}", user="demo", key="k", endpoint="/v1/responses", file_id="f" * 64,
                    made_at=1.0, metadata=METADATA, status="failed", errors=[fault] * validate.ERRORS)
        for n in range(batch_routes.PAGE)
    ]  # fmt: skip
    put([model.row_of(one, due_at=0) for one in made])
    found, size = through_lambda(api, "/v1/batches", f"limit={batch_routes.PAGE}")
    assert found["has_more"]
    assert size > 5_000_000
    rest, _ = through_lambda(api, "/v1/batches", f"limit={batch_routes.PAGE}&after={found['last_id']}")
    assert not rest["has_more"]
    assert [one["id"] for one in found["data"] + rest["data"]] == [one.batch_id for one in reversed(made)]
    through_lambda(api, f"/v1/batches/{made[0].batch_id}")


# ---- what no tenant can make large


@largest("/v1/models", "/v1/models/{model}")
def _of_models(api: Api) -> None:
    patch = pytest.MonkeyPatch()
    names = [f"{n:06d}".rjust(40, "m") for n in range(operators.OBJECT_BYTES // 45)]
    try:
        patch.setattr(operators, "priced", lambda: tuple(names))
        found, size = through_lambda(api, "/v1/models", who="load")
    finally:
        patch.undo()
    assert len(found["data"]) < len(names)
    assert size > 5_000_000
    through_lambda(api, f"/v1/models/{settings().default_model}", who="load")


@largest("/costs")
def _of_costs(_: Api) -> None:
    groups = {f"{n:04d}" * 50: costs.Cost(10**15, 10**15, 10**12) for n in range(cost_routes.MOST_GROUPS + 1)}
    for by in ("user", "model", "agent", "key", "day"):
        page = cost_pages.page(groups, by, limit=cost_routes.MOST_GROUPS, start=0)
        assert len(page["groups"]) == cost_routes.MOST_GROUPS
        assert wire.wire_bytes(page) < wire.ANSWER_BYTES


@largest("/operator/audit")
def _of_acts(api: Api) -> None:
    for n in range(schemas.PAGE_TASKS):
        audit.note("o" * 64, "k" * 64, "answer allow", f"tsk_{n:060d}", "u" * 200)
    found, _ = through_lambda(api, "/operator/audit", f"limit={schemas.PAGE_TASKS}", who="operator")
    assert len(found["acts"]) == schemas.PAGE_TASKS


@largest("/me/credentials", "/me/alerts")
def _of_addresses(api: Api) -> None:
    url = "https://example.com/".ljust(2048, "x")
    head = api.head("demo")
    for path, body in (
        ("/me/credentials", {"api_key": "k" * 512, "base_url": url}),
        ("/me/alerts", {"webhook_url": url}),
    ):
        assert api.client.put(path, json=body, headers=head).status_code == 200, path
        through_lambda(api, path)


@largest("/limits", "/stats", "/health")
def _of_the_system(api: Api) -> None:
    through_lambda(api, "/limits")
    through_lambda(api, "/health")
    _, size = through_lambda(api, "/stats", "history=1", who="operator")
    assert size < 1_000_000


@largest("/stats/past")
def _of_past_hours(api: Api) -> None:
    failed = [large_task(n, error=ERROR | {"code": f"{n:02d}".ljust(100, CONTROL)}) for n in range(20)]
    put([task_row(task, due_at=0) for task in failed])
    found, size = through_lambda(api, "/stats/past", "hours=24", who="operator")
    assert size * len(found["stretches"]) < wire.ANSWER_BYTES, "though all of them were as large as the newest"


@largest("/", "/dashboard/{asked}/{name}", "/docs", "/docs/{name}", "/openapi.json")
def _of_pages(api: Api) -> None:
    ask(api, "/")
    for path in ("/docs", "/openapi.json", *(f"/docs/{name}" for name in docs._SWAGGER)):
        ask(api, path)
    for name in (*dashboard.joined(), *dashboard.files()):
        ask(api, f"/dashboard/{dashboard.version()}/{name}")


def test_a_tree_has_its_own_run_however_little_room_there_is(api: Api) -> None:
    task = store.get(api.submit("load").json()["task_id"])
    found = tree.of(task, most_bytes=1)
    assert (found["runs"], found["root"]["task_id"], found["more"]) == (1, task.task_id, False)


@pytest.mark.parametrize("asked", sorted({asked.__name__ for each in LARGEST.values() for asked in each}))
def test_the_largest_answers_fit(asked: str, api: Api) -> None:
    globals()[asked](api)
