"""Pydantic AI on Sluice: its model calls and tool calls become recorded steps of the run.

Every call of the model goes through ``ctx.model``: pooled, metered, within every budget, streamed to watchers, replayed
after a crash. Every call of a tool goes through ``ctx.tool``. An agent needs no more than

    agent = Agent(deps_type=Context, toolsets=[Recorded(FunctionToolset([look_up]))], capabilities=[APPROVALS])
    result = await agent.run(ctx.message, deps=ctx, model=SluiceModel(ctx))

With ``APPROVALS``, tools that require approval (``requires_approval``, ``ApprovalRequired``), and those that the run's
client wants asked for (``approve``), wait for a person like any approval of Sluice. Pydantic AI wants all decisions of
a turn at once: they are collected, and it goes on once.

Settings, structured output and pictures go to the provider. What ``ctx.model`` has no word for (``top_k``, headers,
files, streaming into the agent) is refused or warned of, not dropped.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic_ai.capabilities import HandleDeferredToolCalls
from pydantic_ai.exceptions import ApprovalRequired, ModelRetry, UserError
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextContent,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied
from pydantic_ai.toolsets import WrapperToolset
from pydantic_ai.usage import RequestUsage

from sluice import Denied

if TYPE_CHECKING:
    from pydantic_ai import RunContext
    from pydantic_ai.messages import ModelMessage, ModelRequestPart, UserContent
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.toolsets.abstract import ToolsetTool

    from sluice import Context

PROFILE = ModelProfile(supports_json_schema_output=True, supports_json_object_output=True)
"""Structured output comes as the agent asks for it: through a tool, or by the provider's own means (`NativeOutput`)."""
OPTIONS = {
    name: name
    for name in (
        "temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "parallel_tool_calls",
        "service_tier",
    )
} | {"stop_sequences": "stop", "extra_body": "extra"}  # fmt: skip
"""Settings and what ``ctx.model`` calls them."""


class SluiceModel(Model):
    """The model of one run. Made anew for each: it belongs to the run's context."""

    unsupported_settings: ClassVar[frozenset[Any]] = frozenset({"top_k", "timeout", "extra_headers"})

    def __init__(self, ctx: Context, model: str | None = None) -> None:
        """Bind to a run; ``model`` is the provider's name of it, by default the one that the task asked for."""
        super().__init__(profile=PROFILE)
        self._ctx = ctx
        self._name = model or ctx.model_name

    @property
    def model_name(self) -> str:
        """Name of the model as the provider knows it."""
        return self._name

    @property
    def system(self) -> str:
        """Name of the provider."""
        return "sluice"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Make one call, or get the reply that was recorded."""
        model_settings, parameters = self.prepare_request(model_settings, model_request_parameters)
        tools = [_tool(one) for one in (*parameters.function_tools, *parameters.output_tools)]
        asked = [{"role": "system", "content": part.content} for part in parameters.instruction_parts or ()]
        for message in messages:
            asked += _request(message) if isinstance(message, ModelRequest) else _response(message)
        options = _options(model_settings, parameters)
        reply = await self._ctx.model(
            asked,
            tools=tools or None,
            tool_choice=None if parameters.allow_text_output or not tools else "required",
            model=self._name,
            max_output_tokens=(model_settings or {}).get("max_tokens"),
            name=step_name("model", self._name, asked, tools, options),
            **options,
        )
        parts: list[TextPart | ToolCallPart] = [TextPart(reply.content)] if reply.content else []
        parts += [ToolCallPart(call.name, call.arguments, call.id) for call in reply.tool_calls]
        usage = RequestUsage(input_tokens=reply.usage.input_tokens, output_tokens=reply.usage.output_tokens)
        return ModelResponse(parts, usage=usage, model_name=reply.model, provider_name=self.system)


def step_name(name: str, *about: Any) -> str:
    """Name a step by what it is about, so that agents side by side do not take each other's steps at a replay."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    return f"{name[:40]}.{digest[:16]}"


def _tool(definition: Any) -> dict[str, Any]:
    function = {"name": definition.name, "parameters": definition.parameters_json_schema}
    if definition.description:
        function["description"] = definition.description
    return {"type": "function", "function": function}


def _options(settings: ModelSettings | None, parameters: ModelRequestParameters) -> Any:
    given: dict[str, Any] = dict(settings or {})
    options = {word: given[name] for name, word in OPTIONS.items() if given.get(name) is not None}
    if not parameters.function_tools and not parameters.output_tools:
        options.pop("parallel_tool_calls", None)  # providers refuse it without tools
    wanted = parameters.output_object
    if parameters.output_mode == "native" and wanted is not None:
        schema = {"name": wanted.name or "final_result", "schema": wanted.json_schema, "strict": wanted.strict}
        schema |= {"description": wanted.description} if wanted.description else {}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif parameters.output_mode == "prompted" and not parameters.function_tools:
        options["response_format"] = {"type": "json_object"}
    return options


def _request(message: ModelRequest) -> list[dict[str, Any]]:
    return [_part(part) for part in message.parts]


def _part(part: ModelRequestPart) -> dict[str, Any]:
    match part:
        case SystemPromptPart():
            return {"role": "system", "content": part.content}
        case UserPromptPart():
            return {"role": "user", "content": _content(part)}
        case ToolReturnPart():
            return {"role": "tool", "tool_call_id": part.tool_call_id, "content": part.model_response_str()}
    raise UserError(f"Sluice's model takes no {type(part).__name__}")


def _content(part: UserPromptPart) -> str | list[dict[str, Any]]:
    if isinstance(part.content, str):
        return part.content
    if all(isinstance(piece, str) for piece in part.content):
        return "\n\n".join(str(piece) for piece in part.content)
    return [_piece(piece) for piece in part.content]


def _piece(piece: UserContent) -> dict[str, Any]:
    match piece:
        case str():
            return {"type": "text", "text": piece}
        case TextContent():
            return {"type": "text", "text": piece.content}
        case ImageUrl():
            return {"type": "image_url", "image_url": {"url": piece.url}}
        case BinaryContent() if piece.is_image:
            return {"type": "image_url", "image_url": {"url": piece.data_uri}}
    raise UserError(f"Sluice's model takes texts and pictures, and no {type(piece).__name__}")


def _response(message: ModelResponse) -> list[dict[str, Any]]:
    texts = [part.content for part in message.parts if isinstance(part, TextPart)]
    calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
    if any(not isinstance(part, TextPart | ToolCallPart | ThinkingPart) for part in message.parts):
        raise UserError("Sluice's model takes text and tool calls only")
    if not texts and not calls:
        return []
    turn: dict[str, Any] = {"role": "assistant", "content": "\n\n".join(texts) or None}
    if calls:
        turn["tool_calls"] = [
            {
                "id": call.tool_call_id,
                "type": "function",
                "function": {"name": call.tool_name, "arguments": call.args_as_json_str()},
            }
            for call in calls
        ]
    return [turn]


async def decisions(run: RunContext[Context], requests: DeferredToolRequests) -> DeferredToolResults:
    """Wait for a person's word on all calls of a turn that require it. Calls that others are to make stay deferred."""

    async def decided(call: ToolCallPart) -> ToolApproved | ToolDenied:
        asked = call.args_as_dict()
        try:
            allowed = await run.deps.approval(call.tool_name, asked, editable=True)
        except Denied as denied:
            return ToolDenied(str(denied))
        return ToolApproved(override_args=None if allowed == asked else allowed)

    answers = await asyncio.gather(*(decided(call) for call in requests.approvals))
    ids = (call.tool_call_id for call in requests.approvals)
    return requests.build_results(approvals=dict(zip(ids, answers, strict=True)))


APPROVALS: HandleDeferredToolCalls[Context] = HandleDeferredToolCalls(handler=decisions)
"""An agent's capability: its approvals are asked for by Sluice."""


class Recorded(WrapperToolset["Context"]):
    """Tools whose every call is a step: done once, with events, whatever happens. Their results must be JSON."""

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Context], tool: ToolsetTool[Context]
    ) -> Any:
        """Call a tool, or get the result that was recorded; that it wants another try is a result, too."""
        if not ctx.tool_call_approved and ctx.deps.wants_approval(name):
            raise ApprovalRequired

        async def do() -> dict[str, Any]:
            try:
                return {"result": await self.wrapped.call_tool(name, tool_args, ctx, tool)}
            except ApprovalRequired as wanted:
                return {"approval": wanted.metadata}
            except ModelRetry as retry:
                return {"retry": retry.message}

        # Calls run beside each other: their ids, recorded with the reply, and their arguments tell them apart.
        arguments = json.loads(json.dumps(tool_args, default=str))
        about = (ctx.tool_call_id, arguments, *(["approved"] if ctx.tool_call_approved else []))
        told = await ctx.deps.tool(step_name(name, *about), do, arguments)
        if "approval" in told:  # it asks only now that it sees its arguments
            raise ApprovalRequired(told["approval"])
        if "retry" in told:
            raise ModelRetry(told["retry"])
        return told["result"]
