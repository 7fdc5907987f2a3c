"""Batches: a file of requests becomes tasks, a few at a time, and the tasks' ends become files."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from functions.api.app import handler
from functions.api.bulk import feed, lines, looking, making, validate
from functions.api.dialect import response
from shared import clock, valkey
from shared.bulk import assembly, files, pokes, room, store
from shared.bulk.room import Lane, allowance, of_cap
from shared.errors import NotFound
from shared.limits import keys, names
from shared.settings import settings
from shared.tasks import settle, table
from shared.tasks.model import Status, Task
from tests.examples import THOROUGH
from tests.unit.api import bulk
from tests.unit.api.bulk import CHAT, RESPONSES, begin, carry_out, line, lines_of, of_batch, told, work
from tests.unit.api.conftest import Api
from tests.unit.api.test_openai import address, client
from tests.unit.tables import client as aws_client

__all__ = ["address", "client"]


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    yield
    clock.set_ahead(0)


def setting(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    settings.cache_clear()


def slots(n: int) -> None:
    valkey.client().hset(names.LANE_SLOTS, "normal", n)


def upload(client: openai.OpenAI, *rows: str) -> str:
    return client.files.create(file=("lines.jsonl", "\n".join(rows).encode()), purpose="batch").id


@pytest.mark.parametrize("endpoint", [RESPONSES, CHAT])
def test_a_batch_runs_its_lines_and_writes_their_answers(client: openai.OpenAI, api: Api, endpoint: Any) -> None:
    slots(100)
    file_id = upload(client, *(line(f"n{n}", endpoint) for n in range(5)))
    made = client.batches.create(
        input_file_id=file_id, endpoint=endpoint, completion_window="24h", metadata={"who": "me"}
    )
    assert (made.status, made.metadata, made.endpoint, made.input_file_id) == (
        *("validating", {"who": "me"}, endpoint, file_id),
    )
    assert made.expires_at == made.created_at + 86_400
    looking.look("demo", made.id)
    found = client.batches.retrieve(made.id)
    assert found.status == "in_progress"
    assert found.request_counts is not None
    assert found.request_counts.to_dict() == {"total": 5, "completed": 0, "failed": 0}
    carry_out("demo", made.id)
    found = client.batches.retrieve(made.id)
    assert found.status == "completed"
    assert found.request_counts is not None
    assert found.request_counts.to_dict() == {"total": 5, "completed": 5, "failed": 0}
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens, found.usage.total_tokens) == (15, 20, 35)
    assert found.error_file_id is None
    assert found.output_file_id is not None
    rows = [json.loads(one) for one in client.files.content(found.output_file_id).text.splitlines()]
    assert {one["custom_id"] for one in rows} == {f"n{n}" for n in range(5)}
    for one in rows:
        assert one["error"] is None
        assert one["response"]["status_code"] == 200
        body = one["response"]["body"]
        said = body["output"][0]["content"][0]["text"] if endpoint == RESPONSES else body["choices"][0]["message"]
        assert said in ("done", body.get("choices", [{}])[0].get("message"))
        assert one["response"]["request_id"].startswith("task_")
    file = client.files.retrieve(found.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{made.id}_output.jsonl")
    left = aws_client("dynamodb").query(
        TableName=settings().table_name,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": f"BATCH#{made.id}"}},
    )
    assert left["Items"] == []  # the pieces are gone


def test_lines_are_tasks_with_a_list_of_their_own(client: openai.OpenAI, api: Api) -> None:
    slots(100)
    made = begin("demo", api.keys["demo"], [line("a"), line("b")])
    looking.look("demo", made.batch_id)
    assert api.get("/agent").json()["tasks"] == []
    listed = api.get("/agent", batch_id=made.batch_id).json()["tasks"]
    assert len(listed) == 2
    shown = api.get(f"/result/{listed[0]['task_id']}").json()
    assert (shown["batch_id"], shown["lane"]) == (made.batch_id, "normal")
    assert {api.get(f"/result/{one['task_id']}").json()["batch_line"] for one in listed if one} >= {1}
    assert api.get("/agent", "other", batch_id=made.batch_id).status_code == 404


def test_batches_are_listed_by_pages_and_are_their_owners(client: openai.OpenAI, api: Api) -> None:
    file_id = upload(client, line("a"))
    made = [
        client.batches.create(input_file_id=file_id, endpoint=RESPONSES, completion_window="24h").id for _ in range(5)
    ]
    assert [one.id for one in client.batches.list(limit=2)] == made[::-1]
    assert client.batches.list(limit=2).has_more
    assert [one.id for one in client.batches.list(after=made[1])] == made[:1]
    assert api.get("/v1/batches", "other").json()["data"] == []
    assert api.get(f"/v1/batches/{made[0]}", "other").status_code == 404
    assert api.post(f"/v1/batches/{made[0]}/cancel", "other").status_code == 404
    with pytest.raises(openai.BadRequestError, match="File"):
        client.batches.create(input_file_id="file-0", endpoint=RESPONSES, completion_window="24h")


@pytest.mark.parametrize(
    ("wrong", "code", "at"),
    [
        ("{", "invalid_json_line", 2),
        ("[]", "invalid_json_line", 2),
        ('{"custom_id": "x", "method": "POST", "url": "/v1/responses"}', "missing_required_parameter", 2),
        (line("a"), "duplicate_custom_id", 2),
        (line("x", CHAT), "invalid_url", 2),
        (line("x", "/v1/embeddings"), "invalid_url", 2),
        (line("x", method="GET"), "invalid_method", 2),
        (line(""), "invalid_custom_id", 2),
        (line(7), "invalid_custom_id", 2),
        (line("x" * 257), "invalid_custom_id", 2),
        (line("half a pair: \ud83d"), "invalid_custom_id", 2),
        (line("\x00"), "invalid_custom_id", 2),
        (
            '{"custom_id": "x", "custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {}}',
            "duplicate_custom_id",
            2,
        ),
        ("[" * 100_000, "invalid_json_line", 2),
        ("NaN", "invalid_json_line", 2),
        (line("x", "/v1/responses/"), "invalid_url", 2),
        (line("x", "https://api.openai.com/v1/responses"), "invalid_url", 2),
        ('{"custom_id": "x", "method": "POST", "url": "/v1/responses", "body": []}', "invalid_body", 2),
        ("\n\n{", "invalid_json_line", 4),  # empty lines are counted, and left aside
    ],
)
def test_a_fault_in_the_file_fails_the_batch_and_nothing_runs(
    client: openai.OpenAI, wrong: str, code: str, at: int
) -> None:
    file_id = upload(client, line("a"), wrong, line("z"))
    made = client.batches.create(input_file_id=file_id, endpoint=RESPONSES, completion_window="24h")
    looking.look("demo", made.id)
    found = client.batches.retrieve(made.id)
    assert found.status == "failed"
    assert found.errors is not None
    assert found.errors.data is not None
    assert [(one.code, one.line) for one in found.errors.data] == [(code, at)]
    assert found.failed_at
    assert of_batch(made.id) == []


def test_a_file_without_a_request_fails_its_batch(client: openai.OpenAI) -> None:
    made = client.batches.create(input_file_id=upload(client, "", " "), endpoint=CHAT, completion_window="24h")
    looking.look("demo", made.id)
    found = client.batches.retrieve(made.id)
    assert found.errors is not None
    assert found.errors.data is not None
    assert found.errors.data[0].code == "empty_file"


def test_a_batch_has_a_most_of_lines(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, MAX_BATCH_LINES=3)
    fits = begin("demo", api.keys["demo"], [line(f"{n}") for n in range(3)])
    looking.look("demo", fits.batch_id)
    assert store.load("demo", fits.batch_id).status == "in_progress"
    over = begin("demo", api.keys["demo"], [line(f"{n}") for n in range(4)])
    looking.look("demo", over.batch_id)
    found = store.load("demo", over.batch_id)
    assert (found.status, found.errors[0]["code"]) == ("failed", "too_many_lines")


def test_a_line_has_a_longest(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_BYTES", 200)
    monkeypatch.setattr(validate, "LINE_BYTES", 200)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 64)
    short = line("a")
    fits = line("b", pad="x" * (200 - len(line("b", pad=""))))
    assert len(fits) == 200
    for last, status in ((fits, "in_progress"), (line("b", pad="x" * (201 - len(line("b", pad="")))), "failed")):
        made = begin("demo", api.keys["demo"], [short, last])
        looking.look("demo", made.batch_id)
        assert store.load("demo", made.batch_id).status == status


def test_a_long_file_is_validated_in_several_goes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "LOOKS", 2)
    monkeypatch.setattr(looking, "SECONDS", -1.0)
    rows = [line(f"{n}") for n in range(5)]
    good = begin("demo", api.keys["demo"], rows)
    bad = begin("demo", api.keys["demo"], [*rows, line("0")])
    for _ in range(2):
        looking.look("demo", good.batch_id)
        assert store.load("demo", good.batch_id).status == "validating"
        looking.look("demo", bad.batch_id)
    looking.look("demo", good.batch_id)
    assert store.load("demo", good.batch_id).status == "in_progress"
    looking.look("demo", bad.batch_id)
    found = store.load("demo", bad.batch_id)
    assert (found.errors[0]["code"], found.errors[0]["line"]) == ("duplicate_custom_id", 6)


def test_a_request_that_cannot_be_run_is_in_the_error_file(client: openai.OpenAI, api: Api) -> None:
    slots(100)
    rows = [
        line("good"),
        line("colour", colour="red"),
        line("stream", stream=True),
        line("after", previous_response_id="resp_x"),
        line("free", model="nobody-priced-it"),
    ]
    made = begin("demo", api.keys["demo"], rows)
    batch = carry_out("demo", made.batch_id)
    assert (batch.status, batch.completed, batch.failed) == ("completed", 1, 4)
    errors = {one["custom_id"]: one["response"] for one in lines_of("demo", batch.error_id)}
    assert {name: one["status_code"] for name, one in errors.items()} == dict.fromkeys(
        ("colour", "stream", "after", "free"), 400
    )
    assert errors["colour"]["body"]["error"]["param"] == "colour"
    assert told(batch) == {"good": 1, "colour": 1, "stream": 1, "after": 1, "free": 1}


def test_a_failed_run_is_in_the_error_file(api: Api) -> None:
    slots(100)

    def fail(task: Task) -> None:
        if task.batch_line == 0:
            settle.end_unheld(
                task, settle.Outcome(status=Status.FAILED, error={"code": "agent_error", "message": "no"})
            )
        else:
            bulk.complete(task)

    made = begin("demo", api.keys["demo"], [line("a"), line("b")])
    batch = carry_out("demo", made.batch_id, fail)
    assert (batch.completed, batch.failed) == (1, 1)
    (error,) = lines_of("demo", batch.error_id)
    assert (error["custom_id"], error["response"]["status_code"]) == ("a", 500)
    assert error["response"]["body"]["error"]["code"] == "agent_error"


def test_a_line_of_an_output_file_is_one_line_for_every_reader(client: openai.OpenAI, api: Api) -> None:
    slots(100)
    said = "one\u2028two\u2029three\x85four\rfive\x0bsix"
    made = client.batches.create(
        input_file_id=upload(client, line("a\u2028b")), endpoint=RESPONSES, completion_window="24h"
    )
    batch = carry_out("demo", made.id, lambda task: bulk.complete(task, said))
    assert batch.output_id is not None
    (read,) = client.files.content(batch.output_id).text.splitlines()
    found = json.loads(read)
    assert (found["custom_id"], found["response"]["body"]["output"][0]["content"][0]["text"]) == ("a\u2028b", said)


def test_only_a_window_of_lines_are_tasks_at_one_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, BATCH_WINDOW=3)
    monkeypatch.setattr(feed, "BLOCK_BYTES", 50)
    slots(1000)
    made = begin("load", api.keys["load"], [line(f"{n}") for n in range(8)])
    seen = []
    for _ in range(10):
        looking.look("load", made.batch_id)
        batch = store.load("load", made.batch_id)
        if batch.ended:
            break
        seen.append(work(made.batch_id))
    assert seen == [3, 3, 2]
    assert told(batch) == {f"{n}": 1 for n in range(8)}


def test_lines_leave_room_to_others(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    slots(10)
    for _ in range(5):
        api.submit("other")
    made = begin("load", api.keys["load"], [line(f"{n}") for n in range(20)])
    looking.look("load", made.batch_id)
    assert len(of_batch(made.batch_id)) == 3  # four fifths of the slots, less those in use
    looking.look("load", made.batch_id)
    assert len(of_batch(made.batch_id)) == 3
    slots(20)
    looking.look("load", made.batch_id)
    assert len(of_batch(made.batch_id)) == 11


@pytest.mark.parametrize(
    ("lane", "running", "share", "more"),
    [
        (Lane(100, 0, 1, 1), 0, 80, 80),
        (Lane(100, 80, 1, 1), 80, 80, 0),
        (Lane(100, 79, 1, 1), 79, 80, 1),
        (Lane(100, 79, 1, 1), 0, 80, 1),  # others' runs
        (Lane(100, 100, 1, 1), 0, 80, 0),
        (Lane(100, 0, 2, 1), 0, 80, 40),  # another owner's batch
        (Lane(100, 40, 2, 1), 40, 80, 0),  # at its share, although there is room
        (Lane(100, 0, 2, 2), 0, 80, 20),
        (Lane(2, 0, 9, 9), 0, 80, 1),
        (Lane(2, 1, 9, 9), 0, 80, 0),
        (Lane(100, 0, 1, 1), 0, 100, 100),
    ],
)
def test_room_is_what_others_leave(lane: Lane, running: int, share: int, more: int) -> None:
    assert allowance(lane, running, share) == more


def test_lines_leave_a_part_of_the_running_cap(api: Api) -> None:
    assert [of_cap(n) for n in (0, 1, 2, 4, 10, 50)] == [0, 1, 1, 3, 8, 38]
    slots(1000)
    made = begin("demo", api.keys["demo"], [line(f"{n}") for n in range(20)])
    looking.look("demo", made.batch_id)
    assert len(of_batch(made.batch_id)) == 8
    assert api.submit("demo").status_code == 202
    (task,) = api.get("/agent").json()["tasks"]
    assert "reason" not in task  # it is not parked


def test_a_batch_takes_nothing_of_quota_and_ingress(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, QUOTA_REQUESTS=2, INGRESS_RATE=1, INGRESS_BURST=1)
    from functions.api.door.gate import gate

    gate.cache_clear()
    slots(1000)
    made = begin("demo", api.keys["demo"], [line(f"{n}") for n in range(8)])
    looking.look("demo", made.batch_id)
    assert len(of_batch(made.batch_id)) == 8
    assert api.submit("other").status_code == 202
    assert api.submit("demo").status_code in (202, 429)
    assert api.get("/limits").json()["limits"]["requests"]["used"] <= 1


def test_a_batch_waits_while_valkey_is_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    slots(1000)
    made = begin("demo", api.keys["demo"], [line("a")])
    with monkeypatch.context() as patch:
        patch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
        settings.cache_clear()
        valkey.reset()
        assert looking.look("demo", made.batch_id) == "in_progress"
        assert of_batch(made.batch_id) == []
    settings.cache_clear()
    valkey.reset()
    assert carry_out("demo", made.batch_id).completed == 1


def test_who_takes_a_batch_has_it_though_the_answer_was_lost(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is repeated then, and refused: it waited for the end of its own lease."""
    made = begin("demo", api.keys["demo"], [line("a")])
    change = table.change
    monkeypatch.setattr(table, "change", lambda key, **what: [change(key, **what) for _ in range(2)][-1])
    taken = store.take("demo", made.batch_id)
    assert taken is not None
    assert store.take("demo", made.batch_id) is None
    store.commit(taken, release=True)
    assert store.take("demo", made.batch_id) is not None


def test_a_mark_whose_answer_was_late_holds_back_only_others(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of Valkey repeats a command that had no answer in time, though it was carried out."""
    assert api
    sent: list[str] = []
    server = valkey.client()
    mark = server.set
    monkeypatch.setattr(server, "set", lambda *what, **how: [mark(*what, **how) for _ in range(2)][-1])
    monkeypatch.setattr(pokes, "send", lambda user, batch_id, *, delay_s=0: sent.append(batch_id))
    for batch_id in ("batch_a", "batch_b", "batch_a"):
        pokes.soon("demo", batch_id)
    assert sent == ["batch_a", "batch_b"]
    pokes.begun("batch_a")
    pokes.soon("demo", "batch_a")
    assert sent == ["batch_a", "batch_b", "batch_a"]


def test_a_cancelled_batch_tells_of_every_line(
    client: openai.OpenAI, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, BATCH_WINDOW=3)
    slots(1000)
    made = client.batches.create(
        input_file_id=upload(client, *(line(f"{n}") for n in range(9))), endpoint=RESPONSES, completion_window="24h"
    )
    looking.look("demo", made.id)
    first = sorted(of_batch(made.id), key=lambda task: task.batch_line)
    bulk.complete(first[0])
    assert client.batches.cancel(made.id).status == "cancelling"
    assert client.batches.cancel(made.id).status == "cancelling"
    batch = carry_out("demo", made.id, lambda task: pytest.fail("nothing is to run any more"))
    found = client.batches.retrieve(made.id)
    assert (found.status, batch.completed, batch.failed) == ("cancelled", 1, 8)
    assert found.cancelling_at
    assert found.cancelled_at
    assert told(batch) == {f"{n}": 1 for n in range(9)}
    assert {one["error"]["code"] for one in lines_of("demo", batch.error_id)} == {"batch_cancelled"}
    assert {task.status for task in of_batch(made.id)} == {Status.COMPLETE, Status.CANCELLED}
    assert client.batches.cancel(made.id).status == "cancelled"


@pytest.mark.parametrize(("asked", "kept_s"), [({"seconds": 7200}, 7200), (None, 30 * 86_400)])
def test_what_a_batch_writes_is_kept_as_long_as_was_asked(
    client: openai.OpenAI, api: Api, asked: dict[str, Any] | None, kept_s: int
) -> None:
    slots(100)
    more: Any = {"output_expires_after": {"anchor": "created_at"} | asked} if asked else {}
    file_id = upload(client, line("a"), line("b", colour="blue"))
    made = client.batches.create(input_file_id=file_id, endpoint=RESPONSES, completion_window="24h", **more)
    batch = carry_out("demo", made.id)
    for written in (batch.output_id, batch.error_id):
        file = client.files.retrieve(str(written))
        assert file.expires_at is not None
        assert abs(file.expires_at - file.created_at - kept_s) <= 1
    with pytest.raises(openai.BadRequestError, match="output_expires_after"):
        client.batches.create(
            input_file_id=file_id,
            endpoint=RESPONSES,
            completion_window="24h",
            output_expires_after={"anchor": "created_at", "seconds": 3599},
        )


def test_a_batch_expires_after_a_day(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, BATCH_WINDOW=3)
    slots(1000)
    made = begin("demo", api.keys["demo"], [line(f"{n}") for n in range(7)])
    looking.look("demo", made.batch_id)
    bulk.complete(of_batch(made.batch_id)[0])
    clock.set_ahead(86_390)
    looking.look("demo", made.batch_id)
    assert store.load("demo", made.batch_id).ending == ""
    clock.set_ahead(86_401)
    batch = carry_out("demo", made.batch_id, lambda task: pytest.fail("nothing is to run any more"))
    assert (batch.status, batch.completed, batch.failed) == ("expired", 1, 6)
    assert {one["error"]["code"] for one in lines_of("demo", batch.error_id)} == {"batch_expired"}
    assert told(batch) == {f"{n}": 1 for n in range(7)}


def test_a_spent_budget_fails_what_is_left(api: Api) -> None:
    slots(1000)
    made = begin("poor", api.keys["poor"], [line(f"{n}", max_output_tokens=1000) for n in range(6)])

    def dear(task: Task) -> None:
        task.input_tokens, task.output_tokens = 1000, 400
        bulk.complete(task)

    looking.look("poor", made.batch_id)
    assert 0 < len(of_batch(made.batch_id)) < 6  # as many as can be reserved for
    assert store.load("poor", made.batch_id).failed == 0  # what is reserved comes back
    batch = carry_out("poor", made.batch_id)
    assert batch.completed == 6

    made = begin("poor", api.keys["poor"], [line(f"{n}", max_output_tokens=9000) for n in range(3)])
    batch = carry_out("poor", made.batch_id)
    assert (batch.status, batch.completed, batch.failed) == ("completed", 0, 3)
    assert {one["error"]["code"] for one in lines_of("poor", batch.error_id)} == {"insufficient_quota"}


def test_a_revoked_key_runs_no_further_line(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, BATCH_WINDOW=2)
    slots(1000)
    made = begin("demo", api.keys["demo"], [line(f"{n}") for n in range(4)])
    looking.look("demo", made.batch_id)
    keys.revoke(keys.digest_of(api.keys["demo"]))
    keys.forget()
    batch = carry_out("demo", made.batch_id)
    assert (batch.completed, batch.failed) == (2, 2)
    assert {one["error"]["code"] for one in lines_of("demo", batch.error_id)} == {"invalid_api_key"}


def test_a_batch_whose_file_is_deleted_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, BATCH_WINDOW=2)
    slots(1000)
    made = begin("demo", api.keys["demo"], [line(f"{n}") for n in range(5)])
    looking.look("demo", made.batch_id)
    files.delete("demo", made.file_id)
    batch = carry_out("demo", made.batch_id)
    assert (batch.status, batch.completed, batch.failed) == ("failed", 2, 3)
    assert batch.errors[0]["code"] == "file_not_found"
    assert len(lines_of("demo", batch.output_id)) == 2
    early = begin("demo", api.keys["demo"], [line("a")])
    files.delete("demo", early.file_id)
    assert carry_out("demo", early.batch_id).status == "failed"


def test_a_user_has_a_most_of_batches_under_way(
    api: Api, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(monkeypatch, MAX_BATCHES=2)
    slots(1000)
    file_id = upload(client, line("a"))
    made = [
        client.batches.create(input_file_id=file_id, endpoint=RESPONSES, completion_window="24h").id for _ in range(2)
    ]
    with pytest.raises(openai.ConflictError, match="2 batches"):
        client.batches.create(input_file_id=file_id, endpoint=RESPONSES, completion_window="24h")
    carry_out("demo", made[0])
    assert client.batches.create(input_file_id=file_id, endpoint=RESPONSES, completion_window="24h")


def test_large_outputs_are_put_together_in_several_goes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, BATCH_WINDOW=2)
    slots(1000)
    monkeypatch.setattr(assembly, "PART_BYTES", 5 * 1024 * 1024)
    made = begin("load", api.keys["load"], [line(f"{n}") for n in range(6)])
    text = "".join(chr(33 + n % 90) for n in range(3_000_000))
    for _ in range(20):
        looking.look("load", made.batch_id)
        if not work(made.batch_id, lambda task: bulk.complete(task, text)):
            break
        if store.load("load", made.batch_id).number == 6:
            monkeypatch.setattr(looking, "SECONDS", -1.0)
    batch = carry_out("load", made.batch_id)
    assert told(batch) == {f"{n}": 1 for n in range(6)}
    assert files.load("load", batch.output_id).size > 18_000_000


def test_messages_have_batches_looked_at(api: Api) -> None:
    slots(1000)
    url, sqs = settings().queue_url_bulk, aws_client("sqs")

    def deliver() -> int:
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", [])
        arn = "arn:aws:sqs:us-east-1:123456789012:sluice-bulk"
        records = [{"messageId": m["MessageId"], "body": m["Body"], "eventSourceARN": arn} for m in got]
        if records:
            assert handler({"Records": records}, None) == {"batchItemFailures": []}
            for m in got:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=m["ReceiptHandle"])
        return len(records)

    file = api.client.post(
        "/v1/files",
        files={"file": ("a", "\n".join(line(f"{n}") for n in range(5)).encode())},
        data={"purpose": "batch"},
        headers=api.head(),
    ).json()
    made = api.post("/v1/batches", input_file_id=file["id"], endpoint=RESPONSES, completion_window="24h").json()
    assert deliver() == 1
    assert work(made["id"]) == 5  # five ends, and one message for them all
    assert deliver() == 1
    assert api.get(f"/v1/batches/{made['id']}").json()["status"] == "completed"
    assert deliver() == 0
    broken = {"Records": [{"messageId": "1", "body": "{", "eventSourceARN": "arn:aws:sqs:us-east-1:1:sluice-bulk"}]}
    assert handler(broken, None) == {"batchItemFailures": []}


def test_the_sweeper_has_a_batch_looked_at_whose_message_was_lost(api: Api) -> None:
    from functions.sweeper import batches

    slots(1000)
    url, sqs = settings().queue_url_bulk, aws_client("sqs")
    made = begin("demo", api.keys["demo"], [line("a")])
    assert batches.poke(clock.now() + 10) == {"batch looked at": 1}
    assert batches.poke(clock.now() + 10) == {}
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert pokes.parse(message["Body"]) == ("demo", made.batch_id)
    looking.look("demo", made.batch_id)
    assert batches.poke(clock.now() + 10) == {}
    clock.set_ahead(store.LOOK_SECONDS + 1)
    assert batches.poke(clock.now() + 10) == {"batch looked at": 1}
    carry_out("demo", made.batch_id)
    clock.set_ahead(10 * store.LOOK_SECONDS)
    assert batches.poke(clock.now() + 10) == {}


def test_who_died_with_a_batch_holds_it_for_one_lease(api: Api) -> None:
    slots(1000)
    made = begin("demo", api.keys["demo"], [line("a")])
    assert store.take("demo", made.batch_id) is not None
    assert looking.look("demo", made.batch_id) == ""
    clock.set_ahead(store.LEASE_SECONDS + 1)
    assert looking.look("demo", made.batch_id) == "in_progress"


def test_erasing_a_users_data_erases_batches_and_their_tasks(api: Api) -> None:
    slots(1000)
    for n in range(2):
        made = begin("demo", api.keys["demo"], [line("a"), line("b")])
        looking.look("demo", made.batch_id)
        if n:
            carry_out("demo", made.batch_id)
    assert api.delete("/me/data").json()["more"] is False
    found = aws_client("dynamodb").scan(TableName=settings().table_name)["Items"]
    kinds = {one["pk"]["S"].partition("#")[0] for one in found}
    assert not kinds & {"TASK", "BATCH", "BATCHES", "FILES"}, kinds
    assert aws_client("s3").list_objects_v2(Bucket="sluice-blobs").get("Contents", []) == []


def test_room_is_told_by_valkey(api: Api) -> None:
    slots(50)
    api.submit("other")
    assert room.look("demo", "batch_1") == Lane(50, 1, 1, 1)
    assert room.look("service/ann", "batch_2") == Lane(50, 1, 2, 1)
    assert room.look("service/bob", "batch_3") == Lane(50, 1, 2, 2)
    room.leave("service/bob", "batch_3")
    clock.set_ahead(room.ACTIVE_SECONDS - 1)
    assert room.look("demo", "batch_1").owners == 2
    clock.set_ahead(room.ACTIVE_SECONDS + 1)
    assert room.look("demo", "batch_1").owners == 1


def test_runs_whose_time_lapsed_take_no_room_though_nobody_took_them_off(api: Api) -> None:
    """Valkey was away as they ended, and no run has begun since: the lane is idle, and a batch must not wait for it."""
    slots(50)
    at = time.time()
    valkey.client().zadd(names.LANES[-1], {"demo t1": round((at - 1) * 1e6), "demo t2": round((at + 60) * 1e6)})
    assert names.LANES[-1].endswith("normal:running")
    assert room.look("demo", "batch_1").busy == 1


def test_a_line_that_nobody_foresaw_keeps_no_other_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    slots(100)
    wanted_of, shown = making.wanted_of, response.shown

    def odd(caller: Any, endpoint: str, raw: bytes) -> Any:
        if b'"b"' in raw:
            raise ValueError("odd")
        if b'"c"' in raw:
            raise NotFound("what it refers to is not there")
        return wanted_of(caller, endpoint, raw)

    def odd_answer(task: Task, *rest: Any) -> Any:
        if task.batch_line == 3:
            raise KeyError("odd")
        return shown(task, *rest)

    monkeypatch.setattr(making, "wanted_of", odd)
    monkeypatch.setattr(response, "shown", odd_answer)
    made = begin("demo", api.keys["demo"], [line(name) for name in "abcd"])
    batch = carry_out("demo", made.batch_id)
    assert (batch.status, batch.completed, batch.failed) == ("completed", 1, 3)
    errors = {one["custom_id"]: one["response"]["status_code"] for one in lines_of("demo", batch.error_id)}
    assert errors == {"b": 500, "c": 404, "d": 500}


def test_a_client_that_tries_again_by_itself_begins_one_batch(client: openai.OpenAI, api: Api) -> None:
    file_id = upload(client, line("a"))
    asked = {"input_file_id": file_id, "endpoint": RESPONSES, "completion_window": "24h"}
    first, again, other = (
        api.client.post("/v1/batches", json=asked, headers=api.head() | {"x-stainless-retry-count": count}).json()["id"]
        for count in ("0", "1", "0")
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("begun_by", "user", "refused"),
    [("service/ann", "ann", False), ("service/ann", "bob", True), ("service", "ann", True), ("service", None, False)],
)
def test_a_line_of_a_service_is_never_counted_for_another_user_than_it_says(
    api: Api, begun_by: str, user: str | None, refused: bool
) -> None:
    slots(100)
    made = begin(begun_by, api.keys["service"], [line("a", **({} if user is None else {"user": user}))])
    done = carry_out(begun_by, made.batch_id)
    assert (done.completed, done.failed) == ((0, 1) if refused else (1, 0))
    if refused:
        (row,) = lines_of(begun_by, done.error_id)
        assert (row["response"]["status_code"], row["response"]["body"]["error"]["param"]) == (400, "user")
    assert [task.user for task in of_batch(made.batch_id)] == ([] if refused else [begun_by])


def test_the_user_of_any_other_keys_line_is_only_told_of(api: Api) -> None:
    slots(100)
    made = begin("demo", api.keys["demo"], [line("a", user="whoever")])
    done = carry_out("demo", made.batch_id)
    (row,) = lines_of("demo", done.output_id)
    assert row["response"]["body"]["user"] == "whoever"
    assert [task.user for task in of_batch(made.batch_id)] == ["demo"]


def test_a_service_begins_a_batch_for_one_of_its_users(address: str, api: Api) -> None:
    """By the unmodified package: the user stands in the query of every call."""
    slots(100)
    whose = {"user_id": "ann"}
    with openai.OpenAI(base_url=address, api_key=api.keys["service"], max_retries=0, default_query=whose) as service:
        made = service.batches.create(
            input_file_id=upload(service, line("a", user="ann")), endpoint=RESPONSES, completion_window="24h"
        )
        carry_out("service/ann", made.id)
        assert service.batches.retrieve(made.id).status == "completed"
        assert [task.user for task in of_batch(made.id)] == ["service/ann"]
    assert api.delete("/me/data", "service", user_id="ann").is_success
    assert of_batch(made.id) == []


def test_what_is_held_of_long_lines_in_memory_is_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of lines that are long together only some are taken at one look, one at least; all are run all the same."""
    slots(100)
    rows = [line(f"{n}", input="x" * (3_000 if n == 2 else 300)) for n in range(6)]
    monkeypatch.setattr(feed, "TEXT_BYTES", 2 * len(rows[0]))
    made = begin("demo", api.keys["demo"], rows)
    most, read, make = 0, feed.read_through, making.make

    def reading(*arguments: Any) -> Iterator[tuple[int, bytes]]:
        nonlocal most
        held = 0
        for at, raw in read(*arguments):
            held += len(raw)
            most = max(most, held - len(raw))  # what was held already when it took this one
            yield at, raw

    sizes: list[int] = []

    def making_one(*arguments: Any) -> making.Made:
        sizes.append(len(arguments[3]))
        return make(*arguments)

    monkeypatch.setattr(feed, "read_through", reading)
    monkeypatch.setattr(feed, "making", type("Making", (), {"make": staticmethod(making_one), "Made": making.Made}))
    done = carry_out("demo", made.batch_id)
    assert told(done) == {f"{n}": 1 for n in range(6)}
    assert most < feed.TEXT_BYTES
    assert sorted(sizes) == sorted(map(len, rows))


def test_a_file_of_few_long_lines_is_validated_in_several_goes_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [line(f"{n}", input="x" * 1000) for n in range(4)]
    monkeypatch.setattr(validate, "LOOK_BYTES", 1500)
    monkeypatch.setattr(looking, "SECONDS", -1.0)
    made = begin("demo", api.keys["demo"], rows)
    looking.look("demo", made.batch_id)
    assert store.load("demo", made.batch_id).number == 2
    looking.look("demo", made.batch_id)
    assert store.load("demo", made.batch_id).status == "in_progress"


@pytest.mark.parametrize(
    ("start", "end", "last"),
    [
        (start, end, last)
        for n, last in enumerate([b"", b"\n", b"\r\n \t\r\n"])
        for m, end in enumerate([b"\r\n", b"\n"])
        for k, start in enumerate([b"", b"\xef\xbb\xbf"])
        if THOROUGH or (n + m + k) % 2 == 0  # any two of them together
    ],
)
def test_files_of_other_systems_are_read_as_they_are_meant(
    client: openai.OpenAI, api: Api, start: bytes, end: bytes, last: bytes
) -> None:
    slots(100)
    rows = [line("a"), "", line("\u00e4"), line("c")]
    content = start + end.join(one.encode() for one in rows) + last
    file = client.files.create(file=("lines.jsonl", content), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint=RESPONSES, completion_window="24h")
    done = carry_out("demo", made.id)
    assert told(done) == {"a": 1, "\u00e4": 1, "c": 1}
    assert done.completed == 3


def test_one_file_serves_two_batches_at_the_same_time(client: openai.OpenAI, api: Api) -> None:
    slots(100)
    file = upload(client, line("a"), line("b"))
    ids = [
        client.with_options(max_retries=0)
        .batches.create(input_file_id=file, endpoint=RESPONSES, completion_window="24h", metadata={"n": f"{n}"})
        .id
        for n in range(2)
    ]
    for one in ids:
        looking.look("demo", one)
    assert len({task.task_id for one in ids for task in of_batch(one)}) == 4
    for one in ids:
        done = carry_out("demo", one)
        assert told(done) == {"a": 1, "b": 1}


def test_lines_of_unknown_models_fail_alone(client: openai.OpenAI, api: Api) -> None:
    slots(100)
    made = client.batches.create(
        input_file_id=upload(client, line("a"), line("b", model="no-such-model"), line("c", model=7)),
        endpoint=RESPONSES,
        completion_window="24h",
    )
    done = carry_out("demo", made.id)
    assert (done.status, done.completed, done.failed) == ("completed", 1, 2)
    rows = {one["custom_id"]: one["response"] for one in lines_of("demo", done.error_id)}
    assert {name: one["status_code"] for name, one in rows.items()} == {"b": 400, "c": 400}
    assert all(one["body"]["error"]["param"] == "model" for one in rows.values())


def test_the_longest_names_of_many_lines_fit_the_batchs_row(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the largest window and 256 characters of four bytes each, what is under way would not fit an item."""
    slots(2_000)
    setting(monkeypatch, BATCH_WINDOW=1_000)
    names_of = [f"{n:03d}" + "\U0001f600" * 253 for n in range(260)]
    made = begin("load", api.keys["load"], [line(one) for one in names_of])
    for _ in range(2):
        looking.look("load", made.batch_id)
    under_way = store.load("load", made.batch_id).open
    assert 150 < len(under_way) < 250
    assert len(of_batch(made.batch_id)) == 100  # a page
    store.cancel("load", made.batch_id)
    done = carry_out("load", made.batch_id)
    assert told(done) == dict.fromkeys(names_of, 1)
