"""Pydantic AI against the running local system, with its Responses model and its chat model."""

from __future__ import annotations

import asyncio
import sys

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from tried import BASE, HELLO, KEY, LONG, MODEL, SECRET, SLOW, STRUCTURED, TOOL, Tries, tried


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

    return {
        "hello": lambda: agent.run_sync(HELLO).output,
        "stream": lambda: asyncio.run(stream()),
        "tools": lambda: Agent(model, tools=[lookup]).run_sync(TOOL).output,
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
