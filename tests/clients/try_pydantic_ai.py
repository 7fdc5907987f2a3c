"""Pydantic AI against the running local system, with its Responses model and its chat model."""

from __future__ import annotations

import asyncio
import sys

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.messages import PartDeltaEvent, ToolCallPartDelta
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from tried import BASE, HELLO, KEY, LIVE, LONG, MODEL, SECRET, SLOW, STRUCTURED, TOOL, Tries, are_pieces, tried


class Answer(BaseModel):
    """A number."""

    number: int


def lookup(word: str) -> str:
    """Look a word up."""
    return SECRET


def tries(model: OpenAIChatModel | OpenAIResponsesModel) -> Tries:
    """Return what is tried with a model."""
    agent = Agent(model)

    async def stream() -> str:
        async with agent.run_stream(LONG) as run:
            return "".join([piece async for piece in run.stream_text(delta=True)])

    async def live_calls() -> str:
        caller, pieces = Agent(model, tools=[lookup]), 0
        async with caller.iter(LIVE) as run:
            async for node in run:
                if not Agent.is_model_request_node(node):
                    continue
                async with node.stream(run.ctx) as events:
                    async for event in events:
                        pieces += isinstance(event, PartDeltaEvent) and isinstance(event.delta, ToolCallPartDelta)
        are_pieces(pieces)
        assert run.result is not None
        return str(run.result.output)

    return {
        "hello": lambda: agent.run_sync(HELLO).output,
        "stream": lambda: asyncio.run(stream()),
        "tools": lambda: Agent(model, tools=[lookup]).run_sync(TOOL).output,
        "live calls": lambda: asyncio.run(live_calls()),
        "structured": lambda: Agent(model, output_type=NativeOutput(Answer)).run_sync(STRUCTURED).output,
        "40 s": lambda: agent.run_sync(SLOW).output,
    }


def main() -> int:
    """Try both models; returns how many tries failed."""
    provider = OpenAIProvider(base_url=BASE, api_key=KEY)
    return sum(
        tried("pydantic-ai-slim", words, tries(kind(MODEL, provider=provider)))
        for words, kind in (("responses", OpenAIResponsesModel), ("chat", OpenAIChatModel))
    )


if __name__ == "__main__":
    sys.exit(min(main(), 1))
