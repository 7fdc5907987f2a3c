"""The bytes of an answer: OpenAI's JSON and server-sent events, written fast because there are many."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from localstack.llm import tokens
from localstack.llm.faults import Refusal
from localstack.llm.replies import Reply
from localstack.llm.tooling import ToolCall

DONE = b"data: [DONE]\n\n"
_FINGERPRINT = "fp_simulator"
_SERVICE_TIER = "default"


class Stream(NamedTuple):
    """A streamed answer: events that come one by one, in time, and those that end it."""

    events: list[bytes]
    ending: list[bytes]


def error_body(refusal: Refusal) -> bytes:
    """OpenAI's error object."""
    error = {"message": refusal.message, "type": refusal.type, "param": refusal.param, "code": refusal.code}
    return json.dumps({"error": error}).encode()


def usage(reply: Reply) -> dict[str, object]:
    """The usage object, the same for a whole and a streamed answer."""
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _function(call: ToolCall) -> dict[str, object]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def completion(reply: Reply, answer_id: str, created: int, model: str) -> bytes:
    """The body of an answer in one piece."""
    message: dict[str, object] = {
        "role": "assistant",
        "content": None if reply.tool_calls else reply.text,
        "refusal": None,
        "annotations": [],
    }
    if reply.tool_calls:
        message["tool_calls"] = [_function(call) for call in reply.tool_calls]
    return json.dumps(
        {
            "id": answer_id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}],
            "usage": usage(reply),
            "service_tier": _SERVICE_TIER,
            "system_fingerprint": _FINGERPRINT,
        }
    ).encode()


def event(payload: Mapping[str, object]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(payload)}\n\n".encode()


def stream(reply: Reply, answer_id: str, created: int, model: str, *, include_usage: bool) -> Stream:
    """The events of a streamed answer, one token each."""
    head = json.dumps(
        {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "service_tier": _SERVICE_TIER,
            "system_fingerprint": _FINGERPRINT,
        }
    )[:-1]
    # OpenAI: with include_usage every chunk has a usage, null but in the last.
    no_usage = ', "usage": null' if include_usage else ""

    before, after = f'data: {head}, "choices": [{{"index": 0, "delta": ', f"}}]{no_usage}}}\n\n"

    def chunk(delta: str, finish: str = "null") -> bytes:
        return f'{before}{delta}, "logprobs": null, "finish_reason": {finish}{after}'.encode()

    if reply.tool_calls:
        events = [chunk('{"role": "assistant", "content": null}')]
        events += [chunk(json.dumps({"tool_calls": [part]})) for part in _tool_deltas(reply.tool_calls)]
    else:
        events = [chunk('{"role": "assistant", "content": "", "refusal": null}')]
        events += [chunk(f'{{"content": {json.dumps(piece)}}}') for piece in reply.pieces]
    ending = [chunk("{}", json.dumps(reply.finish_reason))]
    if include_usage:
        ending.append(f'data: {head}, "choices": [], "usage": {json.dumps(usage(reply))}}}\n\n'.encode())
    return Stream(events, [*ending, DONE])


def _tool_deltas(calls: Sequence[ToolCall]) -> list[dict[str, object]]:
    deltas: list[dict[str, object]] = []
    for index, call in enumerate(calls):
        function = {"name": call.name, "arguments": ""}
        deltas.append({"index": index, "id": call.id, "type": "function", "function": function})
        deltas += [{"index": index, "function": {"arguments": piece}} for piece in tokens.split(call.arguments)]
    return deltas
