"""instructor against the running local system: by a tool, which is its default, by JSON schema, and by responses."""

from __future__ import annotations

import sys
from typing import Any

import instructor
import openai
from pydantic import BaseModel
from tried import BASE, HELLO, KEY, LONG, MODEL, SECRET, SLOW, STRUCTURED, TOOL, Tries, tried

CALLED = '[[sim tool=Answer args={"number":7}]] which number?'


class Answer(BaseModel):
    """A number."""

    number: int


def tries(mode: instructor.Mode, asks: str) -> Tries:
    """Return what is tried in a mode, in which the model is to answer ``asks`` with a number."""
    plain = openai.OpenAI(base_url=BASE, api_key=KEY, timeout=120)
    client: Any = instructor.from_openai(plain, mode=mode)

    def asked(text: str, **more: Any) -> Any:
        return client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}], max_retries=0, **more
        )

    def partial() -> Any:
        messages: Any = [{"role": "user", "content": asks}]
        made = client.chat.completions.create_partial(
            model=MODEL, messages=messages, response_model=Answer, max_retries=0
        )
        return list(made)[-1].number

    return {
        "structured": lambda: asked(asks, response_model=Answer).number,
        "stream": partial,
    }


def plain() -> Tries:
    """Return what is tried without a response model, which is then the `openai` client's own work."""
    client: Any = instructor.from_openai(openai.OpenAI(base_url=BASE, api_key=KEY, timeout=120))
    tool = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}

    def asked(messages: Any, **more: Any) -> Any:
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        return client.chat.completions.create(model=MODEL, messages=messages, response_model=None, **more)

    def loop() -> str:
        first = asked(TOOL, tools=[tool]).choices[0].message
        answer = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": SECRET}
        messages = [{"role": "user", "content": TOOL}, first.to_dict(), answer]
        return str(asked(messages, tools=[tool]).choices[0].message.content)

    return {
        "hello": lambda: asked(HELLO).choices[0].message.content,
        "stream": lambda: "".join(c.choices[0].delta.content or "" for c in asked(LONG, stream=True)),
        "tools": loop,
        "40 s": lambda: asked(SLOW).choices[0].message.content,
    }


def main() -> int:
    """Try all; returns how many tries failed."""
    return (
        tried("instructor", "plain", plain())
        + tried("instructor", "tools", tries(instructor.Mode.TOOLS, CALLED))
        + tried("instructor", "JSON schema", tries(instructor.Mode.JSON_SCHEMA, STRUCTURED))
        + tried("instructor", "responses", tries(instructor.Mode.RESPONSES_TOOLS, CALLED))
    )


if __name__ == "__main__":
    sys.exit(min(main(), 1))
