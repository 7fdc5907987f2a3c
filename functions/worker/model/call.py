"""One call of the language model over the pooled `openai` client. It knows nothing of breakers, budgets or steps.

What makes a call cheap, in processor time: the client says once how a request is made (`request`), since it would walk
through typed parameters one by one at each, and the answer is read as bytes, since it would make models of every chunk.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from functions.worker.model import limits
from functions.worker.model.exchange import Again, Exchange, pool_full, unseen
from functions.worker.model.limits import Watch
from functions.worker.model.phases import STALE_SECONDS, STALE_UNSTREAMED_SECONDS, Phases
from functions.worker.model.progress import Progress, tokens_of
from functions.worker.model.sse import Ears
from functions.worker.model.telling import CallPiece, ShownCall
from shared import metrics
from shared.credentials import Credentials
from sluice.types import ModelReply


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
    on_call: Callable[[CallPiece], None] | None = None,
    before: Mapping[int, ShownCall] | None = None,
    stream: bool = True,
    progress: Progress | None = None,
    own: Credentials | None = None,
) -> ModelReply:
    """Ask the model and return its whole reply; ``on_delta`` is told each piece of text as it comes.

    ``options`` are further fields of the request's body. ``on_reasoning`` is told each piece of what the model thinks
    aloud, ``on_call`` each piece of a tool call's arguments; ``before`` is what was shown of the tool calls of an
    attempt that died: those that are written once more have the same ids. Without ``stream`` the text comes in one
    piece; a run of one call then takes a fifth to a quarter less processor time (`benchmarks.reference_work`).

    Cancelling the call closes its stream at once; how far it had got then, and what it cost, is told by ``progress``. A
    reused connection that proves dead before anything came back is replaced once, a redirect is followed, and what a
    refusal names is left out (`profile`); nothing else is tried again here. ``own`` is a user's own key.

    Raises:
        ModelError: refused, unreachable, malformed or cut off; or too slow: to begin (``model_no_answer``), between two
            bytes (``model_stalled``), or on the whole, ``timeout_s`` (``model_call_too_long``).
    """
    asked: dict[str, Any] = {"model": model, "messages": messages, **(options or {})}
    if tools:
        asked["tools"] = tools
        if tool_choice is not None:
            asked["tool_choice"] = tool_choice
    progress = Progress() if progress is None else progress
    watch = Watch(limits.of_call(timeout_s, max_output_tokens, stream=stream))
    progress.prompt_tokens = tokens_of(json.dumps([messages, tools, options], ensure_ascii=False))

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

    ears = Ears(told, thought, progress.tool, on_call, before or {})
    one = Exchange(asked, max_output_tokens, stream, ears, watch, progress, own)
    attempt = begin()
    try:
        async with watch:
            while True:
                try:
                    reply = await one.ask(attempt)
                    break
                except Again:
                    attempt = begin()
    except TimeoutError as error:
        if attempt.waited_for_pool:
            raise pool_full() from error
        raise watch.error(unseen=unseen(stream, attempt)) from error
    if reply.estimated:
        metrics.count("UsageEstimated")
    return reply
