"""What was answered can be fetched: no answer is larger than Lambda lets through."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from functions.api.door import error_answers
from shared import wire
from shared.clock import day
from shared.settings import settings
from shared.tasks import blobs, claims, events, sessions, settle, store, table
from shared.tasks.items import row_key
from shared.tasks.model import Status, Task, dumps
from tests.unit.api.conftest import Api
from tests.unit.api.lambda_call import through_lambda
from tests.unit.tables import client

MIB = 1024 * 1024


def ended(api: Api, response: str = "ok", *, data: dict[str, Any] | None = None, log: int = 0, each: int = 0) -> str:
    """Run a task of `demo` to its end, with a log of so many events of so many bytes; returns its id."""
    task_id: str = api.submit(session_id="s1").json()["task_id"]
    task = claims.claim(task_id, 0)
    assert isinstance(task, Task)
    for n in range(0, log, 3):
        batch = [events.Event("token", time.time(), {"text": "x" * each}) for _ in range(min(3, log - n))]
        op, task.last_seq = events.append_op(task, batch, expires=time.time() + 999)
        moved = table.update_op(row_key(task_id), sets={"last_seq": task.last_seq})
        table.transact([op, moved])
    settle.settle(task, settle.Outcome(status=Status.COMPLETE, response=response, data=data), message="hi")
    return task_id


@pytest.mark.parametrize(
    "response",
    ["x" * 7 * MIB, "é" * 3 * MIB, '"\\' * MIB, "\x01" * MIB, "x" * 20_000_000],
    ids=["7 MiB", "two bytes a letter", "escaped twice", "control characters", "20 MB"],
)
def test_a_large_response_is_fetched_by_its_address(api: Api, response: str) -> None:
    found, size = through_lambda(api, f"/result/{ended(api, response)}")
    result = found["result"]
    assert size < 10_000
    assert result["response"] is None
    assert result["response_bytes"] == len(response.encode())
    stored = client("s3").list_objects_v2(Bucket="sluice-blobs", Prefix=f"tasks/{found['task_id']}/response/")
    assert [one["Size"] for one in stored["Contents"]] == [len(response.encode())], "as it is: curl reads it"
    assert f"/tasks/{found['task_id']}/response/" in result["response_url"]
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in result["response_url"]
    assert f"X-Amz-Expires={settings().result_url_seconds}" in result["response_url"]
    assert (settle.result_of(store.get(found["task_id"])) or {})["response"] == response


@pytest.mark.parametrize("response", ["x" * 3_990_000, "é" * 1_900_000, '"' * 990_000])
def test_what_fits_is_in_the_answer(api: Api, response: str) -> None:
    found, _ = through_lambda(api, f"/result/{ended(api, response)}")
    assert found["result"]["response"] == response
    assert "response_url" not in found["result"]


def test_large_data_are_fetched_too(api: Api) -> None:
    data = {"rows": ['"' * 1000] * 500}
    found, size = through_lambda(api, f"/result/{ended(api, 'x' * 3_900_000, data=data)}")
    assert found["result"]["data"] is None
    assert found["result"]["data_bytes"] == len(dumps(data).encode())
    assert size > 3_900_000


def test_a_response_of_an_older_version_is_put_where_it_can_be_fetched(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(settle, "SHOWN_BYTES", {"response": 10**9, "data": 10**9})
        task_id = ended(api, "x" * 7 * MIB)
    found, _ = through_lambda(api, f"/result/{task_id}")
    assert found["result"]["response"] is None
    assert found["result"]["response_bytes"] == 7 * MIB
    assert found["result"]["response_url"].startswith("https://")


def test_the_dialect_says_that_it_is_not_whole_and_where_it_is(api: Api) -> None:
    found, _ = through_lambda(api, f"/v1/responses/resp_{ended(api, 'x' * 7 * MIB)}")
    assert found["status"] == "incomplete"
    assert found["output"][0]["content"][0]["text"] == ""
    assert found["response_url"].startswith("https://")


def test_a_log_is_paged_by_bytes_and_nothing_is_lost(api: Api) -> None:
    task_id = ended(api, log=90, each=90_000)
    seen: list[int] = []
    pages = 0
    while True:
        found, size = through_lambda(api, f"/result/{task_id}/events", f"after={seen[-1] if seen else 0}")
        seen += [event["seq"] for event in found["events"]]
        assert found["last_seq"] == seen[-1]
        pages += 1
        if found["status"] in ("complete", "failed", "cancelled"):  # as a client stops
            break
        assert found["has_more"]
        assert size > 5_000_000, "no page is cut without need"
    assert seen == [*range(1, 93)]
    assert pages == 2
    assert "has_more" not in found


def test_a_page_holds_its_first_event_however_large(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = ended(api, log=3, each=1000)
    page = events.read(task_id, 1, most_bytes=10)
    assert [event.seq for event in page.events] == [2]
    assert page.full
    page = events.read(task_id, 4, most_bytes=10)
    assert [event.type for event in page.events] == ["complete"]
    assert not page.full


def test_a_conversation_is_paged_by_bytes(api: Api) -> None:
    made = []
    for n in range(20):  # of the longest texts that a turn keeps, each character seven bytes long in the answer
        at = time.time() + n
        task = Task(
            task_id=f"t{n}",
            user="demo",
            lane="normal",
            agent="chat",
            model="m",
            created=at,
            day=day(at),
            session_id="s2",
        )
        outcome = settle.Outcome(status=Status.COMPLETE, response="\x01" * 200_000)
        table.transact(sessions.put_ops(task, outcome, message="\x01" * 200_000, asked=None, at=at, expires=at + 999))
        made.append(task.task_id)
    seen: list[str] = []
    query = "limit=50"
    pages = 0
    while True:
        found, _ = through_lambda(api, "/sessions/s2", query)
        pages += 1
        seen = [turn["task_id"] for turn in found["turns"]] + seen
        if "cursor" not in found:
            break
        query = f"limit=50&cursor={found['cursor'].replace('#', '%23').replace('+', '%2B')}"
    assert (seen, pages) == (made, 2)
    found, _ = through_lambda(api, "/sessions/s2", "limit=2")
    assert [turn["task_id"] for turn in found["turns"]] == made[-2:]
    assert api.get("/sessions/s2", cursor="TURN#~").status_code == 422


def test_a_conversations_items_are_paged_by_bytes(api: Api) -> None:
    made = api.post("/v1/conversations", items=[{"role": "user", "content": "\x01" * 60_000} for _ in range(16)]).json()
    seen: list[str] = []
    query, pages = "limit=100&order=asc", 0
    while True:
        found, _ = through_lambda(api, f"/v1/conversations/{made['id']}/items", query)
        pages += 1
        seen += [item["id"] for item in found["data"]]
        assert found["last_id"] == seen[-1]
        if not found["has_more"]:
            break
        query = f"limit=100&order=asc&after={seen[-1]}"
    assert (len(seen), len(set(seen)), pages) == (16, 16, 2)


def test_a_page_has_one_value_at_least_and_no_more_than_fit() -> None:
    each = wire.wire_bytes("x" * 100)
    values = ["x" * 100] * 10
    assert wire.how_many(values, 5 * each) == 5
    assert wire.how_many(values, 5 * each - 1) == 4
    assert wire.how_many(values, 1) == 1
    assert wire.how_many([], 1) == 0


def test_a_list_of_tasks_is_far_from_the_limit() -> None:
    from functions.api.routes.agent import PAGE_TASKS
    from shared.tasks.listing import SUMMARY

    assert PAGE_TASKS * len(SUMMARY) * 300 < wire.ANSWER_BYTES  # no field of a summary has 300 bytes


@pytest.mark.parametrize(("size", "status"), [(6_200_000, 200), (6_300_000, 500)])
def test_what_no_page_bounded_is_said_and_not_dropped(size: int, status: int) -> None:
    answer = error_answers.within({"statusCode": 200, "headers": {}, "body": "x" * size, "isBase64Encoded": False})
    assert answer["statusCode"] == status
    assert ("answer_too_large" in answer["body"]) == (status == 500)


def test_a_result_whose_object_is_gone_is_410(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "ITEM_BYTES", 5)
    task_id = ended(api, "a longer response " * 4000)
    for kept in client("s3").list_objects_v2(Bucket="sluice-blobs", Prefix=f"tasks/{task_id}/end")["Contents"]:
        client("s3").delete_object(Bucket="sluice-blobs", Key=kept["Key"])
    answer = api.get(f"/result/{task_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "result_gone")
    assert api.get(f"/v1/responses/resp_{task_id}").json()["error"]["code"] == "result_gone"


def test_the_weight_of_a_text_is_that_of_lambdas_answer() -> None:
    for text in ("abc", "é", '"', "\\", "\x01", "\n", "😀", '"\\\n' * 50):
        whole = json.dumps({"body": json.dumps({"t": text}, ensure_ascii=False)}, ensure_ascii=False).encode()
        empty = json.dumps({"body": json.dumps({"t": ""}, ensure_ascii=False)}, ensure_ascii=False).encode()
        assert wire.wire_bytes(text) - wire.wire_bytes("") == len(whole) - len(empty)
        assert wire.fits(text, wire.wire_bytes(text))
        assert not wire.fits(text * 100, wire.wire_bytes(text))
