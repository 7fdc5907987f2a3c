"""The API through the deployed gateway: what only a real gateway, real environments and real workers show."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok

from tests.stack_fixture import LASTING, Stack, high_lane

RUN = uuid.uuid4().hex[:8]
"""Keeps the names of one run of these tests apart from those of another on the same system."""


def error_of(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["x-request-id"]
    error: dict[str, Any] = answer.json()["error"]
    assert {"code", "message", "type"} <= set(error)
    return error


def test_links_keep_the_gateways_prefix(stack: Stack) -> None:
    answer = stack.client().post("/agent", json={"message": "[[sim words=2]] hi"})
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(stack.api_url))
    location = answer.headers["location"]
    assert origin + location == f"{stack.api_url}/result/{answer.json()['task_id']}"
    with httpx2.Client(timeout=60) as plain:
        page = plain.get(f"{stack.api_url}/docs")
        assert page.status_code == 200
        for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "favicon-32x32.png"):
            link = f"{urlsplit(stack.api_url).path}/docs/{name}"
            assert link in page.text
            assert plain.get(origin + link).status_code == 200
        described = plain.get(f"{stack.api_url}/openapi.json").json()
    assert described["servers"] == [{"url": urlsplit(stack.api_url).path}]


def test_health_needs_no_key(stack: Stack) -> None:
    with httpx2.Client(timeout=60) as plain:
        answer = plain.get(f"{stack.api_url}/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b'{"message": "\xff"}', {"Content-Type": "application/json"}, 422, "invalid_encoding"),
        (b'{"message": "\xff"}', {"Content-Type": "application/octet-stream"}, 422, "unsupported_content_type"),
        (b"\x00\xff" * 100, {"Content-Type": "application/json"}, 422, None),
        (b"", {"Content-Type": "application/json"}, 422, "invalid_json"),
        (b'{"message": "a", "message": "b"}', {"Content-Type": "application/json"}, 422, "invalid_json"),
        (b"[" * 100_000, {"Content-Type": "application/json"}, 422, "invalid_json"),
        (b'{"message": "' + b"a" * 262_145 + b'"}', {"Content-Type": "application/json"}, 413, "message_too_large"),
        (b'{"message": "' + b"a" * 2_100_000 + b'"}', {"Content-Type": "application/json"}, 413, "too_large"),
    ],
    ids=["bytes", "binary", "noise", "empty", "twice", "deep", "message", "body"],
)
def test_broken_bodies(stack: Stack, content: bytes, headers: dict[str, str], status: int, code: str | None) -> None:
    error = error_of(stack.client().post("/agent", content=content, headers=headers), status)
    assert code in (None, error["code"])


def test_wrong_paths_keys_and_parameters(stack: Stack) -> None:
    client = stack.client()
    error_of(client.get("/nowhere"), 404)
    error_of(client.get("/result/task_unknown"), 404)
    error_of(client.get("/result/%00%F0%9F%99%82"), 404)
    error_of(client.get("/result/task_x", params={"wait": -1}), 422)
    error_of(client.put("/agent"), 405)
    error_of(client.post("/agent", json={"message": "x", "agent": "nobody"}), 422)
    error_of(stack.client("sk-wrong").get("/agent"), 401)
    with httpx2.Client(timeout=60) as plain:
        error_of(plain.get(f"{stack.api_url}/agent"), 401)


def test_a_message_of_the_full_size_arrives_whole(stack: Stack) -> None:
    text = "[[sim words=2]] " + "ü" * ((262_144 - 16) // 2)
    found = stack.result(stack.submit(text, session_id="big"))
    assert found["status"] == "complete", found
    turns = stack.client().get("/sessions/big").json()["turns"]
    assert turns[-1]["user"] == text[:32_000]


def test_users_are_kept_apart(stack: Stack) -> None:
    task_id = stack.submit("[[sim words=2]] hi", user="demo")
    for path in (f"/result/{task_id}", f"/result/{task_id}/events"):
        error_of(stack.client("other").get(path), 404)
    error_of(stack.client("other").post(f"/agent/{task_id}/cancel"), 404)
    assert stack.result(task_id, user="demo")["status"] == "complete"


def test_a_quota_is_exact_and_says_when_to_come_back(stack: Stack) -> None:
    key = stack.new_key(f"api-quota-{RUN}", requests=3, window_s=60)
    answers = [stack.client(key).post("/agent", json={"message": "[[sim words=1]] x"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
    assert answers[3].json()["error"]["limit"] == "requests"
    assert 0 < int(answers[3].headers["retry-after"]) <= 60
    limits = stack.client(key).get("/limits").json()["limits"]
    assert (limits["requests"]["limit"], limits["requests"]["used"]) == (3, 3)


def test_a_repeat_is_one_run(stack: Stack) -> None:
    headers = {"Idempotency-Key": f"stack-repeat-{RUN}"}
    body = {"message": f"[[sim key=api-repeat-{RUN} words=2]] hi"}
    with ThreadPoolExecutor(3) as pool:  # each that overlaps starts an environment
        answers = list(pool.map(lambda _: stack.client().post("/agent", json=body, headers=headers), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    ids = {answer.json()["task_id"] for answer in answers}
    assert len(ids) == 1
    stack.result(ids.pop())
    assert stack.calls(f"api-repeat-{RUN}")["started"] == 1
    other = stack.client().post("/agent", json=body | {"message": "else"}, headers=headers)
    assert error_of(other, 422)["code"] == "idempotency_mismatch"


@high_lane
def test_the_high_lane_is_the_vips(stack: Stack) -> None:
    task_id = stack.submit("[[sim words=2]] hi", user="vip")
    assert stack.result(task_id, user="vip")["lane"] == "high"
    refused = stack.client("demo").post("/agent", json={"message": "x", "priority": "high"})
    assert error_of(refused, 403)["param"] == "priority"


def test_a_running_task_is_cancelled(stack: Stack) -> None:
    task_id = stack.submit(f"[[sim {LASTING}]] slow")
    events: list[dict[str, Any]] = []
    while not events:
        events = stack.client().get(f"/result/{task_id}/events", params={"after": 1, "wait": 20}).json()["events"]
    assert events[0]["type"] == "started"
    assert stack.client().post(f"/agent/{task_id}/cancel").status_code in (200, 202)
    assert stack.result(task_id)["status"] == "cancelled"


def test_erasure_ends_with_nothing_left(stack: Stack) -> None:
    key = stack.new_key(f"api-erase-{RUN}")
    for n in range(3):
        stack.result(stack.submit("[[sim words=2]] hi", user=key, session_id=f"s{n}"), user=key)
    answer = stack.client(key).delete("/me/data").json()
    assert (answer["tasks"], answer["sessions"], answer["more"]) == (3, 3, False)
    assert stack.client(key).get("/agent").json()["tasks"] == []


def test_an_operator_sees_the_system(stack: Stack) -> None:
    shown = stack.client("operator").get("/stats").json()
    assert {"high", "normal", "quarantine"} == set(shown["lanes"])
    error_of(stack.client("demo").get("/stats"), 403)


def test_the_openai_client_works(stack: Stack) -> None:
    client = openai.OpenAI(base_url=f"{stack.api_url}/v1", api_key=stack.keys["load"], max_retries=0)
    made = client.responses.create(model="sim-fast", input="[[sim words=4]] hello", background=True)
    assert made.status == "queued"
    assert stack.result(made.id.removeprefix("resp_"))["status"] == "complete"
    done = client.responses.retrieve(made.id)
    assert done.status == "completed"
    assert len(done.output_text.split()) == 4
    assert done.usage is not None
    assert done.usage.total_tokens > 0
    held = client.responses.create(model="sim-fast", input="[[sim words=2]] again", previous_response_id=made.id)
    assert held.status == "completed"
    listed = client.responses.create(
        model="sim-fast", input=[{"role": "user", "content": "[[sim words=3]] as a list"}], instructions="Be brief."
    )
    assert len(listed.output_text.split()) == 3
    slow = client.responses.create(model="sim-fast", input=f"[[sim {LASTING}]] slow", background=True)
    assert client.responses.cancel(slow.id).status == "cancelled"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_task_none")
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="sim-fast", input="x", stream=True)
    client.close()


@pytest.mark.timeout(240)
def test_schemathesis_finds_no_server_error(stack: Stack) -> None:
    key = stack.new_key("api-schemathesis", "load")  # of its own: it erases its data, too
    described = stack.client(key).get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(described)
    failures: list[str] = []

    # tests/unit/api/test_openapi.py asks hundreds of times more, of the application itself.
    @settings(max_examples=2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def probe(case: Any) -> None:
        if case.query and case.query.get("wait"):
            case.query["wait"] = 0
        if isinstance(case.body, dict) and case.path == "/v1/responses":
            case.body["background"] = True
        answer = case.call(base_url=stack.api_url, headers={"Authorization": f"Bearer {key}"})
        if answer.status_code >= 500 or (answer.status_code >= 400 and "error" not in json.loads(answer.content)):
            failures.append(f"{answer.status_code} {case.as_curl_command()}")

    for operation in schema.get_all_operations():
        assert isinstance(operation, Ok), operation
        given(case=operation.ok().as_strategy())(probe)()
    assert failures == []
