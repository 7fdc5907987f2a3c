"""`openai`, LangChain and the Agents SDK against the running local system: what works, as a table.

Each says hello, streams, goes through a tool loop (whole, and streamed), asks for structured output, and waits 40 s for
an answer.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

from tried import BASE, HELLO, KEY, LIVE, LONG, MODEL, SECRET, SLOW, STRUCTURED, TOOL, Tries, are_pieces, tried


def openai_responses() -> Tries:
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

    def live_calls() -> str:
        with client.responses.stream(model=MODEL, input=LIVE, tools=[tool]) as events:
            pieces = sum(event.type == "response.function_call_arguments.delta" for event in events)
            calls = [item for item in events.get_final_response().output if item.type == "function_call"]
        are_pieces(pieces)
        said: list[Any] = [{"role": "user", "content": LIVE}, *(call.to_dict() for call in calls)]
        for item in said[1:]:
            item.pop("parsed_arguments", None)
        outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": SECRET} for call in calls]
        return client.responses.create(model=MODEL, input=[*said, *outputs], tools=[tool]).output_text

    return {
        "hello": lambda: client.responses.create(model=MODEL, input=HELLO).output_text,
        "stream": stream,
        "tools": loop,
        "live calls": live_calls,
        "structured": lambda: client.responses.parse(model=MODEL, input=STRUCTURED, text_format=Answer).output_parsed,
        "40 s": lambda: client.responses.create(model=MODEL, input=SLOW).output_text,
    }


def openai_chat() -> Tries:
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

    def live_calls() -> Any:
        calls: dict[int, dict[str, Any]] = {}
        pieces = 0
        for chunk in said(LIVE, tools=[tool], stream=True):
            for part in chunk.choices[0].delta.tool_calls or ():
                call = calls.setdefault(part.index, {"id": part.id, "type": "function", "function": {"arguments": ""}})
                call["function"].setdefault("name", part.function.name)
                call["function"]["arguments"] += part.function.arguments or ""
                pieces += 1
        are_pieces(pieces)
        outputs = [{"role": "tool", "tool_call_id": call["id"], "content": SECRET} for call in calls.values()]
        replied = {"role": "assistant", "content": None, "tool_calls": [*calls.values()]}
        messages: Any = [{"role": "user", "content": LIVE}, replied, *outputs]
        return client.chat.completions.create(model=MODEL, messages=messages, tools=[tool]).choices[0].message.content

    def parsed() -> Any:
        messages: Any = [{"role": "user", "content": STRUCTURED}]
        done = client.chat.completions.parse(model=MODEL, messages=messages, response_format=Answer)
        return done.choices[0].message.parsed

    return {
        "hello": lambda: said(HELLO).choices[0].message.content,
        "stream": lambda: "".join(c.choices[0].delta.content or "" for c in said(LONG, stream=True) if c.choices),
        "tools": loop,
        "live calls": live_calls,
        "structured": parsed,
        "40 s": lambda: said(SLOW).choices[0].message.content,
    }


def langchain(**more: Any) -> Tries:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from pydantic import BaseModel

    model = ChatOpenAI(model=MODEL, base_url=BASE, api_key=KEY, timeout=120, **more)

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
        return bound.invoke(messages).text

    def live_calls() -> Any:
        bound = model.bind_tools([lookup])
        asked, whole, pieces = HumanMessage(LIVE), None, 0
        for chunk in bound.stream([asked]):
            pieces += bool(chunk.tool_call_chunks)
            whole = chunk if whole is None else whole + chunk
        assert whole is not None
        are_pieces(pieces)
        outputs = [ToolMessage(SECRET, tool_call_id=call["id"]) for call in whole.tool_calls]
        return bound.invoke([asked, whole, *outputs]).text

    return {
        "hello": lambda: model.invoke(HELLO).content,
        "stream": lambda: "".join(str(c.content) for c in model.stream(LONG)),
        "tools": loop,
        "live calls": live_calls,
        "structured": lambda: model.with_structured_output(Answer).invoke(STRUCTURED),
        "40 s": lambda: model.invoke(SLOW).content,
    }


def agents_sdk() -> Tries:
    import agents
    import openai
    from pydantic import BaseModel

    agents.set_tracing_disabled(True)

    def agent(**more: Any) -> Any:
        client = openai.AsyncOpenAI(base_url=BASE, api_key=KEY, timeout=120)  # its connections belong to one event loop
        return agents.Agent(name="a", model=agents.OpenAIResponsesModel(MODEL, client), **more)

    @agents.function_tool
    def lookup(word: str) -> str:
        """Look a word up."""
        return SECRET

    class Answer(BaseModel):
        number: int

    def run(text: str, **more: Any) -> Any:
        return agents.Runner.run_sync(agent(**more), text).final_output

    async def stream() -> str:
        result = agents.Runner.run_streamed(agent(), LONG)
        async for _ in result.stream_events():
            pass
        return str(result.final_output)

    async def live_calls() -> str:
        result = agents.Runner.run_streamed(agent(tools=[lookup]), LIVE)
        pieces = 0
        async for event in result.stream_events():
            kind = event.data.type if event.type == "raw_response_event" else ""
            pieces += kind == "response.function_call_arguments.delta"
        are_pieces(pieces)
        return str(result.final_output)

    return {
        "hello": lambda: run(HELLO),
        "stream": lambda: asyncio.run(stream()),
        "tools": lambda: run(TOOL, tools=[lookup]),
        "live calls": lambda: asyncio.run(live_calls()),
        "structured": lambda: run(STRUCTURED, output_type=Answer),
        "40 s": lambda: run(SLOW),
    }


CLIENTS = {
    ("openai", "responses"): openai_responses,
    ("openai", "chat"): openai_chat,
    ("langchain-openai", ""): langchain,
    ("langchain-openai", "responses"): partial(langchain, use_responses_api=True),
    ("openai-agents", ""): agents_sdk,
}


def main() -> int:
    """Try those that are installed (`PACKAGE …` on the command line: these); returns how many tries failed."""
    wanted = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    return sum(tried(*named, make()) for named, make in CLIENTS.items() if not wanted or named[0] in wanted)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
