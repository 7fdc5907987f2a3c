"""OpenAI's Agents SDK on Sluice: its model calls and tool calls become recorded steps of the run.

Tools with ``needs_approval``, and those that the run's client wants asked for (``approve``), wait for a person like
any approval of Sluice. The SDK acts on each decision by itself and runs a tool again when a state is resumed twice: so
all decisions of a turn are collected first, and its state is resumed once.

Every call of the model goes through ``ctx.model``: pooled, metered, within every budget, streamed to watchers, replayed
after a crash. Every call of a recorded tool goes through ``ctx.tool``. A run needs no more than

    done = await run_on_sluice(ctx, agent)

Settings and output types go to the provider. What ``ctx.model`` has no word for (hosted tools, headers, streaming into
the agent) is refused, not dropped.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any, NoReturn, cast

from agents import RunConfig, Runner, UserError
from agents.items import ModelResponse
from agents.models.chatcmpl_converter import Converter
from agents.models.default_models import get_default_model_settings
from agents.models.interface import Model, ModelProvider
from agents.usage import Usage
from openai import Omit
from openai.types.chat import ChatCompletionMessage

from sluice import Denied, ModelError, ReplayMismatch, SluiceError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from agents import (
        Agent,
        AgentOutputSchemaBase,
        FunctionTool,
        Handoff,
        ModelSettings,
        ModelTracing,
        RunContextWrapper,
        RunResult,
        Tool,
        ToolApprovalItem,
    )
    from agents.tool_context import ToolContext

    from sluice import Context

OPTIONS = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "verbosity", "top_logprobs")
"""Settings that ``ctx.model`` takes under the same names."""
UNSUPPORTED = ("extra_query", "extra_headers", "context_management")
"""Settings that change an answer and that it cannot hand on."""


async def run_on_sluice(ctx: Context, agent: Agent[Context], input: str | list[Any] | None = None) -> RunResult:
    """Run an agent on the task's message, or on another input. The SDK's tracing is off: it sends runs to OpenAI."""
    config = RunConfig(model_provider=SluiceProvider(ctx), tracing_disabled=True)
    try:
        done = await Runner.run(agent, ctx.message if input is None else input, context=ctx, run_config=config)
        while done.interruptions:
            decisions = await asyncio.gather(*(_decided(ctx, item) for item in done.interruptions))
            state = done.to_state()
            for item, denied in zip(done.interruptions, decisions, strict=True):
                if denied is None:
                    state.approve(item)
                else:
                    state.reject(item, rejection_message=str(denied))
            done = await Runner.run(agent, state, run_config=config)
        return done
    except Passing as passing:
        raise passing.error from None


async def _decided(ctx: Context, item: ToolApprovalItem) -> Denied | None:
    """Wait for a person's word on one call; None when it is allowed."""
    call = item.raw_item
    given = call.get("arguments") if isinstance(call, dict) else getattr(call, "arguments", None)
    try:
        arguments = json.loads(given or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        arguments = {"json": given}  # what its model wrote; the SDK refuses it if the call is allowed
    try:
        await ctx.approval(str(item.tool_name), arguments)
    except Denied as denied:
        return denied
    return None


class Passing(BaseException):
    """Carries an error of the model or of Sluice through the SDK, which makes answers of a tool's exceptions.

    An agent used as a tool is one: what failed in it would reach the outer model as a text, and the run would complete.
    """

    def __init__(self, error: Exception) -> None:
        """Keep the error, which `run_on_sluice` raises again."""
        super().__init__(str(error))
        self.error = error


async def unswallowed[T](call: Awaitable[T]) -> T:
    """Await a call of the context; its errors pass through the SDK as `Passing`."""
    try:
        return await call
    except (SluiceError, ModelError, ReplayMismatch, WaitTimeout) as error:
        raise Passing(error) from error


def step_name(name: str, *about: Any) -> str:
    """Name a step by what it is about, so that agents side by side do not take each other's steps at a replay."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    return f"{name[:40]}.{digest[:16]}"


class SluiceProvider(ModelProvider):
    """Gives the agents of one run their models."""

    def __init__(self, ctx: Context) -> None:
        """Bind to a run."""
        self._ctx = ctx

    def get_model(self, model_name: str | None) -> Model:
        """Return the named model; the one that the task asked for where an agent names none."""
        return SluiceModel(self._ctx, model_name or self._ctx.model_name)


class SluiceModel(Model):
    """One model of one run."""

    def __init__(self, ctx: Context, name: str) -> None:
        """Bind to a run; ``name`` is the provider's."""
        self._ctx = ctx
        self._name = name

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[Any],
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff[Any, Any]],
        tracing: ModelTracing,
        **_: Any,
    ) -> ModelResponse:
        """Make one call, or get the reply that was recorded."""
        _check(model_settings)
        messages: list[Any] = list(Converter.items_to_messages(input, model=self._name))
        if system_instructions:
            messages.insert(0, {"role": "system", "content": system_instructions})
        offered: list[Any] = [Converter.tool_to_openai(tool) for tool in tools]
        offered += [Converter.convert_handoff_tool(handoff) for handoff in handoffs]
        choice = Converter.convert_tool_choice(model_settings.tool_choice)
        options = _options(model_settings, output_schema, tools=bool(offered))
        reply = await unswallowed(
            self._ctx.model(
                json.loads(json.dumps(messages)),
                tools=offered or None,
                tool_choice=None if isinstance(choice, Omit) or not offered else choice,
                model=self._name,
                max_output_tokens=model_settings.max_tokens,
                name=step_name("model", self._name, messages, offered, options),
                **options,
            )
        )
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.tool_calls
        ]
        message = {"role": "assistant", "content": reply.content or None, "tool_calls": calls or None}
        used = reply.usage
        usage = Usage(1, used.input_tokens, output_tokens=used.output_tokens, total_tokens=used.tokens)
        output = Converter.message_to_output_items(ChatCompletionMessage.model_validate(message))
        return ModelResponse(output=output, usage=usage, response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: a recorded reply has no stream. Watchers see the tokens all the same.

        Raises:
            UserError: always.
        """
        raise UserError("use run_on_sluice: Sluice streams the tokens to whoever watches the run")


def _options(settings: ModelSettings, output_schema: AgentOutputSchemaBase | None, *, tools: bool) -> Any:
    # The SDK sets these two by itself, for the model that it takes when an agent names none: not this one.
    guessed = get_default_model_settings()
    given = {name: getattr(settings, name) for name in OPTIONS}
    given["verbosity"] = None if settings.verbosity == guessed.verbosity else settings.verbosity
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if settings.reasoning is not None and settings.reasoning != guessed.reasoning:
        options["reasoning"] = settings.reasoning.model_dump(exclude_none=True)
    if settings.top_logprobs is not None:
        options["logprobs"] = True
    if tools and settings.parallel_tool_calls is not None:
        options["parallel_tool_calls"] = settings.parallel_tool_calls
    wanted = Converter.convert_response_format(output_schema)
    if not isinstance(wanted, Omit):
        options["response_format"] = wanted
    extra = {**(settings.extra_args or {}), **cast("dict[str, Any]", settings.extra_body or {})}
    return options | ({"extra": extra} if extra else {})


def _check(settings: ModelSettings) -> None:
    given = [name for name in UNSUPPORTED if getattr(settings, name) is not None]
    if given:
        raise UserError(f"Sluice's model does not take {', '.join(given)}")


def recorded(tool: FunctionTool) -> FunctionTool:
    """Return a tool whose every call is a step: done once, with events, whatever happens.

    An agent used as a tool stays as it is: the steps are those inside it.
    """
    if getattr(tool, "_is_agent_tool", False):
        return tool
    inner = tool.on_invoke_tool

    async def invoke(call: ToolContext[Context], arguments: str) -> Any:
        async def do() -> Any:
            result = await inner(call, arguments)
            try:
                return json.loads(json.dumps(result))
            except TypeError:
                return str(result)  # what the model would be shown

        # Calls run beside each other: their ids, recorded with the reply, and their arguments tell them apart.
        step = step_name(tool.name, call.tool_call_id, arguments)
        return await unswallowed(call.context.tool(step, do, {"json": arguments}))

    async def needs(run: RunContextWrapper[Context], arguments: dict[str, Any], call_id: str) -> bool:
        if run.context.wants_approval(tool.name):
            return True
        asks = tool.needs_approval
        return await asks(run, arguments, call_id) if callable(asks) else asks

    return dataclasses.replace(tool, on_invoke_tool=invoke, needs_approval=needs)
