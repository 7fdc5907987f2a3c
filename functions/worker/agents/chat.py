"""A conversation: instructions, what the session remembers, and the new message, in one model call."""

from typing import Any

from sluice import AgentResult, Context

INSTRUCTIONS = "You are a helpful assistant. Answer briefly and say so when you do not know."


async def run(ctx: Context) -> AgentResult:
    """Answer the user's message."""
    # A client of the OpenAI dialect says itself what the model is told, if anything: its instructions are never None.
    instructions = INSTRUCTIONS if ctx.instructions is None else ctx.instructions
    system = [{"role": "system", "content": instructions}] if instructions else []
    messages = [*system, *await ctx.history(), *ctx.asked()]
    reply = await ctx.model(messages, tools=ctx.tools or None, last=True)
    data: dict[str, Any] = {}
    if reply.tool_calls:
        data["tool_calls"] = [call.as_json() for call in reply.tool_calls]
    if reply.extra:
        data["extra"] = reply.extra  # the session's next call hands it back
    if reply.reasoning:
        data["reasoning"] = reply.reasoning
    if reply.logprobs:
        data["logprobs"] = reply.logprobs
    if reply.left_out:
        data["left_out"] = list(reply.left_out)
    if reply.refused:
        data["refused"] = True
    if reply.cut:
        data["finish_reason"] = reply.finish_reason
    return AgentResult(reply.content, data or None)
