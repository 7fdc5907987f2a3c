"""Real clients of OpenAI's protocol against the running local system: what works, as a table.

Each client says hello, streams, goes through a tool loop, asks for structured output, and waits 40 s for an answer. The
model is the simulator, which is told by directives what to do. A client that is not installed is left out, and named.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATE = Path(os.environ.get("SLUICE_STATE", ".local"))
OUTPUTS: dict[str, Any] = json.loads((STATE / "outputs.json").read_text())
BASE, KEY, MODEL = OUTPUTS["openai_base_url"], OUTPUTS["api_keys"]["load"], "gpt-4o-mini"
HELLO = "[[sim words=4]] hello"
LONG = "[[sim words=40 latency=2]] hello"
SLOW = "[[sim latency=40 words=3]] hello"
TOOL = '[[sim tool=lookup args={"word":"sky"}]] look it up'
STRUCTURED = '[[sim say="{\\"number\\":7}"]] which number?'
SECRET = "forty-two"


def openai_responses() -> dict[str, Callable[[], Any]]:
    import openai
    from pydantic import BaseModel

    client = openai.OpenAI(base_url=BASE, api_key=KEY, timeout=120)
    tool: Any = {"type": "function", "name": "lookup", "parameters": {"type": "object"}, "strict": None}

    class Answer(BaseModel):
        number: int

    def loop() -> str:
        first = client.responses.create(model=MODEL, input=TOOL, tools=[tool])
        output: Any = {"type": "function_call_output", "call_id": first.output[-1].call_id, "output": SECRET}
        return client.responses.create(
            model=MODEL, input=[output], tools=[tool], previous_response_id=first.id
        ).output_text

    def stream() -> str:
        with client.responses.stream(model=MODEL, input=LONG) as events:
            return events.get_final_response().output_text

    return {
        "hello": lambda: client.responses.create(model=MODEL, input=HELLO).output_text,
        "stream": stream,
        "tools": loop,
        "structured": lambda: client.responses.parse(model=MODEL, input=STRUCTURED, text_format=Answer).output_parsed,
        "40 s": lambda: client.responses.create(model=MODEL, input=SLOW).output_text,
    }


def openai_chat() -> dict[str, Callable[[], Any]]:
    import openai
    from pydantic import BaseModel

    client = openai.OpenAI(base_url=BASE, api_key=KEY, timeout=120)
    tool: Any = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}

    class Answer(BaseModel):
        number: int

    def said(text: str, **more: Any) -> Any:
        return client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **more)

    def loop() -> str:
        first = said(TOOL, tools=[tool]).choices[0].message
        messages = [
            {"role": "user", "content": TOOL},
            first.to_dict(),
            {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": SECRET},
        ]
        return client.chat.completions.create(model=MODEL, messages=messages, tools=[tool]).choices[0].message.content

    def parsed() -> Any:
        messages: Any = [{"role": "user", "content": STRUCTURED}]
        done = client.chat.completions.parse(model=MODEL, messages=messages, response_format=Answer)
        return done.choices[0].message.parsed

    return {
        "hello": lambda: said(HELLO).choices[0].message.content,
        "stream": lambda: "".join(c.choices[0].delta.content or "" for c in said(LONG, stream=True) if c.choices),
        "tools": loop,
        "structured": parsed,
        "40 s": lambda: said(SLOW).choices[0].message.content,
    }


def langchain() -> dict[str, Callable[[], Any]]:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from pydantic import BaseModel

    model = ChatOpenAI(model=MODEL, base_url=BASE, api_key=KEY, timeout=120)

    @tool
    def lookup(word: str) -> str:
        """Look a word up."""
        return SECRET

    class Answer(BaseModel):
        number: int

    def loop() -> Any:
        bound = model.bind_tools([lookup])
        messages: list[Any] = [HumanMessage(TOOL)]
        messages.append(bound.invoke(messages))
        messages.append(ToolMessage(SECRET, tool_call_id=messages[-1].tool_calls[0]["id"]))
        return bound.invoke(messages).content

    return {
        "hello": lambda: model.invoke(HELLO).content,
        "stream": lambda: "".join(str(c.content) for c in model.stream(LONG)),
        "tools": loop,
        "structured": lambda: model.with_structured_output(Answer).invoke(STRUCTURED),
        "40 s": lambda: model.invoke(SLOW).content,
    }


def agents_sdk() -> dict[str, Callable[[], Any]]:
    import agents
    import openai
    from pydantic import BaseModel

    agents.set_tracing_disabled(True)
    agents.set_default_openai_client(openai.AsyncOpenAI(base_url=BASE, api_key=KEY, timeout=120), use_for_tracing=False)

    @agents.function_tool
    def lookup(word: str) -> str:
        """Look a word up."""
        return SECRET

    class Answer(BaseModel):
        number: int

    def run(text: str, **more: Any) -> Any:
        agent = agents.Agent(name="a", model=MODEL, **more)
        return agents.Runner.run_sync(agent, text).final_output

    async def stream() -> str:
        result = agents.Runner.run_streamed(agents.Agent(name="a", model=MODEL), LONG)
        async for _ in result.stream_events():
            pass
        return str(result.final_output)

    return {
        "hello": lambda: run(HELLO),
        "stream": lambda: asyncio.run(stream()),
        "tools": lambda: run(TOOL, tools=[lookup]),
        "structured": lambda: run(STRUCTURED, output_type=Answer),
        "40 s": lambda: run(SLOW),
    }


CLIENTS = {
    "openai, responses": openai_responses,
    "openai, chat": openai_chat,
    "langchain-openai": langchain,
    "openai-agents": agents_sdk,
}


def main() -> int:
    """Try all clients that are installed; returns how many tries failed."""
    failed = 0
    for name, make in CLIENTS.items():
        try:
            tries = make()
        except ImportError as error:
            print(f"{name:20} not installed ({error.name})")
            continue
        for what, attempt in tries.items():
            began = time.monotonic()
            try:
                answer = str(attempt())
                good = SECRET in answer if what == "tools" else bool(answer.strip())
                told = "works" if good else f"EMPTY {answer[:60]!r}"
            except Exception as error:
                good, told = False, f"FAILS {type(error).__name__}: {str(error)[:120]}"
                if "-v" in sys.argv:
                    traceback.print_exc()
            failed += not good
            print(f"{name:20} {what:11} {told} ({time.monotonic() - began:.1f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
