"""A client's tool calls at the streaming address: arguments come while the model writes them, in both dialects."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.stack_fixture import LASTING, Stack

ARGUMENTS = json.dumps({"word": "one two three four five six seven eight nine ten " * 30})
ASKED = f"tool=lookup parallel=2 {LASTING} args={ARGUMENTS}]] look it up"
FUNCTION: Any = {"name": "lookup", "parameters": {"type": "object"}}
FEWEST = 5
"""Pieces that come apart from each other before the rest of the call is hurried."""


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    base = f"{stack.outputs['stream_url']}/v1"
    with openai.OpenAI(base_url=base, api_key=stack.keys["load"], max_retries=0) as made:
        yield made


def spread(times: list[float]) -> int:
    """Return how many pieces came apart from each other."""
    return 1 + sum(b - a > 0.02 for a, b in itertools.pairwise(times))


def test_arguments_of_a_response_come_as_they_are_written(client: openai.OpenAI, stack: Stack) -> None:
    tool: Any = {"type": "function", "strict": None, **FUNCTION}
    said: dict[str, str] = {}
    times: list[float] = []
    numbers: list[int] = []
    key = f"live-response-{time.time()}"
    asked = f"[[sim key={key} {ASKED}"
    with client.responses.create(model="gpt-4o-mini", input=asked, tools=[tool], stream=True) as events:
        for event in events:
            numbers.append(event.sequence_number)
            if event.type == "response.function_call_arguments.delta":
                said[event.item_id] = said.get(event.item_id, "") + event.delta
                times.append(time.monotonic())
                if spread(times) == FEWEST:
                    stack.hurry(key)
    assert event.type == "response.completed"
    calls = {item.id: item.arguments for item in event.response.output if item.type == "function_call"}
    assert said == calls
    assert [*calls.values()] == [ARGUMENTS] * 2
    assert spread(times) >= FEWEST
    assert numbers == list(range(len(numbers)))
    again = client.responses.retrieve(event.response.id)
    assert [item.id for item in again.output] == [*calls]
    for after in (0, 3, len(numbers) - 2):
        with client.responses.retrieve(again.id, stream=True, starting_after=after) as rest:
            assert [event.sequence_number for event in rest] == numbers[after + 1 :]


def test_arguments_of_a_chat_completion_come_as_they_are_written(client: openai.OpenAI, stack: Stack) -> None:
    calls: dict[int, dict[str, str]] = {}
    times: list[float] = []
    key = f"live-chat-{time.time()}"
    asked: Any = [{"role": "user", "content": f"[[sim key={key} {ASKED} in a chat"}]
    tools: Any = [{"type": "function", "function": FUNCTION}]
    with client.chat.completions.create(model="gpt-4o-mini", messages=asked, tools=tools, stream=True) as chunks:
        for chunk in chunks:
            for part in chunk.choices[0].delta.tool_calls or ():
                assert part.function is not None
                call = calls.setdefault(part.index, {"id": part.id or "", "name": part.function.name or "", "said": ""})
                call["said"] += part.function.arguments or ""
                times.append(time.monotonic())
                if spread(times) == FEWEST:
                    stack.hurry(key)
    assert chunk.choices[0].finish_reason == "tool_calls"
    assert [call["said"] for call in calls.values()] == [ARGUMENTS] * 2
    assert all(call["id"] and call["name"] == "lookup" for call in calls.values())
    assert spread(times) >= FEWEST
