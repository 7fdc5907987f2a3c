"""A tool-calling loop: the model may calculate, tell the time and read web pages until it has its answer."""

import asyncio
import json
from typing import Any

from functions.worker.tools.toolbox import TOOLS, ToolError
from shared.tasks.model import dumps
from sluice import AgentResult, Context, Denied, ModelReply, ToolCall

INSTRUCTIONS = "You answer with the help of your tools. Use them for arithmetic, for the time, and to read web pages."
MAX_ROUNDS = 8
"""Model calls of one run at most; in the last one it may call no tool."""
RESULT_CHARACTERS = 20_000
"""How much of a tool's result the model is shown."""


async def run(ctx: Context) -> AgentResult:
    """Let the model call tools until it answers in words."""
    messages = [{"role": "system", "content": ctx.instructions or INSTRUCTIONS}, *await ctx.history(), *ctx.asked()]
    offered = [tool.description for tool in TOOLS.values()]
    for round_number in range(1, MAX_ROUNDS + 1):
        # In the last round, too: some providers want the tools described wherever messages hold calls of them.
        choice = None if round_number < MAX_ROUNDS else "none"
        reply = await ctx.model(messages, tools=offered, tool_choice=choice, last=_ends)
        if _ends(reply):
            more: dict[str, Any] = {"finish_reason": reply.finish_reason} if reply.cut else {}
            if reply.logprobs:
                more["logprobs"] = reply.logprobs
            return AgentResult(reply.content, {"rounds": round_number, **more})
        messages.append(reply.as_message())
        results = await asyncio.gather(
            *(_call(ctx, call, f"{round_number}.{n}") for n, call in enumerate(reply.tool_calls, 1))
        )
        for call, result in zip(reply.tool_calls, results, strict=True):
            text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": text[:RESULT_CHARACTERS]})
    return AgentResult("I could not finish within my limit of steps.", {"rounds": MAX_ROUNDS})


def _ends(reply: ModelReply) -> bool:
    """Tell whether a reply is the last: one whose limit ended it in the middle of a call would end there again."""
    return not reply.tool_calls or (reply.cut and _arguments(reply.tool_calls[-1]) is None)


def _arguments(call: ToolCall) -> Any:
    """Read a call's arguments; None if they are not JSON."""
    try:
        arguments = json.loads(call.arguments or "{}")
        dumps(arguments).encode()  # NaN, infinity and half characters pass the reader, but cannot be recorded
    except (ValueError, RecursionError):
        return None
    return arguments


async def _call(ctx: Context, call: ToolCall, place: str) -> Any:
    """Call one tool; what goes wrong is told to the model, which may do better."""
    tool = TOOLS.get(call.name)
    if tool is None:
        return {"error": f"there is no tool {call.name!r}; there are {', '.join(TOOLS)}"}
    arguments = _arguments(call)
    if arguments is None:
        return {"error": "the arguments are not JSON"}
    if not isinstance(arguments, dict):
        return {"error": "the arguments must be a JSON object"}

    async def do(used: dict[str, Any]) -> Any:
        try:
            return await tool.run(ctx.http, used)
        except ToolError as error:
            return {"error": str(error)}

    # Parallel steps need names of their own.
    try:
        ask = ctx.wants_approval(call.name)
        return await ctx.tool(f"{call.name[:40]}.{place}", do, arguments, approve=ask, tool=call.name)
    except Denied as denied:
        return {"error": denied.message}
