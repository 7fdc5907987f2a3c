import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from .conftest import Simulator

Ask = Callable[..., Any]


def _read(stream: Any) -> tuple[str, Any, list[Any]]:
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return text, chunks[-1].usage, chunks


def test_a_whole_answer_has_openais_shape(ask: Ask) -> None:
    answer = ask("How do I begin? [[sim words=9]]")
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.model == "gpt-4o-mini"
    assert answer.created > 1_700_000_000
    choice = answer.choices[0]
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "stop", "assistant")
    assert len(choice.message.content.split()) == 9
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (6, 9, 15)
    assert answer._request_id.startswith("req_")


def test_a_stream_equals_the_whole_answer(ask: Ask) -> None:
    whole = ask("Tell me more. [[sim words=50]]")
    text, usage, chunks = _read(
        ask("Tell me more. [[sim words=50]]", stream=True, stream_options={"include_usage": True})
    )
    assert text == whole.choices[0].message.content
    assert usage == whole.usage
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_stream_without_usage_has_none(ask: Ask) -> None:
    _, usage, chunks = _read(ask("hi", stream=True))
    assert usage is None
    assert all(chunk.choices for chunk in chunks)


def test_a_stream_is_server_sent_events_that_end_with_done(raw: httpx2.Client) -> None:
    body = {"model": "any", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    answer = raw.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") for event in events[:-2])
    assert '"usage"' not in answer.text


def test_tokens_arrive_spread_over_the_latency(sim: Simulator, ask: Ask) -> None:
    stream = ask("slowly [[sim key=slow latency=600 ttft=0 words=2000]]", stream=True)
    texts = (chunk.choices[0].delta.content for chunk in stream)
    first = next(text for text in texts if text)
    assert first
    assert sim.calls(key="slow")[0]["ended"] is None
    stream.close()


@pytest.mark.parametrize("parameter", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_token_limit_cuts_the_answer(ask: Ask, parameter: str, stream: bool) -> None:
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    answer = ask("[[sim words=50]] go on", **{parameter: 7}, **more)
    if stream:
        text, usage, chunks = _read(answer)
        reason = chunks[-2].choices[0].finish_reason
    else:
        text, usage = answer.choices[0].message.content, answer.usage
        reason = answer.choices[0].finish_reason
    assert reason == "length"
    assert len(text.split()) == usage.completion_tokens == 7


def test_a_limit_of_just_the_length_is_no_cut(ask: Ask) -> None:
    assert ask("[[sim words=7]] go on", max_tokens=7).choices[0].finish_reason == "stop"


def test_a_stop_sequence_ends_the_answer(ask: Ask) -> None:
    answer = ask("one two STOP three [[sim echo]]", stop="STOP")
    assert answer.choices[0].message.content == "one two "


@pytest.mark.parametrize("stream", [False, True])
def test_an_echo_keeps_every_character(ask: Ask, stream: bool) -> None:
    message = "<script>alert('x')</script>\n\n  \"quoted\" \u00fc\u4e2d\U0001f600 end"
    answer = ask(f"[[sim echo]]{message}", stream=stream)
    assert (_read(answer)[0] if stream else answer.choices[0].message.content) == message


def test_replies_are_the_same_unless_a_nonce_is_asked_for(ask: Ask) -> None:
    def text(message: str) -> str:
        return str(ask(message).choices[0].message.content)

    assert text("same") == text("same")
    assert text("same") != text("other")
    assert text("same [[sim nonce]]") != text("same [[sim nonce]]")


def test_the_last_user_message_alone_directs(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-4o",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "first [[sim fail=500]]"},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": [{"type": "text", "text": "second [[sim recall]]"}]},
        ],
    )
    assert answer.choices[0].message.content == "first [[sim fail=500]]"


def test_fixed_text(ask: Ask) -> None:
    assert ask('[[sim say="exactly this"]]').choices[0].message.content == "exactly this"


def test_headers_of_every_answer(client: openai.OpenAI) -> None:
    answers = [
        client.chat.completions.with_raw_response.create(
            model="gpt-4o", messages=[{"role": "user", "content": "three words here"}]
        )
        for _ in range(2)
    ]
    assert answers[0].headers["x-request-id"] != answers[1].headers["x-request-id"]
    remaining = [int(answer.headers["x-ratelimit-remaining-requests"]) for answer in answers]
    assert remaining[0] - remaining[1] == 1
    tokens = [int(answer.headers["x-ratelimit-remaining-tokens"]) for answer in answers]
    assert tokens[0] - tokens[1] == 3
    for name in ("limit-requests", "limit-tokens", "reset-requests", "reset-tokens"):
        assert f"x-ratelimit-{name}" in answers[0].headers


def test_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"gpt-4o-mini", "sim-fast", "sim-down"} <= set(names)
    assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("sim-unknown")


def test_an_async_client_with_many_calls_at_once(sim: Simulator) -> None:
    async def run() -> list[str]:
        limits = httpx2.Limits(max_connections=100, max_keepalive_connections=20)
        async with (
            httpx2.AsyncClient(limits=limits, timeout=60) as pool,
            openai.AsyncOpenAI(base_url=f"{sim.url}/v1", api_key="k", http_client=pool) as client,
        ):

            async def one(number: int) -> str:
                stream = await client.chat.completions.create(
                    model="gpt-4o",
                    messages=[{"role": "user", "content": f"call {number} [[sim echo latency=0.2]]"}],
                    stream=True,
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*map(one, range(200)))

    assert asyncio.run(run()) == [f"call {number}" for number in range(200)]
    stats = sim.stats()
    assert stats["completed"] == 200
    assert stats["in_flight"] == 0
    assert 1 < stats["in_flight_max"] <= 100
    assert stats["connections"]["model_open_max"] <= 100
