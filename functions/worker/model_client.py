"""One call of the language model over the pooled `openai` client. It knows nothing of breakers, budgets or steps."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx2

from functions.worker import clients
from functions.worker.sse import Assembler
from shared.clock import now
from shared.retry import ModelError, retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from functions.worker.types import ModelReply

ERROR_BODY_BYTES = 64 * 1024
DRAIN_SECONDS = 1.0


class _Stale(Exception):
    """A pooled connection turned out to be dead before anything came back."""


async def call(
    model: str,
    messages: list[dict[str, Any]],
    *,
    tools: list[dict[str, Any]] | None,
    tool_choice: Any = None,
    max_output_tokens: int,
    timeout_s: float,
    on_delta: Callable[[str], None],
) -> ModelReply:
    """Ask the model and return its whole reply; ``on_delta`` is told each piece of text as it comes.

    Cancelling the call closes its stream at once.

    Raises:
        ModelError: refused, unreachable, too slow (``timeout_s`` for the whole call), malformed or cut off.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "max_completion_tokens": max_output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if tools:
        body["tools"] = tools
        if tool_choice is not None:
            body["tool_choice"] = tool_choice
    try:
        async with asyncio.timeout(timeout_s):
            try:
                return await _once(body, model, on_delta)
            except _Stale:
                return await _once(body, model, on_delta)
    except TimeoutError as error:
        raise ModelError(f"the model did not answer within {timeout_s:g} s", code="provider_timeout") from error
    except _Stale as error:
        raise ModelError("the provider closed the connection", code="provider_unreachable") from error


async def _once(body: dict[str, Any], model: str, on_delta: Callable[[str], None]) -> ModelReply:
    import openai

    assembler = Assembler(model, on_delta)
    started = False
    try:
        completions = clients.model().chat.completions
        async with completions.with_streaming_response.create(**body) as response:
            started = True
            lines = response.iter_lines()
            async for line in lines:
                assembler.line(line)
                if assembler.done:
                    await _drain(lines)
                    break
        return assembler.reply(len(json.dumps(body["messages"])))
    except openai.APIStatusError as error:
        raise await _refused(error) from error
    except openai.APIError as error:
        raise _broken(error.__cause__ or error, started=started) from error
    except httpx2.HTTPError as error:  # while the stream was read
        raise _broken(error, started=started) from error


async def _drain(lines: AsyncIterator[str]) -> None:
    """Read to the end of the answer: a connection that is left in the middle cannot be used again."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in lines:
                pass
    except TimeoutError:
        return  # the reply is whole; only the connection is given up


async def _refused(error: Any) -> ModelError:
    """Read the provider's own error out of a 4xx or 5xx."""
    response: httpx2.Response = error.response
    code = message = None
    try:
        await response.aread()
        found = json.loads(response.content[:ERROR_BODY_BYTES]).get("error") or {}
        code, message = found.get("code") or found.get("type"), found.get("message")
    except (httpx2.HTTPError, ValueError, AttributeError):
        message = None  # a body that says nothing; the status does
    return ModelError(
        str(message or f"the provider answered {response.status_code}"),
        status=response.status_code,
        code=str(code) if code else None,
        retry_after_s=retry_after(response.headers, now()),
    )


def _broken(error: BaseException, *, started: bool) -> Exception:
    if isinstance(error, httpx2.PoolTimeout):
        return ModelError("no connection of the pool came free", code="pool_timeout", own_fault=True)
    if isinstance(error, httpx2.TimeoutException):
        return ModelError("the provider is too slow", code="provider_timeout")
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError | httpx2.WriteError) and not started:
        return _Stale()
    return ModelError(f"the provider is unreachable: {type(error).__name__}", code="provider_unreachable")
