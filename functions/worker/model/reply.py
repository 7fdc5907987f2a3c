"""A model's reply as it is recorded with its step.

What was recorded by an earlier version stays readable, and what holds nothing new looks as it always did.
"""

from typing import Any

from shared.tasks.model import Usage
from sluice import ModelReply, ToolCall


def pack(reply: ModelReply, call_id: str) -> dict[str, Any]:
    """Turn a reply into the JSON that is recorded."""
    value = {
        "call": call_id,
        "content": reply.content,
        "tool_calls": [list(call) if call.extra else list(call[:3]) for call in reply.tool_calls],
        "usage": [reply.usage.input_tokens, reply.usage.output_tokens],
        "model": reply.model,
        "finish_reason": reply.finish_reason,
    }
    for name in ("reasoning", "extra", "left_out", "logprobs", "details", "refused"):
        if held := getattr(reply, name):
            value[name] = held
    if reply.reasoning and reply.reasoning == _thought(reply.extra):
        del value["reasoning"]  # it stands there already
    return value


def _thought(extra: dict[str, Any] | None) -> str:
    return str((extra or {}).get("reasoning_content") or (extra or {}).get("reasoning") or "")


def unpack(value: Any) -> ModelReply:
    """Read back what ``pack`` made."""
    return ModelReply(
        value["content"],
        [ToolCall(*call) for call in value["tool_calls"]],
        Usage(*value["usage"]),
        value["model"],
        value["finish_reason"],
        reasoning=value.get("reasoning") or _thought(value.get("extra")),
        extra=value.get("extra"),
        left_out=tuple(value.get("left_out", ())),
        logprobs=value.get("logprobs"),
        details=value.get("details"),
        refused=value.get("refused", False),
    )
