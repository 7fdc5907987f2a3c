"""The unmodified `openai` package against the deployed system."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.stack_fixture import LASTING, Stack


@pytest.fixture
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stack.api_url}/v1", api_key=stack.keys["load"], max_retries=0) as made:
        yield made


def test_create_in_the_background_and_retrieve_until_completed(client: openai.OpenAI) -> None:
    response = client.responses.create(model="gpt-4o-mini", input="[[sim words=4]] hello", background=True)
    assert response.status == "queued"
    give_up = time.monotonic() + 100
    while response.status in ("queued", "in_progress") and time.monotonic() < give_up:
        time.sleep(0.2)
        response = client.responses.retrieve(response.id)
    assert response.status == "completed"
    assert len(response.output_text.split()) == 4
    assert response.usage is not None
    assert response.usage.output_tokens == 4


def test_create_waits_and_remembers(client: openai.OpenAI) -> None:
    first = client.responses.create(model="gpt-4o-mini", input="[[sim words=2]] my name is Ann")
    assert first.status == "completed"
    second = client.responses.create(
        model="gpt-4o-mini", input="[[sim recall]] who am I?", previous_response_id=first.id
    )
    assert "my name is Ann" in second.output_text


TOOL: Any = {
    "type": "function",
    "name": "lookup",
    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    "strict": None,
}


def test_function_calling_over_two_responses(client: openai.OpenAI, stack: Stack) -> None:
    """OpenAI's documented flow, with arguments too large for the task's row."""
    word = "ü" * 17_000
    asked = f'[[sim tool=lookup args={{"word":"{word}"}}]] look it up'
    first = client.responses.create(model="gpt-4o-mini", input=asked, tools=[TOOL], max_output_tokens=50_000)
    (call,) = first.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"word": word}
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "forty-two"}
    second = client.responses.create(model="gpt-4o-mini", input=[output], tools=[TOOL], previous_response_id=first.id)
    assert second.status == "completed", second.error
    assert "forty-two" in second.output_text
    third = client.responses.create(model="gpt-4o-mini", input="[[sim words=2]] thanks", previous_response_id=second.id)
    assert third.status == "completed", third.error
    session = stack.result(first.id.removeprefix("resp_"))["session_id"]
    turns = stack.client().get(f"/sessions/{session}").json()["turns"]
    assert [turn["user"].rpartition("]] ")[2] for turn in turns] == ["look it up", "", "thanks"]
    assert [turn["assistant"] for turn in turns] == ["", second.output_text, third.output_text]


def test_a_function_call_left_open_does_not_stand_in_the_way(client: openai.OpenAI) -> None:
    first = client.responses.create(model="gpt-4o-mini", input="[[sim tool=lookup]] look it up", tools=[TOOL])
    assert [item.type for item in first.output] == ["function_call"]
    second = client.responses.create(
        model="gpt-4o-mini", input="[[sim words=2]] forget it", previous_response_id=first.id
    )
    assert second.status == "completed", second.error


def test_a_reply_cut_at_its_limit_is_incomplete(client: openai.OpenAI) -> None:
    response = client.responses.create(model="gpt-4o-mini", input="[[sim words=9]] hello", max_output_tokens=4)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert len(response.output_text.split()) == 4


def test_cancel(client: openai.OpenAI) -> None:
    response = client.responses.create(model="gpt-4o-mini", input=f"[[sim {LASTING}]] hello", background=True)
    cancelled = client.responses.cancel(response.id)
    give_up = time.monotonic() + 100
    while cancelled.status != "cancelled" and time.monotonic() < give_up:
        time.sleep(0.2)
        cancelled = client.responses.retrieve(response.id)
    assert cancelled.status == "cancelled"


def test_errors_are_the_clients_own_classes(client: openai.OpenAI, stack: Stack) -> None:
    base_url = f"{stack.api_url}/v1"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_none")
    with pytest.raises(openai.BadRequestError) as bad:
        client.responses.create(model="gpt-4o-mini", input="x", stream=True)
    assert bad.value.param == "stream"
    with (
        openai.OpenAI(base_url=base_url, api_key="sk-wrong", max_retries=0) as other,
        pytest.raises(openai.AuthenticationError),
    ):
        other.responses.create(model="gpt-4o-mini", input="x")
    limited = stack.new_key(f"limited-{time.time()}", requests=1)
    with openai.OpenAI(base_url=base_url, api_key=limited, max_retries=0) as third:
        third.responses.create(model="gpt-4o-mini", input="x", background=True)
        with pytest.raises(openai.RateLimitError) as refused:
            third.responses.create(model="gpt-4o-mini", input="x", background=True)
    assert int(refused.value.response.headers["retry-after"]) > 0
    spent = stack.new_key(f"spent-{time.time()}", tokens_per_day=1)
    with (
        openai.OpenAI(base_url=base_url, api_key=spent, max_retries=2) as fourth,
        pytest.raises(openai.RateLimitError) as broke,
    ):
        fourth.responses.create(model="gpt-4o-mini", input="x", background=True)
    assert broke.value.code == "insufficient_quota"
    assert broke.value.response.headers["x-should-retry"] == "false"


def test_the_asynchronous_client(stack: Stack) -> None:
    async def main() -> str:
        async with openai.AsyncOpenAI(base_url=f"{stack.api_url}/v1", api_key=stack.keys["load"]) as client:
            response = await client.responses.create(model="gpt-4o-mini", input="[[sim words=3]] hello")
            models = [model.id async for model in client.models.list()]
            assert models
            return response.output_text

    assert len(asyncio.run(main()).split()) == 3
