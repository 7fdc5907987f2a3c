"""A shop's assistant, built with OpenAI's Agents SDK: it looks prices and stock up before it answers.

To deploy it see docs/agents.md; the worker's bundle needs ``openai-agents``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents import Agent, function_tool

from sluice import AgentResult

from ._openai_agents import recorded, run_on_sluice

if TYPE_CHECKING:
    from sluice import Context

CATALOGUE = {"lamp": (39.0, 4), "chair": (120.0, 0), "desk": (310.0, 2)}
"""Stands for a service of yours: name -> price, stock."""


@function_tool
async def look_up(item: str) -> dict[str, float] | str:
    """Return an item's price in EUR and how many are in stock."""
    if item not in CATALOGUE:
        return f"There is no {item!r}; there are {', '.join(CATALOGUE)}."
    price, stock = CATALOGUE[item]
    return {"price_eur": price, "in_stock": stock}


assistant: Agent[Context] = Agent(
    name="assistant",
    instructions="You are a shop's assistant. Look items up before you speak of them.",
    tools=[recorded(look_up)],
)


async def run(ctx: Context) -> AgentResult:
    """Answer one question."""
    done = await run_on_sluice(ctx, assistant)
    return AgentResult(done.final_output)
