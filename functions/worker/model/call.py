"""One call of the language model over the pooled `openai` client. It knows nothing of breakers, budgets or steps.

What makes a call cheap, in processor time: it goes through the client's ``post``, since the method for completions
walks through typed parameters one by one, and the answer is read as bytes, since it would make models of every chunk.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import httpx2

from functions.worker.environment import clients
from functions.worker.model.phases import STALE_UNSTREAMED_SECONDS, Phases, current
from functions.worker.model.sse import Assembler, WholeReply
from shared import metrics, secrets
from shared.clock import now
from shared.retry import ModelError, retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sluice.types import ModelReply

ERROR_BODY_BYTES = 64 * 1024
"""How much of a refusal is read for its reason."""
GATEWAY_TIMEOUTS = frozenset({504, 524})
"""What stands before a provider gave up waiting, and the provider may have gone on."""
DRAIN_SECONDS = 0.5
"""How long the end of an answer is waited for once its reply is whole."""


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
    stream: bool = True,
    tries: list[Phases] | None = None,
) -> ModelReply:
    """Ask the model and return its whole reply; ``on_delta`` is told each piece of text as it comes.

    Without ``stream`` the text comes in one piece; a run of one call then takes a fifth to a quarter less processor
    time (`benchmarks.reference_work`).

    Cancelling the call closes its stream at once; how far it had got then is told by ``tries``, which is added to. A
    reused connection that proves dead before anything came back is replaced once; nothing else is tried again here.

    Raises:
        ModelError: refused, unreachable, too slow (``timeout_s`` for the whole call), malformed or cut off.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "max_completion_tokens": max_output_tokens,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if tools:
        body["tools"] = tools
        if tool_choice is not None:
            body["tool_choice"] = tool_choice
    tries = [] if tries is None else tries

    def begin() -> Phases:
        tries.append(Phases() if stream else Phases(stale_s=STALE_UNSTREAMED_SECONDS))
        return tries[-1]

    attempt = begin()
    try:
        async with asyncio.timeout(timeout_s):
            try:
                reply = await _once(body, attempt, on_delta)
            except _Stale:
                attempt = begin()
                reply = await _once(body, attempt, on_delta)
    except TimeoutError as error:
        if attempt.waited_for_pool:
            raise _pool_full() from error
        message = f"the model did not answer within {timeout_s:g} s"
        raise ModelError(message, code="provider_timeout", unseen=_unseen(stream, attempt)) from error
    except _Stale as error:
        raise ModelError("the provider closed the connection", code="provider_unreachable") from error
    if reply.estimated:
        metrics.count("UsageEstimated", model=model)
    return reply


async def _once(body: dict[str, Any], attempt: Phases, on_delta: Callable[[str], None]) -> ModelReply:
    import openai

    model: str = body["model"]
    kind = Assembler if "stream" in body else WholeReply
    assembler = kind(model, on_delta, lambda: len(json.dumps(body["messages"], ensure_ascii=False).encode()))
    token = current.set(attempt)
    try:
        client = clients.model()
        response: Any = await client.post(
            clients.completions_url(client),
            cast_to=httpx2.Response,
            body=body,
            stream=True,
            stream_cls=openai.AsyncStream[Any],
        )
        try:
            await _read(response, assembler)
        finally:
            await response.aclose()
        return assembler.reply()
    except openai.APIStatusError as error:
        raise _refused(error.response, "stream" in body) from error
    except openai.APIError as error:
        raise _broken(error.__cause__ or error, attempt, "stream" in body) from error
    except httpx2.HTTPError as error:  # while the answer was read
        raise _broken(error, attempt, "stream" in body) from error
    finally:
        current.reset(token)


async def _read(response: httpx2.Response, assembler: Assembler) -> None:
    async with aclosing(response.aiter_bytes()) as pieces:
        try:
            async for piece in pieces:
                assembler.feed(piece)
                if assembler.done:
                    await _drain(pieces)
                    break
        except httpx2.HTTPError:
            if not assembler.finished:
                raise
            # The reply is whole and paid for; it lost its tail only.


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    """Read to the end of the answer: a connection that is left in the middle cannot be used again."""
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in pieces:
                pass
    except TimeoutError:
        return  # only the connection is given up


def _refused(response: httpx2.Response, stream: bool) -> ModelError:
    """Read the provider's own error out of a 4xx or 5xx, which the client has read."""
    code = message = None
    try:
        found = json.loads(response.content[:ERROR_BODY_BYTES]).get("error") or {}
        code, message = found.get("code") or found.get("type"), found.get("message")
    except (ValueError, AttributeError, RecursionError):
        message = None  # a body that says nothing; the status does
    return ModelError(
        _without_key(str(message or f"the provider answered {response.status_code}")),
        status=response.status_code,
        code=str(code) if code else None,
        retry_after_s=retry_after(response.headers, now()),
        unseen=not stream and response.status_code in GATEWAY_TIMEOUTS,
    )


def _without_key(text: str) -> str:
    """Take our key out of a provider's message, which a task's owner will see."""
    key = secrets.openai_api_key()
    return text.replace(key, "[key]") if key else text


def _pool_full() -> ModelError:
    return ModelError("no connection of the pool came free", code="pool_timeout", own_fault=True)


def _unseen(stream: bool, attempt: Phases) -> bool:
    return not stream and attempt.sent_at is not None


def _broken(error: BaseException, attempt: Phases, stream: bool) -> Exception:
    if isinstance(error, httpx2.PoolTimeout):
        return _pool_full()
    if isinstance(error, httpx2.TimeoutException):
        return ModelError("the provider is too slow", code="provider_timeout", unseen=_unseen(stream, attempt))
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError | httpx2.WriteError) and attempt.stale:
        return _Stale()
    message = f"the provider is unreachable: {type(error).__name__}"
    return ModelError(message, code="provider_unreachable", unseen=_unseen(stream, attempt))
