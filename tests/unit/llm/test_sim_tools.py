import json
from collections.abc import Callable
from typing import Any

import openai
import pytest


def _tool(name: str, required: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [
    _tool("calculator", ("expression",), expression={"type": "string"}),
    _tool("current_time", timezone={"type": "string"}),
    _tool("fetch_page", ("url", "limit"), url={"type": "string"}, limit={"type": "integer"}),
]

Loop = Callable[..., tuple[str, list[list[tuple[str, Any]]]]]


@pytest.fixture
def loop(client: openai.OpenAI) -> Loop:
    """An agent's loop: runs what the model asks for until it answers; returns the answer and the rounds."""

    def run(message: str, tools: list[dict[str, Any]] | None = None, **more: Any) -> Any:
        messages: list[Any] = [{"role": "user", "content": message}]
        rounds: list[list[tuple[str, Any]]] = []
        while True:
            if tools:
                more["tools"] = tools
            answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, **more).choices[0]
            if answer.finish_reason != "tool_calls":
                return answer.message.content, rounds
            assert answer.message.content is None
            messages.append(answer.message.to_dict())
            calls = answer.message.tool_calls or []
            rounds.append([(call.function.name, json.loads(call.function.arguments)) for call in calls])
            for call in calls:
                result = f"{call.function.name} gave 42"
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    return run


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("What is 12 * 7?", ("calculator", {"expression": "12 * 7"})),
        ("What time is it now?", ("current_time", {})),
        (
            "Read https://example.com/?a=1+2.",
            ("fetch_page", {"url": "https://example.com/?a=1+2", "limit": 1}),
        ),
    ],
)
def test_a_plain_wish_calls_the_tool_and_uses_its_result(
    loop: Loop, message: str, call: tuple[str, dict[str, Any]]
) -> None:
    answer, rounds = loop(message, TOOLS)
    assert rounds == [[call]]
    assert f"{call[0]} gave 42" in answer


def test_several_wishes_call_several_tools_at_once_or_one_by_one(loop: Loop) -> None:
    message = "What time is it, and what is 2 + 2?"
    _, rounds = loop(message, TOOLS)
    assert [[name for name, _ in calls] for calls in rounds] == [["calculator", "current_time"]]
    _, rounds = loop(message, TOOLS, parallel_tool_calls=False)
    assert [[name for name, _ in calls] for calls in rounds] == [["calculator"], ["current_time"]]


def test_another_name_of_the_tool_will_do(loop: Loop) -> None:
    tools = [_tool("do_math", ("formula",), formula={"type": "string"})]
    assert loop("3*3", tools)[1] == [[("do_math", {"formula": "3*3"})]]


def test_no_tool_is_called_without_a_wish_or_an_offer(loop: Loop) -> None:
    assert loop("Tell me a story.", TOOLS)[1] == []
    assert loop("What is 12 * 7?")[1] == []
    assert loop("What is 12 * 7?", TOOLS, tool_choice="none")[1] == []


def test_a_forced_tool_is_called(loop: Loop) -> None:
    choice = {"type": "function", "function": {"name": "current_time"}}
    assert loop("Tell me a story.", TOOLS, tool_choice=choice)[1][0][0][0] == "current_time"
    assert loop("Tell me a story.", TOOLS, tool_choice="required")[1][0][0][0] == "calculator"


def test_a_directive_calls_a_tool_with_these_arguments(loop: Loop) -> None:
    answer, rounds = loop('[[sim tool=calculator args={"expression": "6 * 7"} words=12]] go', TOOLS)
    assert rounds == [[("calculator", {"expression": "6 * 7"})]]
    assert answer.startswith("The calculator tool answered: calculator gave 42 ")
    assert len(answer.split()) == 12


def test_a_directive_may_ask_for_rounds(loop: Loop) -> None:
    _, rounds = loop("[[sim tool=current_time rounds=3]]", TOOLS)
    assert [[name for name, _ in calls] for calls in rounds] == [["current_time"]] * 3
    _, rounds = loop('[[sim tools=a,b args=[{"x": 1}, {"y": 2}] rounds=2 parallel=2]]')
    assert rounds == [[("a", {"x": 1}), ("b", {"y": 2})]] * 2


def test_ids_differ_between_rounds_and_calls(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "[[sim tool=t rounds=2 parallel=2]]"}]
    ids = set()
    for _ in range(2):
        message = client.chat.completions.create(model="m", messages=messages).choices[0].message
        messages.append(message.to_dict())
        for call in message.tool_calls or []:
            ids.add(call.id)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "ok"})
    assert len(ids) == 4


def test_streamed_tool_calls_equal_whole_ones(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is 12 * 7 and what time is it?"}]
    ask: Any = client.chat.completions.create
    whole = ask(model="m", messages=messages, tools=TOOLS)
    streaming: Any = client.chat.completions.stream
    with streaming(model="m", messages=messages, tools=TOOLS, stream_options={"include_usage": True}) as stream:
        streamed = stream.get_final_completion()

    def shape(answer: Any) -> list[tuple[str, str, str]]:
        calls = answer.choices[0].message.tool_calls
        return [(call.id, call.function.name, call.function.arguments) for call in calls]

    assert shape(streamed) == shape(whole)
    assert len(shape(whole)) == 2
    assert streamed.choices[0].finish_reason == "tool_calls"
    assert streamed.usage is not None
    assert streamed.usage.completion_tokens == whole.usage.completion_tokens == 7


def test_a_token_limit_cuts_the_arguments(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is 12 * 7?"}]
    ask: Any = client.chat.completions.create
    answer = ask(model="m", messages=messages, tools=TOOLS, max_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"expression":'
    assert answer.usage.completion_tokens == 2
