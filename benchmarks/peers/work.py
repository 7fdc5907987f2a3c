"""What a run does, the same on every peer: one chat completion over a client of the process's own."""

from __future__ import annotations

import logging
import os
from functools import cache

import openai

MODEL = "gpt-4o-mini"
BROKER = os.environ.get("PEERS_REDIS_URL", "")
SLOTS = int(os.environ.get("PEERS_SLOTS", "100"))
"""How many runs go on at once."""

logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each call would count against the peer


@cache
def _sync() -> openai.OpenAI:
    return openai.OpenAI(max_retries=0)


@cache
def _async() -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(max_retries=0)


def complete(message: str) -> str:
    """Ask the model from a thread or process of the run's own."""
    answer = _sync().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": message}])
    return answer.choices[0].message.content or ""


async def complete_async(message: str) -> str:
    """Ask the model from an event loop that runs share."""
    answer = await _async().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": message}])
    return answer.choices[0].message.content or ""
