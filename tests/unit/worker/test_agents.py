"""The agents in a real worker, with a provider that says exactly what a test wants a model to say."""

import json
import random
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from functions.worker import agents
from functions.worker.agents.tools import MAX_ROUNDS, RESULT_CHARACTERS
from functions.worker.environment import clients
from functions.worker.model import message_shapes
from functions.worker.tools.toolbox import TOOLS
from shared.errors import NotFound
from shared.settings import settings
from shared.tasks import checkpoints, events, sessions, settle, store
from shared.tasks.model import Status, Task
from sluice import AgentResult
from tests.unit.worker.conftest import World

Call = tuple[str, str]


class Provider:
    """Answers each request with the next of its replies, the last one for ever: a text, or tool calls."""

    def __init__(self) -> None:
        self.replies: list[str | list[Call]] = []
        self.asked: list[dict[str, Any]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                reply = provider.replies[min(len(provider.asked), len(provider.replies) - 1)]
                provider.asked.append(body)
                data = provider.stream(reply)
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def stream(self, reply: str | list[Call]) -> bytes:
        delta: dict[str, Any] = {"content": reply}
        if not isinstance(reply, str):
            delta = {
                "tool_calls": [
                    {"index": n, "id": f"call_{n}", "function": {"name": name, "arguments": arguments}}
                    for n, (name, arguments) in enumerate(reply)
                ]
            }
        finish = "stop" if isinstance(reply, str) else "tool_calls"
        usage = {"prompt_tokens": 5, "completion_tokens": 3}
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": usage}
        return f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()

    def results(self, request: int) -> list[Any]:
        """What the model was told of its tool calls in a request."""
        return [json.loads(one["content"]) for one in self.asked[request]["messages"] if one["role"] == "tool"]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def provider(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    yield from serve(monkeypatch)


def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """Have the worker ask a provider that says what a test wants."""
    made = Provider()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{made.server.server_address[1]}/v1")
    settings.cache_clear()
    clients.model.cache_clear()
    yield made
    made.close()


def finish(world: World, message: str, *, agent: str = "tools", **changes: Any) -> tuple[Task, str]:
    """Submit, work, and return the ended task with its response."""
    task = world.submit(message, agent=agent, **changes)
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.status is Status.COMPLETE, (row.status, row.error)
    result = settle.result_of(row)
    assert result is not None
    return row, str(result["response"])


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("calculator", "{not json", "not JSON"),
        ("calculator", '{"expression": NaN}', "not JSON"),
        ("calculator", '{"expression": 1e999}', "not JSON"),
        ("calculator", '{"expression": "\\ud83d"}', "not JSON"),
        ("calculator", "[" * 100_000, "not JSON"),
        ("calculator", "[1]", "must be a JSON object"),
        ("calculator", "", "expression must be a text"),
        ("calculator", '{"expression": 3}', "expression must be a text"),
        ("calculator", '{"expression": "9**9**9"}', "too large"),
        ("calculator", '{"expression": "round(5, -1000000000)"}', "digits"),
        ("current_time", '{"timezone": "Mars/Olympus"}', "no time zone"),
        ("current_time", '{"timezone": "../../etc/passwd"}', "no time zone"),
        ("fetch_page", '{"url": "http://169.254.169.254/latest/meta-data/"}', "cannot be reached"),
        ("fetch_page", '{"url": "file:///etc/passwd"}', "only http and https"),
        ("delete_everything", "{}", "there is no tool"),
    ],
)
def test_what_a_model_gets_wrong_is_told_to_it_and_the_run_goes_on(
    world: World, provider: Provider, name: str, arguments: str, told: str
) -> None:
    provider.replies = [[(name, arguments)], "never mind"]
    row, response = finish(world, "do it")
    assert response == "never mind"
    (result,) = provider.results(1)
    assert told in result["error"]
    assert (row.attempt, len(provider.asked)) == (0, 2)
    (call,) = (call for one in provider.asked[1]["messages"] for call in one.get("tool_calls") or ())
    assert isinstance(strictly(call["function"]["arguments"]), dict)  # which a chat template reads


def strictly(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_a_model_is_shown_again_what_it_wrote_instead_of_arguments() -> None:
    def message(arguments: str) -> dict[str, Any]:
        return {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": arguments}}]}

    whole = [{"role": "user", "content": "hi"}, message('{"x": 1}')]
    assert message_shapes.readable(whole) == whole
    assert message_shapes.readable(whole[:1]) is not None
    kept = [message('{"x": '), message(""), message("[1]")]
    made = message_shapes.readable(kept)
    given = [json.loads(one["tool_calls"][0]["function"]["arguments"]) for one in made]
    assert given == [{message_shapes.UNREADABLE: '{"x": '}, {}, {message_shapes.UNREADABLE: "[1]"}]
    assert kept[0] == message('{"x": ')  # what is recorded stays as it was written


def test_a_call_that_a_limit_cut_is_not_asked_for_again(world: World) -> None:
    row, response = finish(
        world, '[[sim tool=calculator args={"expression":"1 + 2 + 3"}]] add', params={"max_output_tokens": 4}
    )
    assert (response, data_of(row)) == ("", {"rounds": 1, "finish_reason": "length"})


def test_parallel_calls_are_steps_of_their_own_and_keep_their_order(world: World, provider: Provider) -> None:
    sums = [("calculator", json.dumps({"expression": f"{n}*10"})) for n in range(1, 6)]
    provider.replies = [[*sums, ("current_time", "{}")], "done"]
    row, _ = finish(world, "many at once")
    told = provider.results(1)
    assert [one["value"] for one in told[:5]] == [10, 20, 30, 40, 50]
    assert told[5]["timezone"] == "UTC"
    names = [name for name, _ in checkpoints.load(row.task_id)]
    assert sorted(name for name in names if name != "model") == [
        *(f"calculator.1.{n}" for n in range(1, 6)),
        "current_time.1.6",
    ]
    called = [event for event in events.read(row.task_id, after=0).events if event.type == "tool_call"]
    assert len(called) == 6


def test_a_model_that_never_stops_calling_is_stopped(world: World, provider: Provider) -> None:
    provider.replies = [[("calculator", '{"expression": "1+1"}')]]
    _, response = finish(world, "for ever")
    assert "limit" in response
    assert len(provider.asked) == MAX_ROUNDS
    # Some providers want the tools described wherever the messages hold calls: they stay, and may not be called.
    assert all(asked["tools"] for asked in provider.asked)
    assert [asked.get("tool_choice") for asked in provider.asked] == [None] * (MAX_ROUNDS - 1) + ["none"]


def test_a_model_is_shown_so_much_of_a_result(world: World, provider: Provider) -> None:
    digits = "9" * 400
    provider.replies = [[("calculator", json.dumps({"expression": digits}))], "ok"]
    finish(world, "a long number")
    shown = [one["content"] for one in provider.asked[1]["messages"] if one["role"] == "tool"]
    assert shown == [f'{{"value": {digits}}}']
    assert len(shown[0]) <= RESULT_CHARACTERS


def test_chat_remembers_its_session_and_takes_instructions(world: World, provider: Provider) -> None:
    provider.replies = ["first answer", "second answer"]
    finish(world, "first question", agent="chat", session_id="s")
    finish(world, "second question", agent="chat", session_id="s", params={"instructions": "Be brief."})
    assert provider.asked[1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "first question"},
        {"role": "assistant", "content": "first answer"},
        {"role": "user", "content": "second question"},
    ]


def test_a_message_list_is_used_as_it_is_after_the_history(world: World, provider: Provider) -> None:
    provider.replies = ["first answer", "second answer"]
    finish(world, "first question", agent="chat", session_id="s")
    given = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    finish(world, json.dumps(given), agent="chat", session_id="s", params={"input_json": True})
    messages = provider.asked[1]["messages"]
    assert messages[0]["role"] == "system"
    assert [one["content"] for one in messages[1:3]] == ["first question", "first answer"]
    assert messages[3:] == given


def test_chat_hands_on_tools_that_came_with_the_request(world: World, provider: Provider) -> None:
    provider.replies = [[("weather", '{"city": "Oslo"}')]]
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    row, response = finish(world, "weather?", agent="chat", params={"tools": [tool], "tool_choice": "required"})
    assert (provider.asked[0]["tools"], provider.asked[0]["tool_choice"]) == ([tool], "required")
    assert response == ""
    result = settle.result_of(row)
    assert result is not None
    assert result["data"]["tool_calls"] == [{"id": "call_0", "name": "weather", "arguments": '{"city": "Oslo"}'}]


def data_of(row: Task) -> Any:
    result = settle.result_of(row)
    assert result is not None
    return result.get("data")


@pytest.mark.parametrize(("agent", "besides"), [("chat", {}), ("tools", {"rounds": 1})])
def test_a_reply_that_its_limit_cut_is_told_as_such(world: World, agent: str, besides: dict[str, Any]) -> None:
    for limit, more in ((4, {"finish_reason": "length"}), (5, {})):
        row, response = finish(world, "[[sim words=5]] hello", agent=agent, params={"max_output_tokens": limit})
        assert len(response.split()) == limit
        assert (data_of(row) or {}) == besides | more


def test_a_tool_call_that_its_limit_cut_is_told_as_such(world: World) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    asked = '[[sim tool=weather args={"city":"Oslo in the winter"}]] weather?'
    row, _ = finish(world, asked, agent="chat", params={"tools": [tool], "max_output_tokens": 4})
    data = data_of(row)
    assert data["finish_reason"] == "length"
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(data["tool_calls"][0]["arguments"])


LOOKUP = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
LIST: dict[str, Any] = {"input_json": True, "tools": [LOOKUP]}
OUTPUT = json.dumps([{"role": "tool", "tool_call_id": "call_0", "content": "42"}])


CALL = {"id": "call_0", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}


def test_the_clients_answer_to_a_tool_call_follows_the_call(world: World, provider: Provider) -> None:
    provider.replies = [[("lookup", "{}")], "it is 42", "indeed"]
    finish(world, "what is it?", agent="chat", params={"tools": [LOOKUP]})
    finish(world, OUTPUT, agent="chat", params=LIST)
    finish(world, "sure?", agent="chat")
    first = [{"role": "user", "content": "what is it?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
    second = [{"role": "tool", "tool_call_id": "call_0", "content": "42"}]
    assert provider.asked[1]["messages"][1:] == [*first, *second]
    third = [{"role": "assistant", "content": "it is 42"}, {"role": "user", "content": "sure?"}]
    assert provider.asked[2]["messages"][1:] == [*first, *second, *third]
    turns = sessions.read("ann", "default", limit=5)
    assert [(turn.user, turn.assistant) for turn in turns] == [
        ("what is it?", ""), ("", "it is 42"), ("sure?", "indeed"),
    ]  # fmt: skip


def test_a_message_list_is_remembered_as_messages_and_shown_as_text(world: World, provider: Provider) -> None:
    given = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    provider.replies = ["d", "f"]
    finish(world, json.dumps(given), agent="chat", params=LIST)
    finish(world, "e", agent="chat")
    assert [one["content"] for one in provider.asked[1]["messages"][1:]] == ["a", "b", "c", "d", "e"]
    assert [turn.user for turn in sessions.read("ann", "default", limit=2)] == ["c", "e"]


def test_a_tool_call_that_was_never_answered_does_not_stand_in_the_way(world: World, provider: Provider) -> None:
    provider.replies = [[("lookup", "{}")], "never mind", "hello"]
    finish(world, "what is it?", agent="chat", params={"tools": [LOOKUP]})
    finish(world, "forget it", agent="chat")
    assert provider.asked[1]["messages"][1:] == [
        {"role": "user", "content": "what is it?"},
        {"role": "user", "content": "forget it"},
    ]


def test_of_two_tool_calls_the_one_that_was_answered_stays(world: World, provider: Provider) -> None:
    provider.replies = [[("lookup", "{}"), ("lookup", "{}")], "half of it"]
    finish(world, "what is it?", agent="chat", params={"tools": [LOOKUP]})
    finish(world, OUTPUT, agent="chat", params=LIST)
    messages = provider.asked[1]["messages"]
    assert messages[2] == {"role": "assistant", "content": None, "tool_calls": [CALL]}
    assert [one["role"] for one in messages] == ["system", "user", "assistant", "tool"]


def test_an_answer_to_an_earlier_call_goes_on_from_there(world: World, provider: Provider) -> None:
    provider.replies = [[("lookup", "{}")], "another branch", "it is 42", "it is 43"]
    finish(world, "what is it?", agent="chat", params={"tools": [LOOKUP]})
    finish(world, "forget it", agent="chat")
    for _ in range(2):
        finish(world, OUTPUT, agent="chat", params=LIST)
    for request in (2, 3):
        roles = [one["role"] for one in provider.asked[request]["messages"]]
        assert roles == ["system", "user", "assistant", "tool"]


def test_a_call_with_large_arguments_is_remembered_whole(world: World, provider: Provider) -> None:
    arguments = json.dumps({"text": random.Random(1).randbytes(150_000).hex()})
    provider.replies = [[("lookup", arguments)], "it is 42"]
    finish(world, "write it", agent="chat", params={"tools": [LOOKUP]})
    finish(world, OUTPUT, agent="chat", params=LIST)
    assert provider.asked[1]["messages"][2]["tool_calls"][0]["function"]["arguments"] == arguments


def test_a_session_that_was_forgotten_does_not_fail_a_run_on_its_way(
    world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Remembered calls are no part of a step's fingerprint either."""

    class Recorder:
        async def run(self, ctx: Any) -> AgentResult:
            reply = await ctx.model([*await ctx.history(), *ctx.asked()], tools=ctx.tools)
            return AgentResult(reply.content, {"tool_calls": [call._asdict() for call in reply.tool_calls]})

    monkeypatch.setattr(agents, "load", lambda _: Recorder())
    provider.replies = [[("lookup", "{}")], "it is 42"]
    finish(world, "what is it?", agent="chat", params={"tools": [LOOKUP]})
    row, _ = finish(world, OUTPUT, agent="chat", params=LIST)
    (step,) = checkpoints.load(row.task_id).values()
    asked = json.loads(OUTPUT)
    assert len(provider.asked[1]["messages"]) > len(asked), "the call that it answers was remembered"
    assert step.fingerprint == checkpoints.fingerprint(
        ["model", {"model": "gpt-4o-mini", "messages": asked, "tools": [LOOKUP]}]
    )


def test_an_agents_own_tool_choice_wins_and_is_part_of_what_was_asked(
    world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Chooser:
        async def run(self, ctx: Any) -> AgentResult:
            reply = await ctx.model(ctx.asked(), tools=ctx.tools, tool_choice="required")
            return AgentResult(reply.tool_calls[0].name)

    monkeypatch.setattr(agents, "load", lambda _: Chooser())
    provider.replies = [[("weather", "{}")]]
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    row, response = finish(world, "weather?", params={"tools": [tool], "tool_choice": "auto"})
    assert (response, provider.asked[0]["tool_choice"]) == ("weather", "required")
    (step,) = checkpoints.load(row.task_id).values()
    asked = {"model": "gpt-4o-mini", "messages": provider.asked[0]["messages"], "tools": [tool]}
    assert step.fingerprint == checkpoints.fingerprint(["model", {**asked, "tool_choice": "required"}])
    assert step.fingerprint != checkpoints.fingerprint(["model", asked])


def test_agents_are_found_by_their_files() -> None:
    assert set(agents.names()) >= {"chat", "tools"}
    assert callable(agents.load("chat").run)
    for name in ("none", "__init__", "../handler", "chat.py", ""):
        with pytest.raises(NotFound):
            agents.load(name)


def test_every_tool_is_described_as_the_provider_wants_it() -> None:
    for name, tool in TOOLS.items():
        assert tool.description["function"]["name"] == name
        parameters = tool.description["function"]["parameters"]
        assert set(parameters["required"]) <= set(parameters["properties"])
