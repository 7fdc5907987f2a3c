"""A shop's assistant, built with Pydantic AI: it looks prices and stock up before it answers.

To deploy it see docs/agents.md; the worker's bundle needs ``pydantic-ai-slim``.
"""

from __future__ import annotations

from pydantic_ai import Agent, ModelRetry, RunContext
from pydantic_ai.toolsets import FunctionToolset

from sluice import AgentResult, Context

from ._pydantic_ai import APPROVALS, Recorded, SluiceModel

CATALOGUE = {"lamp": (39.0, 4), "chair": (120.0, 0), "desk": (310.0, 2)}
"""Stands for a service of yours: name -> price, stock."""


async def look_up(run: RunContext[Context], item: str) -> dict[str, float]:
    """Return an item's price in EUR and how many are in stock."""
    if item not in CATALOGUE:
        raise ModelRetry(f"There is no {item!r}; there are {', '.join(CATALOGUE)}.")
    price, stock = CATALOGUE[item]
    return {"price_eur": price, "in_stock": stock}


assistant = Agent(
    deps_type=Context,
    instructions="You are a shop's assistant. Look items up before you speak of them.",
    toolsets=[Recorded(FunctionToolset([look_up]))],
    capabilities=[APPROVALS],
)


async def run(ctx: Context) -> AgentResult:
    """Answer one question."""
    done = await assistant.run(ctx.message, deps=ctx, model=SluiceModel(ctx))
    return AgentResult(done.output)
