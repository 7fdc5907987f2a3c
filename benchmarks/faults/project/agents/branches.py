"""The campaign's agent: a model call, then a wait, an approval or children, then another model call.

``metadata`` says what it does: ``does``, ``key`` (the simulator counts calls by it), ``children``, ``bad`` (how many of
these fail for good), ``seconds``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sluice import AgentResult, ChildFailed, Denied

if TYPE_CHECKING:
    from sluice import Context

SIGNAL = "go"
SIGNALS = 2
"""How many a run takes, one after the other."""


async def run(ctx: Context) -> AgentResult:
    """Think, do what the metadata says, think about what came of it."""
    asked = ctx.asked()
    await ctx.model(asked)
    got = await _do(ctx)
    told = {"role": "system", "content": f"What came of it: {json.dumps(got)}"}
    reply = await ctx.model([told, *asked], last=True)
    return AgentResult(reply.content, {"got": got})


async def _do(ctx: Context) -> Any:
    does = ctx.metadata["does"]
    if does == "sleep":
        await ctx.sleep(float(ctx.metadata["seconds"]))
        return "slept"
    if does == "signal":
        return [await ctx.wait(SIGNAL) for _ in range(SIGNALS)]
    if does == "approve":
        try:
            return await ctx.tool("pay", _pay, {"amount": 7, "to": ctx.metadata["key"]}, approve=True)
        except Denied as denied:
            return {"denied": denied.message}
    most = int(ctx.metadata["most_words"])
    ends = await ctx.map("chat", _messages(ctx), at_once=2, on_error="return", max_output_tokens=most)
    return ["failed" if isinstance(one, ChildFailed) else "complete" for one in ends]


async def _pay(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"paid": arguments["amount"]}


def _messages(ctx: Context) -> list[str]:
    """Write what each child is asked: ``KEY.N`` is what its calls are counted by."""
    number, bad = int(ctx.metadata["children"]), int(ctx.metadata["bad"])
    pace = f"words={ctx.metadata['words']} latency=0.05-0.4"
    return [
        f"[[sim key={ctx.metadata['key']}.{n} {pace}{' fail=400' if n < bad else ''}]] child {n}" for n in range(number)
    ]
