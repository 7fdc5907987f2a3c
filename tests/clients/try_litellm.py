"""LiteLLM against the running local system, through its chat and its Responses interface."""

from __future__ import annotations

import sys
from typing import Any

import litellm
from pydantic import BaseModel
from tried import BASE, HELLO, KEY, LIVE, LONG, MODEL, SECRET, SLOW, STRUCTURED, TOOL, Tries, are_pieces, tried

NAME = f"openai/{MODEL}"
FUNCTION: dict[str, Any] = {"name": "lookup", "parameters": {"type": "object"}}


class Answer(BaseModel):
    """A number."""

    number: int


def chat() -> Tries:
    """Return what is tried with chat completions."""
    tool = {"type": "function", "function": FUNCTION}

    def said(messages: Any, **more: Any) -> Any:
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        return litellm.completion(model=NAME, messages=messages, api_base=BASE, api_key=KEY, timeout=120, **more)

    def loop() -> str:
        first = said(TOOL, tools=[tool]).choices[0].message
        answer = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": SECRET}
        return str(said([{"role": "user", "content": TOOL}, first, answer], tools=[tool]).choices[0].message.content)

    def live_calls() -> str:
        asks = [{"role": "user", "content": LIVE}]
        chunks = list(said(asks, tools=[tool], stream=True))
        are_pieces(sum(bool(chunk.choices[0].delta.tool_calls) for chunk in chunks))
        first = litellm.stream_chunk_builder(chunks, messages=asks).choices[0].message
        answers = [{"role": "tool", "tool_call_id": call.id, "content": SECRET} for call in first.tool_calls]
        return str(said([*asks, first, *answers], tools=[tool]).choices[0].message.content)

    return {
        "hello": lambda: said(HELLO).choices[0].message.content,
        "stream": lambda: "".join(chunk.choices[0].delta.content or "" for chunk in said(LONG, stream=True)),
        "tools": loop,
        "live calls": live_calls,
        "structured": lambda: said(STRUCTURED, response_format=Answer).choices[0].message.content,
        "40 s": lambda: said(SLOW).choices[0].message.content,
    }


def responses() -> Tries:
    """Return what is tried with responses."""
    tool = {"type": "function", **FUNCTION}

    def asked(given: Any, **more: Any) -> Any:
        return litellm.responses(model=NAME, input=given, api_base=BASE, api_key=KEY, timeout=120, **more)

    def streamed() -> str:
        events = asked(LONG, stream=True)
        return "".join(event.delta for event in events if event.type == "response.output_text.delta")

    def loop() -> str:
        first = asked(TOOL, tools=[tool])
        output = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": SECRET}
        return str(asked([output], tools=[tool], previous_response_id=first.id).output_text)

    def live_calls() -> str:
        events = list(asked(LIVE, tools=[tool], stream=True))
        are_pieces(sum(event.type == "response.function_call_arguments.delta" for event in events))
        done = events[-1].response
        calls = [item for item in done.output if item.type == "function_call"]
        outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": SECRET} for call in calls]
        return str(asked(outputs, tools=[tool], previous_response_id=done.id).output_text)

    return {
        "hello": lambda: asked(HELLO).output_text,
        "stream": streamed,
        "tools": loop,
        "live calls": live_calls,
        "structured": lambda: asked(STRUCTURED, text_format=Answer).output_text,
        "40 s": lambda: asked(SLOW).output_text,
    }


def main() -> int:
    """Try both; returns how many tries failed."""
    return tried("litellm", "chat", chat()) + tried("litellm", "responses", responses())


if __name__ == "__main__":
    sys.exit(min(main(), 1))
