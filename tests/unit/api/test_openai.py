"""The real `openai` package, synchronous and asynchronous, against the API on a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import openai
import pytest
import uvicorn
from openai.types.responses import Response, ResponseOutputMessage
from starlette.datastructures import Headers

from functions.api.app import app
from functions.api.contract import openai_problem
from functions.api.contract.problem import Problem
from functions.api.dialect import rejoin, runs
from functions.api.dialect.chat_request import checked_messages
from functions.api.dialect.request import INSTRUCTIONS_BYTES, TOOLS, TOOLS_BYTES
from functions.api.read import hold
from shared import aws, valkey, watchers
from shared.errors import DependencyDown
from shared.settings import settings
from shared.tasks import lanes, settle, store
from shared.tasks.items import row_key
from shared.tasks.model import Status, Task
from tests.unit.api.conftest import Api
from tests.unit.api.test_results import claim, complete
from tests.unit.tables import TABLE

TOOL: Any = {
    "type": "function",
    "name": "lookup",
    "description": "Look a word up.",
    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    "strict": None,
}


@pytest.fixture
def address(api: Api) -> Iterator[str]:
    """Serve the API on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()
    listener.close()
    for each in threading.enumerate():  # what streams listened with, before their connection is taken away
        if each.name == "listener":
            each.join(60)


_opened: list[openai.OpenAI] = []


def open_client(**how: Any) -> openai.OpenAI:
    """Return a client that is closed at the test's end."""
    _opened.append(openai.OpenAI(**how))
    return _opened[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


@pytest.fixture
def client(api: Api, address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=address, api_key=api.keys["demo"], max_retries=0) as made:
        yield made


@contextmanager
def ended_soon(outcome: settle.Outcome) -> Iterator[None]:
    """End whatever is submitted meanwhile, as a worker would."""
    submitted, send = [], lanes.send
    timers = []

    def end(task_id: str) -> None:
        settle.settle(claim(task_id), outcome, message="hello")
        watchers.finish(task_id)

    def noted(lane: str, task_id: str, *args: Any, **more: Any) -> None:
        send(lane, task_id, *args, **more)
        submitted.append(task_id)
        timer = threading.Timer(0.2, end, [task_id])
        timers.append(timer)
        timer.start()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "send", noted)
        yield
    for timer in timers:
        timer.join()
    assert submitted


def task_of(response: Any) -> str:
    return str(response.id.removeprefix("resp_"))


def test_background_create_retrieve_until_completed(client: openai.OpenAI) -> None:
    made = client.responses.create(model="sim-small", input="hello", background=True, metadata={"k": "v"})
    assert (made.status, made.background, made.output, made.metadata) == ("queued", True, [], {"k": "v"})
    assert made._request_id
    claimed = claim(task_of(made))
    assert client.responses.retrieve(made.id).status == "in_progress"
    settle.settle(claimed, settle.Outcome(status=Status.COMPLETE, response="hi there"), message="hello")
    done = client.responses.retrieve(made.id)
    assert (done.status, done.output_text, done.model) == ("completed", "hi there", "sim-small")
    assert done.error is None
    assert done.completed_at is not None


def test_usage_is_the_runs(client: openai.OpenAI) -> None:
    made = client.responses.create(input="hello", model="sim-small", background=True)
    complete(task_of(made))
    usage = client.responses.retrieve(made.id).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3, 4, 7)


def test_without_background_the_answer_is_held_until_it_is_there(
    api: Api, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    original = hold.hold

    def settle_soon(look: Any, *args: Any) -> Any:
        task_id = look().task_id
        seen.append(task_id)
        threading.Timer(0.3, complete, [task_id, "held"]).start()
        return original(look, *args)

    monkeypatch.setattr("functions.api.dialect.runs.hold", settle_soon)
    done = client.responses.create(model="sim-small", input="hello")
    assert (done.status, done.output_text, done.background) == ("completed", "held", False)
    assert seen == [task_of(done)]


def test_an_answer_that_takes_longer_than_the_address_holds_is_an_error_that_names_it(
    api: Api, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "life", lambda _: 0.2)
    for ask in (
        lambda: client.with_options(max_retries=2).responses.create(model="sim-small", input="hello"),
        lambda: client.with_options(max_retries=2).chat.completions.create(
            model="sim-small", messages=[{"role": "user", "content": "hello"}]
        ),
    ):
        with pytest.raises(openai.InternalServerError) as late:
            ask()
        answer = late.value.response
        task_id = answer.headers["x-sluice-task-id"]
        assert (answer.status_code, late.value.code) == (504, "response_in_progress")
        assert answer.headers["x-should-retry"] == "false"
        assert task_id in late.value.message
        complete(task_id)
        assert client.responses.retrieve(f"resp_{task_id}").status == "completed"
    assert len(api.get("/agent").json()["tasks"]) == 2


def test_a_run_whose_end_cannot_be_read_is_made_and_paid_once(
    api: Api, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store.get

    def throttled(task_id: str) -> Task:
        if threading.current_thread() is not threading.main_thread():
            raise DependencyDown("dynamodb")
        return read(task_id)

    monkeypatch.setattr(store, "get", throttled)
    with pytest.raises(openai.InternalServerError) as unseen:
        client.with_options(max_retries=2).responses.create(model="sim-small", input="hello")
    task_id = unseen.value.response.headers["x-sluice-task-id"]
    assert [task["task_id"] for task in api.get("/agent").json()["tasks"]] == [task_id]


FAILURES = [
    ("model_refused", "model_error", 400, openai.BadRequestError),
    ("context_length_exceeded", "model_error", 400, openai.BadRequestError),
    ("insufficient_quota", "insufficient_quota", 429, openai.RateLimitError),
    ("timeout", "timeout", 504, openai.InternalServerError),
    ("provider_error", "model_error", 500, openai.InternalServerError),
]


@pytest.mark.parametrize(("code", "kind", "status", "raised"), FAILURES)
def test_a_held_run_that_fails_raises_and_is_not_made_again(
    api: Api, client: openai.OpenAI, code: str, kind: str, status: int, raised: type[openai.APIStatusError]
) -> None:
    error = {"code": code, "message": "no", "type": kind}
    with ended_soon(settle.Outcome(status=Status.FAILED, error=error)), pytest.raises(raised) as failed:
        client.with_options(max_retries=2).responses.create(model="sim-small", input="hello")
    assert (failed.value.status_code, failed.value.code) == (status, code)
    assert len(api.get("/agent").json()["tasks"]) == 1


def test_cancel(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    made = client.responses.create(model="sim-small", input="hello", background=True)
    for _ in range(2):
        assert client.responses.cancel(made.id).status == "cancelled"
    running = client.responses.create(model="sim-small", input="hello", background=True)
    task = claim(task_of(running))
    timer = threading.Timer(0.3, settle.settle, [task, settle.Outcome(status=Status.CANCELLED)])
    timer.start()
    assert client.responses.cancel(running.id).status == "cancelled"
    timer.join()


def test_a_failed_run_is_a_failed_response(client: openai.OpenAI) -> None:
    made = client.responses.create(model="sim-small", input="hello", background=True)
    error = {"code": "model_refused", "message": "no", "type": "model_error"}
    settle.settle(claim(task_of(made)), settle.Outcome(status=Status.FAILED, error=error))
    failed = client.responses.retrieve(made.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("server_error", "no")


def test_what_reaches_the_worker(client: openai.OpenAI) -> None:
    choice: Any = {"type": "function", "name": "lookup"}
    items: list[Any] = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}]},
        {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": '{"word": "a"}'},
        {"type": "function_call", "call_id": "c2", "name": "lookup", "arguments": '{"word": "b"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "first"},
        {"type": "function_call_output", "call_id": "c2", "output": "second"},
    ]
    made = client.responses.create(
        model="sim-small",
        input=items,
        instructions="You look words up.",
        tools=[TOOL],
        tool_choice=choice,
        max_output_tokens=50,
        background=True,
    )
    task = store.get(task_of(made))
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "lookup", "arguments": json.dumps({"word": word})}}
        for n, word in ((1, "a"), (2, "b"))
    ]
    assert json.loads(store.message_of(task)) == [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "one\ntwo"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "first"},
        {"role": "tool", "tool_call_id": "c2", "content": "second"},
    ]
    function = {name: TOOL[name] for name in ("name", "description", "parameters")}
    assert task.params == {
        "dialect": "responses",
        "background": True,
        "input_json": True,
        "instructions": "You look words up.",
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "lookup"}},
        "max_output_tokens": 50,
    }
    assert made.tools[0].to_dict() == TOOL
    assert made.instructions == "You look words up."


def with_calls(client: openai.OpenAI, *ids: str, say: str = "") -> Any:
    """Make a response that calls tools."""
    made = client.responses.create(model="sim-small", input="hi", tools=[TOOL], background=True)
    data = {"tool_calls": [{"id": call_id, "name": "lookup", "arguments": "{}"} for call_id in ids]}
    settle.settle(claim(task_of(made)), settle.Outcome(status=Status.COMPLETE, response=say, data=data), message="hi")
    return client.responses.retrieve(made.id)


def test_answers_to_the_response_before_come_first(client: openai.OpenAI) -> None:
    before = with_calls(client, "c1", "c2")
    items: list[Any] = [
        {"role": "user", "content": "here you are"},
        {"type": "function_call_output", "call_id": "c1", "output": "first"},
        {"type": "function_call_output", "call_id": "c2", "output": "second"},
    ]
    made = client.responses.create(
        model="sim-small", input=items, background=True, previous_response_id=before.id, tools=[TOOL]
    )
    said = [one["content"] for one in json.loads(store.message_of(store.get(task_of(made))))]
    assert said == ["first", "second", "here you are"]


def test_calls_and_answers_that_do_not_meet_are_refused_by_name(client: openai.OpenAI) -> None:
    before = with_calls(client, "c1", "c2")
    first: Any = {"type": "function_call_output", "call_id": "c1", "output": "first"}
    other: Any = {"type": "function_call_output", "call_id": "c9", "output": "first"}
    for items, named in (([first], "c2"), ([other], "c9"), ([first, other], "c9")):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="sim-small", input=items, previous_response_id=before.id, background=True)
        assert named in refused.value.message
    said: Any = [{"role": "user", "content": "forget it"}]  # nobody need answer
    client.responses.create(model="sim-small", input=said, previous_response_id=before.id, background=True)


def test_an_answer_that_the_conversation_holds_may_be_sent_once_more(client: openai.OpenAI) -> None:
    """As Semantic Kernel sends all of a loop with each of its requests; what nothing asked for is refused as ever."""

    def output(call_id: str) -> Any:
        return {"type": "function_call_output", "call_id": call_id, "output": f"of {call_id}"}

    last, sent = with_calls(client, "c1"), []
    for call_id, following in (("c1", "c2"), ("c2", "c3")):
        sent.append(output(call_id))
        made = client.responses.create(model="sim-small", input=sent, background=True, previous_response_id=last.id)
        row = claim(task_of(made))
        data = {"tool_calls": [{"id": following, "name": "lookup", "arguments": "{}"}]}
        outcome = settle.Outcome(status=Status.COMPLETE, response="", data=data)
        settle.settle(row, outcome, message="", asked=json.loads(store.message_of(row)))
        last = made
    made = client.responses.create(
        model="sim-small", input=[*sent, output("c3")], background=True, previous_response_id=last.id
    )
    said = json.loads(store.message_of(store.get(task_of(made))))
    assert [one["tool_call_id"] for one in said] == ["c3"]
    for items, named in (([*sent, output("c9")], "c9"), ([*sent], "more than")):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="sim-small", input=items, previous_response_id=last.id, background=True)
        assert named in refused.value.message


def test_a_second_turn_that_replays_the_first_answer_by_reference(api: Api, client: openai.OpenAI) -> None:
    before = with_calls(client, "c1", say="let me see")
    ids = [item.id for item in before.output]
    output: Any = {"type": "function_call_output", "call_id": "c1", "output": "first"}
    items: list[Any] = [
        {"role": "user", "content": "hi"},
        *({"type": "item_reference", "id": each} for each in ids),
        {"type": "item_reference", "id": f"{ids[0]}.2"},  # the same message, as a stream of a taken-over run names it
        output,
    ]
    made = client.responses.create(model="sim-small", input=items, background=True)
    call = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
    assert json.loads(store.message_of(store.get(task_of(made)))) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "let me see", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "first"},
    ]
    theirs = open_client(base_url=client.base_url, api_key=api.keys["other"], max_retries=0)
    with pytest.raises(openai.BadRequestError) as refused:
        theirs.responses.create(model="sim-small", input=items, background=True)
    assert ids[0] in refused.value.message


def test_a_response_that_has_not_ended_or_failed_is_none_to_go_on_from(client: openai.OpenAI) -> None:
    made = client.responses.create(model="sim-small", input="one", background=True)
    for code in ("previous_response_in_progress", "previous_response_failed"):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="sim-small", input="two", previous_response_id=made.id)
        assert (refused.value.code, refused.value.param) == (code, "previous_response_id")
        assert made.id in refused.value.message
        client.responses.cancel(made.id)


def test_images_and_files_go_to_the_provider_as_it_takes_them(api: Api, client: openai.OpenAI) -> None:
    picture, paper = "data:image/png;base64," + "A" * 900_000, "data:application/pdf;base64,JVBERi0="
    parts: Any = [
        {"type": "input_text", "text": "what is this?"},
        {"type": "input_image", "image_url": picture, "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": paper},
    ]
    made = client.responses.create(model="sim-small", input=[{"role": "user", "content": parts}], background=True)
    task = store.get(task_of(made))
    assert json.loads(store.message_of(task))[0]["content"] == [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": picture, "detail": "low"}},
        {"type": "file", "file": {"file_data": paper, "filename": "a.pdf"}},
    ]
    assert task.reserved_tokens < 20_000  # not by its bytes
    large: Any = [{"type": "input_image", "image_url": "data:image/png;base64," + "A" * runs.INLINE_BYTES}]
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="sim-small", input=[{"role": "user", "content": large}], background=True)
    assert str(runs.INLINE_BYTES) in refused.value.message


def test_a_tool_call_of_the_model_is_an_output_item(client: openai.OpenAI) -> None:
    made = client.responses.create(model="sim-small", input="hi", tools=[TOOL], background=True)
    data = {"tool_calls": [{"id": "c9", "name": "lookup", "arguments": "{}"}]}
    settle.settle(claim(task_of(made)), settle.Outcome(status=Status.COMPLETE, response="", data=data))
    (item,) = client.responses.retrieve(made.id).output
    assert item.type == "function_call"
    assert (item.call_id, item.name, item.arguments) == ("c9", "lookup", "{}")


def test_a_tool_call_with_large_arguments_comes_whole(api: Api, client: openai.OpenAI) -> None:
    made = client.responses.create(model="sim-small", input="hi", tools=[TOOL], background=True)
    arguments = json.dumps({"word": "ü" * settle.RESPONSE_INLINE_BYTES}, ensure_ascii=False)
    data = {"tool_calls": [{"id": "c9", "name": "lookup", "arguments": arguments}]}
    settle.settle(claim(task_of(made)), settle.Outcome(status=Status.COMPLETE, response="", data=data))
    done = client.responses.retrieve(made.id)
    (item,) = done.output
    assert item.type == "function_call"
    assert (done.status, item.call_id, item.arguments) == ("completed", "c9", arguments)
    assert api.get(f"/result/{task_of(made)}").json()["result"]["data"] == data


def test_what_a_client_may_be_told_without_a_limit_is_reserved(client: openai.OpenAI) -> None:
    bounded, free = (
        client.responses.create(model="sim-small", input="hi", background=True, max_output_tokens=most)
        for most in (1000, None)
    )
    assert free.max_output_tokens is None
    reserved = [store.get(task_of(made)).reserved_tokens for made in (bounded, free)]
    assert reserved[1] - reserved[0] == settings().openai_output_tokens - 1000


def test_a_reply_that_its_limit_cut_is_incomplete(api: Api, client: openai.OpenAI) -> None:
    made = client.responses.create(model="sim-small", input="hi", max_output_tokens=4, background=True)
    outcome = settle.Outcome(status=Status.COMPLETE, response="as I was", data={"finish_reason": "length"})
    settle.settle(claim(task_of(made)), outcome)
    cut = client.responses.retrieve(made.id)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert (cut.incomplete_details.reason, cut.error, cut.completed_at) == ("max_output_tokens", None, None)
    (item,) = cut.output
    assert isinstance(item, ResponseOutputMessage)
    assert (item.status, cut.output_text) == ("incomplete", "as I was")
    ResponseOutputMessage.model_validate(item.to_dict(), strict=True)
    Response.model_validate(cut.to_dict(exclude_unset=False), strict=True)
    shown = api.get(f"/result/{task_of(made)}").json()
    assert (shown["status"], shown["result"]["data"]) == ("complete", {"finish_reason": "length"})


def test_of_several_tool_calls_the_cut_one_is_incomplete(client: openai.OpenAI) -> None:
    made = client.responses.create(model="sim-small", input="hi", tools=[TOOL], background=True)
    calls = [
        {"id": "c1", "name": "lookup", "arguments": '{"word": "a"}'},
        {"id": "c2", "name": "lookup", "arguments": '{"word": "'},
    ]
    data = {"tool_calls": calls, "finish_reason": "length"}
    settle.settle(claim(task_of(made)), settle.Outcome(status=Status.COMPLETE, response="so:", data=data))
    cut = client.responses.retrieve(made.id)
    shown = [(item.type, getattr(item, "status", None)) for item in cut.output]
    assert cut.status == "incomplete"
    assert shown == [("message", "completed"), ("function_call", "completed"), ("function_call", "incomplete")]


def test_previous_response_id_goes_on_in_its_session(api: Api, client: openai.OpenAI) -> None:
    first = client.responses.create(model="sim-small", input="one", background=True)
    other = client.responses.create(model="sim-small", input="else", background=True)
    complete(task_of(first))
    second = client.responses.create(model="sim-small", input="two", background=True, previous_response_id=first.id)
    assert second.previous_response_id == first.id
    sessions = [store.get(task_of(r)).session_id for r in (first, second, other)]
    assert sessions[0] == sessions[1] != sessions[2]
    for unknown in ("resp_task_x", "nonsense", f"resp_{api.submit('other').json()['task_id']}"):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="sim-small", input="x", previous_response_id=unknown)
        assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")


def test_errors_are_the_sdks_own_classes(api: Api, client: openai.OpenAI, address: str) -> None:
    with pytest.raises(openai.AuthenticationError) as unknown:
        open_client(base_url=address, api_key="sk-wrong", max_retries=0).responses.retrieve("resp_x")
    assert unknown.value.code == "invalid_api_key"
    theirs = api.submit("other").json()["task_id"]
    for response_id in ("resp_nothing", "nothing", f"resp_{theirs}"):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(response_id)
        with pytest.raises(openai.NotFoundError):
            client.responses.cancel(response_id)
    free = open_client(base_url=address, api_key=api.keys["free"], max_retries=0)
    with pytest.raises(openai.PermissionDeniedError) as denied:
        free.responses.create(model="gpt-4", input="x")
    assert denied.value.code == "model_not_found"
    for _ in range(20):
        free.responses.create(model="sim-small", input="x", background=True)
    with pytest.raises(openai.RateLimitError) as limited:
        free.responses.create(model="sim-small", input="x", background=True)
    assert limited.value.code == "rate_limit_exceeded"
    assert int(limited.value.response.headers["retry-after"]) > openai_problem.LONGEST_WAIT_S
    assert limited.value.response.headers["x-should-retry"] == "false"  # npm's client would ask again at once
    assert limited.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert limited.value.request_id


def test_a_spent_budget_is_429_that_the_sdk_does_not_retry(api: Api, address: str) -> None:
    poor = open_client(base_url=address, api_key=api.keys["poor"], max_retries=2)
    for _ in range(2):
        poor.responses.create(model="sim-small", input="x", background=True)
    with pytest.raises(openai.RateLimitError) as spent:
        poor.responses.create(model="sim-small", input="x", background=True)
    assert (spent.value.code, spent.value.type) == ("insufficient_quota", "insufficient_quota")
    assert spent.value.response.headers["x-should-retry"] == "false"
    assert spent.value.response.request.headers["x-stainless-retry-count"] == "0"


def test_what_codex_tells_of_itself_is_taken_and_kept_nowhere(client: openai.OpenAI) -> None:
    """Codex 0.171 sends it with every request; its other fields are those of the openai package."""
    told = {"client_metadata": {"x-codex-window-id": "window:0", "session_id": "a-session-of-codex"}}
    given: Any = {"store": False, "include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}}
    given |= {"parallel_tool_calls": True, "prompt_cache_key": "a-key", "tools": [TOOL | {"strict": False}]}
    said: Any = [{"type": "message", "id": "msg_of-its-own", "role": "developer", "content": "Be quick."}]
    made = client.responses.create(model="gpt-5", input=said, background=True, extra_body=told, **given)
    assert "codex" not in str(store.get(task_of(made)))
    assert not hasattr(made, "client_metadata")
    with pytest.raises(openai.BadRequestError, match="client_metadata"):
        client.responses.create(model="gpt-5", input=said, background=True, extra_body={"client_metadata": "text"})


@pytest.mark.parametrize("dialect", ["responses", "chat"])
def test_as_many_and_as_large_tools_as_programs_bring_are_taken(
    api: Api, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    monkeypatch.setattr(runs, "life", lambda _: 0.0)
    described = {"description": "d" * (TOOLS_BYTES // TOOLS - 170)}
    functions = [TOOL | described | {"name": f"tool_{n:03d}"} for n in range(TOOLS)]
    nested = [{"type": "function", "function": {k: v for k, v in one.items() if k != "type"}} for one in functions]
    if dialect == "chat":
        path, body = "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "tools": nested}
    else:
        path, body = "/v1/responses", {"input": "x", "tools": functions}
    made = api.post(path, model="sim-small", **body)
    assert made.status_code == 504, "it waits for a worker that is not there"
    kept = store.get(made.headers["x-sluice-task-id"]).params["tools"]
    assert len(kept) == 128
    assert 64_000 < len(json.dumps(kept)) < TOOLS_BYTES


def test_parameters_of_the_provider_reach_the_worker_and_are_echoed(client: openai.OpenAI) -> None:
    schema: Any = {"type": "object", "properties": {"x": {"type": "integer"}}}
    format: Any = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    given: Any = {
        "temperature": 0.5,
        "top_p": 0.5,
        "parallel_tool_calls": False,
        "top_logprobs": 2,
        "truncation": "auto",
        "max_tool_calls": 3,
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
    }
    made = client.responses.create(
        model="sim-small",
        input="x",
        background=True,
        text={"format": format, "verbosity": "low"},
        reasoning={"effort": "low", "summary": "auto"},
        include=["reasoning.encrypted_content"],
        tools=[TOOL],
        **given,
    )
    params = store.get(task_of(made)).params
    assert params["options"] == {
        "temperature": 0.5,
        "top_p": 0.5,
        "parallel_tool_calls": False,
        "logprobs": True,
        "top_logprobs": 2,
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "verbosity": "low",
        "reasoning_effort": "low",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        },
    }
    shown = made.to_dict()
    assert {name: shown[name] for name in given} == given
    assert shown["text"] == {"format": format | {"description": None}, "verbosity": "low"}
    assert shown["reasoning"] == {"effort": "low", "summary": "auto"}


def test_nothing_given_is_nothing_passed_on(client: openai.OpenAI) -> None:
    made = client.responses.create(
        model="sim-small",
        input="x",
        background=True,
        stream=False,
        store=True,
        service_tier="auto",
        text={"format": {"type": "text"}},
        include=[],
        reasoning=None,
        user="somebody",
        instructions="i" * INSTRUCTIONS_BYTES,
    )
    task = store.get(task_of(made))
    assert task.user == "demo"
    assert "options" not in task.params
    assert (made.temperature, made.top_p, made.parallel_tool_calls, made.truncation) == (1, 1, True, "disabled")


def test_models_are_those_of_the_tier(api: Api, client: openai.OpenAI, address: str) -> None:
    mine = {model.id for model in client.models.list()}
    assert "gpt-4o" in mine
    free = open_client(base_url=address, api_key=api.keys["free"], max_retries=0)
    assert {model.id for model in free.models.list()} == {"gpt-4o-mini", "gpt-4.1-nano", "gpt-5-nano"}
    assert free.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
    with pytest.raises(openai.NotFoundError):
        free.models.retrieve("gpt-4o")


def test_a_service_names_its_user(api: Api, address: str) -> None:
    service = open_client(base_url=address, api_key=api.keys["service"], max_retries=0)
    made = service.responses.create(model="sim-small", input="x", background=True, user="ann")
    assert store.get(task_of(made)).user == "service/ann"
    assert service.responses.retrieve(made.id).status == "queued"


def test_a_repeat_with_the_same_key_is_the_same_response(client: openai.OpenAI) -> None:
    ids = {
        client.responses.create(
            model="sim-small", input="x", background=True, extra_headers={"Idempotency-Key": "k1"}
        ).id
        for _ in range(2)
    }
    assert len(ids) == 1


def test_the_asynchronous_client(api: Api, address: str) -> None:
    async def drive() -> None:
        async with openai.AsyncOpenAI(base_url=address, api_key=api.keys["demo"], max_retries=0) as client:
            made = await asyncio.gather(
                *(client.responses.create(model="sim-small", input=f"n{n}", background=True) for n in range(5))
            )
            for n, response in enumerate(made):
                await asyncio.to_thread(complete, task_of(response), f"r{n}")
            done = await asyncio.gather(*(client.responses.retrieve(response.id) for response in made))
            assert [response.output_text for response in done] == [f"r{n}" for n in range(5)]
            last = await client.responses.create(model="sim-small", input="x", background=True)
            assert (await client.responses.cancel(last.id)).status == "cancelled"
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve("resp_none")
            with ended_soon(settle.Outcome(status=Status.COMPLETE, response="streamed")):
                stream = await client.responses.create(model="sim-small", input="x", stream=True)
                kinds = [event.type async for event in stream]
            assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")

    asyncio.run(drive())


def ask_for_a_stream(client: openai.OpenAI) -> list[Any]:
    return list(client.responses.create(model="sim-small", input="hello", stream=True))


def test_a_stream_is_the_run_and_is_taken_up_again_after_any_event(client: openai.OpenAI) -> None:
    with ended_soon(settle.Outcome(status=Status.COMPLETE, response="hi there")):
        events = ask_for_a_stream(client)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "hi there"
    done = events[-1].response
    assert client.responses.retrieve(done.id).to_dict() == done.to_dict()
    for n in range(len(events)):
        rest = list(client.responses.retrieve(done.id, stream=True, starting_after=n))
        assert [event.to_dict() for event in rest] == [event.to_dict() for event in events[n + 1 :]]


def test_the_sdks_own_helpers_read_a_stream(client: openai.OpenAI) -> None:
    outcome = settle.Outcome(status=Status.COMPLETE, response="hi there")
    with ended_soon(outcome), client.responses.stream(model="sim-small", input="hello") as stream:
        assert stream.get_final_response().output_text == "hi there"
    chat: Any = [{"role": "user", "content": "hello"}]
    with ended_soon(outcome), client.chat.completions.stream(model="sim-small", messages=chat) as chunks:
        assert chunks.get_final_completion().choices[0].message.content == "hi there"


def test_a_run_that_fails_raises_out_of_its_stream(client: openai.OpenAI) -> None:
    error = {"code": "model_refused", "message": "no", "type": "model_error"}
    chat: Any = [{"role": "user", "content": "hello"}]
    with ended_soon(settle.Outcome(status=Status.FAILED, error=error)):
        with pytest.raises(openai.APIError, match="no"):
            ask_for_a_stream(client)
        with pytest.raises(openai.APIError, match="no"):
            list(client.chat.completions.create(model="sim-small", messages=chat, stream=True))


def test_a_chat_completion_is_a_task(api: Api, client: openai.OpenAI) -> None:
    data = {"tool_calls": [{"id": "c9", "name": "lookup", "arguments": "{}"}]}
    tool: Any = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
    chat: Any = [
        {"role": "developer", "content": "be brief"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "https://a.b/u"}}],
        },
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": CALLED}]},
        {"role": "tool", "tool_call_id": "c1", "content": "first"},
    ]
    with ended_soon(settle.Outcome(status=Status.COMPLETE, response="", data=data)):
        raw = client.chat.completions.with_raw_response.create(
            model="sim-small",
            messages=chat,
            tools=[tool],
            max_completion_tokens=50,
            stop=["."],
            seed=1,
            logprobs=True,
            response_format={"type": "json_object"},
        )
    done = raw.parse()
    task_id = raw.headers["x-sluice-task-id"]
    (choice,) = done.choices
    assert (done.id, choice.finish_reason) == (f"chatcmpl-{task_id}", "tool_calls")
    assert choice.message.tool_calls is not None
    assert choice.message.tool_calls[0].id == "c9"
    assert [task["task_id"] for task in api.get("/agent").json()["tasks"]] == [task_id]
    task = store.get(task_id)
    assert json.loads(store.message_of(task)) == [chat[0], chat[1], chat[2] | NONE, chat[3]]
    assert task.params["max_output_tokens"] == 50
    options = {"stop": ["."], "seed": 1, "logprobs": True, "response_format": {"type": "json_object"}}
    assert task.params["options"] == options


CALLED = {"name": "lookup", "arguments": "{}"}
NONE = {"content": None}


def test_the_sdks_own_retry_joins_the_run_of_its_first_try(api: Api, client: openai.OpenAI) -> None:
    impatient = client.with_options(timeout=0.3, max_retries=1)
    with pytest.raises(openai.APITimeoutError):
        impatient.responses.create(model="sim-small", input="hello")
    while not (tasks := api.get("/agent").json()["tasks"]):  # its first try may still be taken on
        pass
    (task,) = tasks
    for again in range(2):
        complete(task["task_id"]) if not again else None
        done = client.responses.create(model="sim-small", input="hello", extra_headers={"x-stainless-retry-count": "1"})
        assert task_of(done) == task["task_id"]
    other: Any = {"model": "sim-small", "background": True, "extra_headers": {"x-stainless-retry-count": "1"}}
    assert task_of(client.responses.create(input="other", **other)) != task["task_id"]
    asked_twice = client.responses.create(model="sim-small", input="hello", background=True)
    assert task_of(asked_twice) != task["task_id"]


REPEAT = {"x-stainless-retry-count": "1"}


def test_a_retry_that_comes_before_its_run_is_there_waits_for_it(
    api: Api, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, begun, go = runs.submit, threading.Event(), threading.Event()

    def slow(*args: Any, **more: Any) -> Any:
        begun.set()
        assert go.wait(60)
        return real(*args, **more)

    def ask(**more: Any) -> Any:
        return client.responses.create(model="sim-small", input="slow", background=True, **more)

    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr(runs, "submit", slow)
        first = pool.submit(ask)
        assert begun.wait(60)
        monkeypatch.setattr(runs, "submit", real)
        repeat = pool.submit(ask, extra_headers=REPEAT)
        time.sleep(0.3)
        assert not repeat.done()
        go.set()
        assert first.result().id == repeat.result().id
    assert len(api.get("/agent").json()["tasks"]) == 1


def test_a_retry_waits_for_nothing_after_a_refusal_and_not_long_for_a_request_that_died(
    api: Api, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, begun = runs.submit, []

    def refused(*args: Any, **more: Any) -> Any:
        begun.extend(valkey.client().scan_iter("*rejoin*"))
        raise DependencyDown("dynamodb")

    def ask(**more: Any) -> Any:
        return client.with_options(max_retries=0).responses.create(
            model="sim-small", input="no", background=True, **more
        )

    monkeypatch.setattr(runs, "submit", refused)
    with pytest.raises(openai.InternalServerError):
        ask()
    (key,) = begun
    assert not valkey.client().exists(key)
    monkeypatch.setattr(runs, "submit", real)
    monkeypatch.setattr(rejoin, "WAIT_SECONDS", 0.3)
    valkey.client().set(key, f"{rejoin.MARK}1", ex=rejoin.TAKING_SECONDS)  # its function ended before the run was there
    made = ask(extra_headers=REPEAT)
    assert task_of(made) == api.get("/agent").json()["tasks"][0]["task_id"]
    assert valkey.client().get(key) == task_of(made)  # and is what the next repeat joins


@pytest.mark.parametrize("made_before", [True, False])
def test_of_two_that_send_the_same_at_once_neither_takes_the_others_run_away(
    api: Api, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, made_before: bool
) -> None:
    """The second is still being taken on, or was, when the first comes to nothing; its repeat makes no run again."""
    real, begun, go = runs.submit, threading.Event(), threading.Event()
    once = client.with_options(max_retries=0)

    def ask(**more: Any) -> Any:
        return once.responses.create(model="sim-small", input="both", background=True, **more)

    def slow(*args: Any, **more: Any) -> Any:
        begun.set()
        assert go.wait(60)
        return real(*args, **more)

    with ThreadPoolExecutor(2) as pool:

        def refused(*args: Any, **more: Any) -> Any:
            monkeypatch.setattr(runs, "submit", real if made_before else slow)
            second.append(pool.submit(ask))
            second[0].result() if made_before else begun.wait(60)
            raise DependencyDown("dynamodb")

        second: list[Any] = []
        monkeypatch.setattr(runs, "submit", refused)
        with pytest.raises(openai.InternalServerError):
            ask()
        monkeypatch.setattr(runs, "submit", real)
        repeat = pool.submit(ask, extra_headers=REPEAT)
        if not made_before:
            time.sleep(0.3)
            assert not repeat.done()
        go.set()
        assert second[0].result().id == repeat.result().id
    assert len(api.get("/agent").json()["tasks"]) == 1


def test_what_is_asked_again_and_refused_leaves_the_run_before_it(
    api: Api, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runs.submit

    def refused(*args: Any, **more: Any) -> Any:
        raise DependencyDown("dynamodb")

    def ask(**more: Any) -> Any:
        once = client.with_options(max_retries=0)
        return once.responses.create(model="sim-small", input="again", background=True, **more)

    first = ask()
    monkeypatch.setattr(runs, "submit", refused)
    with pytest.raises(openai.InternalServerError):
        ask()
    monkeypatch.setattr(runs, "submit", real)
    assert ask(extra_headers=REPEAT).id == first.id
    assert ask().id != first.id


def test_a_mark_whose_answer_was_late_is_withdrawn_like_any(
    redis_settings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of Valkey repeats a command that had no answer in time, though it was carried out."""
    assert redis_settings
    server = valkey.client()
    mark = server.set
    monkeypatch.setattr(server, "set", lambda *what, **how: [mark(*what, **how) for _ in range(2)][-1])
    request = rejoin.Rejoin("demo", "here", {"input": "no"}, Headers({rejoin.COUNT_HEADER: "0"}))

    def refused() -> None:
        assert server.get(request._key).startswith(rejoin.MARK)
        raise DependencyDown("dynamodb")

    with pytest.raises(DependencyDown), request.taking():
        refused()
    assert not server.exists(request._key)


def test_nothing_is_marked_for_a_client_that_does_not_count_its_tries(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked: list[str] = []

    def refused(*args: Any, **more: Any) -> Any:
        marked.extend(valkey.client().scan_iter("*rejoin*"))
        raise DependencyDown("dynamodb")

    monkeypatch.setattr(runs, "submit", refused)
    body = {"model": "sim-small", "input": "no", "background": True}
    for count, marks in ({}, 0), ({"x-stainless-retry-count": "0"}, 1):
        api.client.post("/v1/responses", json=body, headers=api.head() | count)
        assert len(marked) == marks


def test_deleting_a_response_deletes_its_task_and_its_turn(api: Api, client: openai.OpenAI) -> None:
    made = client.responses.create(model="sim-small", input="one", background=True)
    with pytest.raises(openai.ConflictError):
        client.responses.delete(made.id)
    complete(task_of(made))
    session = store.get(task_of(made)).session_id
    assert len(api.get(f"/sessions/{session}").json()["turns"]) == 1
    client.responses.delete(made.id)
    assert api.get(f"/sessions/{session}").json()["turns"] == []
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    assert api.get(f"/result/{task_of(made)}").status_code == 404


def test_input_items_are_what_was_asked(client: openai.OpenAI) -> None:
    before = with_calls(client, "c1")
    items: list[Any] = [
        {"type": "function_call_output", "call_id": "c1", "output": "first"},
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "https://a.b/u"}],
        },
    ]
    made = client.responses.create(
        model="sim-small", input=items, previous_response_id=before.id, background=True, tools=[TOOL]
    )
    listed: Any = client.responses.input_items.list(made.id, order="asc").data
    assert [item.type for item in listed] == ["function_call_output", "message"]
    assert [part.type for part in listed[1].content] == ["input_text", "input_image"]
    one: Any = client.responses.input_items.list(made.id, limit=1)
    assert [item.type for item in one] == ["message", "function_call_output"]  # page by page, the newest first
    plain = client.responses.create(model="sim-small", input="hello", background=True)
    (only,) = client.responses.input_items.list(plain.id).data
    assert only.to_dict()["content"] == [{"type": "input_text", "text": "hello"}]


def test_what_was_asked_reads_back_with_its_roles_and_with_texts_that_are_empty(client: openai.OpenAI) -> None:
    calls: Any = {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": ""}
    asked: Any = [
        {"role": "developer", "content": ""},
        {"role": "system", "content": "b"},
        {"role": "user", "content": [{"type": "input_text", "text": ""}]},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "c"},
        calls,
        {"type": "function_call_output", "call_id": "c1", "output": ""},
    ]
    texts = [("developer", ""), ("system", "b"), ("user", ""), ("assistant", ""), ("user", "c")]
    made = client.responses.create(model="sim-small", input=asked, background=True)
    talk = client.conversations.create(items=asked)
    for listed in (
        client.responses.input_items.list(made.id, order="asc"),
        client.conversations.items.list(talk.id, order="asc"),
    ):
        items: Any = listed.data
        assert [(item.role, item.content[0].text) for item in items[:5]] == texts
        assert [item.type for item in items[5:]] == ["function_call", "function_call_output"]
    for n in range(5):
        client.conversations.items.delete(items[n].id, conversation_id=talk.id)
        left = client.conversations.items.list(talk.id, order="asc").data
        assert [item.id for item in left] == [item.id for item in items[n + 1 :]]


def test_an_empty_answer_is_an_item_of_its_conversation_as_of_its_response(client: openai.OpenAI) -> None:
    talk = client.conversations.create()
    made = client.responses.create(model="sim-small", input="say nothing", conversation=talk.id, background=True)
    complete(task_of(made), "", "say nothing")
    answer = client.responses.retrieve(made.id).output[0].id
    assert client.conversations.items.list(talk.id, limit=1).data[0].id == answer


def test_input_tokens_are_estimated_and_nothing_is_run(api: Api, client: openai.OpenAI) -> None:
    counted = client.responses.input_tokens.count(model="sim-small", input="x" * 4000)
    assert 1000 <= counted.input_tokens <= 1200
    assert api.get("/agent").json()["tasks"] == []


def test_a_conversation_holds_items_and_the_turns_made_in_it(api: Api, client: openai.OpenAI) -> None:
    made = client.conversations.create(items=[{"role": "user", "content": "my name is Ann"}], metadata={"k": "v"})
    assert client.conversations.retrieve(made.id).metadata == {"k": "v"}
    assert client.conversations.update(made.id, metadata={"k": "w"}).metadata == {"k": "w"}
    client.conversations.items.create(made.id, items=[{"role": "assistant", "content": "hello Ann"}])
    response = client.responses.create(model="sim-small", input="who am I?", conversation=made.id, background=True)
    assert response.conversation is not None
    assert response.conversation.id == made.id
    complete(task_of(response), "Ann", "who am I?")
    items: Any = client.conversations.items.list(made.id, order="asc").data
    texts = [item.content[0].text for item in items]
    assert texts == ["my name is Ann", "hello Ann", "who am I?", "Ann"]
    assert client.conversations.items.retrieve(items[0].id, conversation_id=made.id).id == items[0].id
    theirs = open_client(base_url=client.base_url, api_key=api.keys["other"], max_retries=0)
    for ask in (theirs.conversations.retrieve, theirs.conversations.delete):
        with pytest.raises(openai.NotFoundError):
            ask(made.id)
    client.conversations.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="sim-small", input="x", conversation=made.id, background=True)


def test_a_response_that_is_not_stored_is_gone_after_an_hour(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.responses.create(model="sim-small", input="one", background=True, store=False)
    assert made.store is False
    complete(task_of(made))
    assert client.responses.retrieve(made.id).status == "completed"
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="sim-small", input="two", previous_response_id=made.id)
    row = aws.dynamodb().get_item(TableName=TABLE, Key=row_key(task_of(made)))["Item"]
    assert int(row["ttl"]["N"]) <= time.time() + 3600
    monkeypatch.setattr(settle, "UNSTORED_SECONDS", -1)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_a_compaction_stands_for_its_conversation(client: openai.OpenAI) -> None:
    items: Any = [{"role": "user", "content": "my name is Ann"}, {"role": "assistant", "content": "hello Ann"}]
    with ended_soon(settle.Outcome(status=Status.COMPLETE, response="She is Ann.")):
        raw = client.responses.with_raw_response.compact(model="sim-small", input=items)
    assert [item.type for item in raw.parse().output] == ["message", "compaction"]
    output = json.loads(raw.text)["output"]
    again: Any = [*output, {"role": "user", "content": "who am I?"}]
    made = client.responses.create(model="sim-small", input=again, background=True)
    said = [one["content"] for one in json.loads(store.message_of(store.get(task_of(made))))]
    assert said == ["my name is Ann", "Summary of the conversation so far:\nShe is Ann.", "who am I?"]
    with pytest.raises(openai.BadRequestError):
        client.responses.compact(model="sim-small", input=[])


@pytest.mark.parametrize("empty", [None, []])
def test_an_assistants_message_that_only_calls_may_have_no_content_or_an_empty_list(empty: Any) -> None:
    call = {"id": "c1", "type": "function", "function": CALLED}
    output = {"role": "tool", "tool_call_id": "c1", "content": "first"}
    asked = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": empty, "tool_calls": [call]}, output]
    assert checked_messages(asked)[1] == {"role": "assistant", "content": None, "tool_calls": [call]}
    with pytest.raises(Problem, match="list of parts"):
        checked_messages([{"role": "assistant", "content": empty}])
