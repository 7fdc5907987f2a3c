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
from functions.worker.model import limits
from functions.worker.model.limits import Watch
from functions.worker.model.phases import STALE_SECONDS, STALE_UNSTREAMED_SECONDS, Phases, current
from functions.worker.model.progress import Progress, tokens_of
from functions.worker.model.sse import Assembler, Ears, WholeReply
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
    options: dict[str, Any] | None = None,
    timeout_s: float,
    on_delta: Callable[[str], None],
    on_reasoning: Callable[[str], None] | None = None,
    stream: bool = True,
    progress: Progress | None = None,
) -> ModelReply:
    """Ask the model and return its whole reply; ``on_delta`` is told each piece of text as it comes.

    ``options`` are further fields of the request's body. ``on_reasoning`` is told each piece of what the model thinks
    aloud. Without ``stream`` the text comes in one piece; a run of one call then takes a fifth to a quarter less
    processor time (`benchmarks.reference_work`).

    Cancelling the call closes its stream at once; how far it had got then, and what it cost, is told by ``progress``. A
    reused connection that proves dead before anything came back is replaced once; nothing else is tried again here.

    Raises:
        ModelError: refused, unreachable, malformed or cut off; or too slow: to begin (``model_no_answer``), between two
            bytes (``model_stalled``), or on the whole, ``timeout_s`` (``model_call_too_long``).
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "max_completion_tokens": max_output_tokens,
        **(options or {}),
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if tools:
        body["tools"] = tools
        if tool_choice is not None:
            body["tool_choice"] = tool_choice
    progress = Progress() if progress is None else progress
    watch = Watch(limits.of_call(timeout_s, max_output_tokens, stream=stream))
    asked = json.dumps([messages, tools, options], ensure_ascii=False)
    progress.sent_bytes, progress.prompt_tokens = len(asked.encode("utf-8", "replace")), tokens_of(asked)

    def begin() -> Phases:
        stale_s = STALE_SECONDS if stream else STALE_UNSTREAMED_SECONDS
        progress.tries.append(Phases(stale_s=stale_s, on_sent=watch.sent))
        return progress.tries[-1]

    def told(text: str) -> None:
        progress.text(text)
        on_delta(text)

    def thought(text: str) -> None:
        progress.reasoning(text)
        if on_reasoning is not None:
            on_reasoning(text)

    ears = Ears(told, thought, progress.tool)
    attempt = begin()
    try:
        async with watch:
            try:
                reply = await _once(body, attempt, ears, watch, progress)
            except _Stale:
                attempt = begin()
                reply = await _once(body, attempt, ears, watch, progress)
    except TimeoutError as error:
        if attempt.waited_for_pool:
            raise _pool_full() from error
        raise watch.error(unseen=_unseen(stream, attempt)) from error
    except _Stale as error:
        raise ModelError("the provider closed the connection", code="provider_unreachable") from error
    if reply.estimated:
        metrics.count("UsageEstimated")
    return reply


async def _once(body: dict[str, Any], attempt: Phases, ears: Ears, watch: Watch, progress: Progress) -> ModelReply:
    import openai

    model: str = body["model"]
    kind = Assembler if "stream" in body else WholeReply
    assembler = kind(model, ears, progress)
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
            await _read(response, assembler, watch)
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


async def _read(response: httpx2.Response, assembler: Assembler, watch: Watch) -> None:
    async with aclosing(response.aiter_bytes()) as pieces:
        try:
            async for piece in pieces:
                watch.byte()
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
        return ModelError(
            "the provider is too slow to connect", code="model_no_answer", unseen=_unseen(stream, attempt)
        )
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError | httpx2.WriteError) and attempt.stale:
        return _Stale()
    message = f"the provider is unreachable: {type(error).__name__}"
    return ModelError(message, code="provider_unreachable", unseen=_unseen(stream, attempt))
