"""What the simulated model says: the same text for the same conversation, of the length asked for."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from localstack.llm import tokens, tooling
from localstack.llm.directives import Directives
from localstack.llm.messages import user_texts
from localstack.llm.request import ChatRequest
from localstack.llm.tooling import ToolCall, ToolResult

_SENTENCES = tuple(
    tuple(sentence.split())
    for sentence in (
        "The short version is that it depends on what you value most.",
        "Start with the smallest piece that can be tried, and measure it.",
        "Two things matter here, and they pull in opposite directions.",
        "Keep what already works and replace one part at a time.",
        "A simple rule that everyone can follow beats a clever one that nobody remembers.",
        "The figures point the same way, though the sample is small.",
        "There is a cheaper way if a little delay is acceptable.",
        "Most of the cost sits in waiting, so overlap the waits.",
        "Write down the assumption first, then look for the case that breaks it.",
        "In practice the second option fails less often and is easier to undo.",
        "Ask who will read this in a year, and leave them a note.",
        "That holds for small inputs; larger ones need another plan.",
    )
)
_QUOTED_WORDS = 60


class Reply(NamedTuple):
    """An answer cut into tokens, or tool calls, with why it ended and what it used."""

    pieces: Sequence[str]
    tool_calls: Sequence[ToolCall]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


def make(request: ChatRequest, wish: Directives, default_words: int, salt: str, number: int) -> Reply:
    """Answers a request.

    Args:
        request: the request.
        wish: the directives of its last user message.
        default_words: length of a reply where no directive says otherwise.
        salt: what the ids of tool calls are made from.
        number: number of the call, which ``nonce`` puts into the reply.
    """
    prompt = tokens.count_prompt(request.messages, request.raw_tools)
    limit = request.max_tokens
    calls = tooling.choose(request, wish, f"{salt}/{number}" if wish.nonce else salt)
    if calls:
        return _limit_calls(calls, limit, prompt)
    text = _text(request, wish, default_words)
    if wish.nonce:
        text = f"[{number}] {text}"
    for stop in request.stop:
        text = text.split(stop, 1)[0]
    pieces = tokens.split(text)
    if limit is not None and len(pieces) > limit:
        return Reply(pieces[:limit], (), "length", prompt, limit)
    return Reply(pieces, (), "stop", prompt, len(pieces))


def filtered(reply: Reply) -> Reply:
    """The reply as cut short by a content filter."""
    pieces = reply.pieces[: len(reply.pieces) // 2]
    return Reply(pieces, (), "content_filter", reply.prompt_tokens, len(pieces))


def _text(request: ChatRequest, wish: Directives, default_words: int) -> str:
    if wish.say is not None:
        return wish.say
    if wish.echo:
        return wish.text or "(empty message)"
    if wish.recall:
        return " | ".join(user_texts(request.messages)[:-1]) or "(nothing to recall)"
    found = tooling.results(request)
    if found:
        return _from_results(found, wish)
    return compose(wish.text, default_words if wish.words is None else wish.words)


def _from_results(found: Sequence[ToolResult], wish: Directives) -> str:
    said = [f"The {result.name} tool answered: {_clip(result.content)}" for result in found]
    text = "\n".join(said)
    missing = 0 if wish.words is None else wish.words - tokens.count(text)
    return f"{text} {compose('', missing)}" if missing > 0 else text


def _clip(content: str) -> str:
    pieces = tokens.split(content.strip())
    return "".join(pieces[:_QUOTED_WORDS]) + (" ..." if len(pieces) > _QUOTED_WORDS else "")


def compose(topic: str, words: int) -> str:
    """A plausible text of exactly so many words about a topic, the same for the same topic."""
    opening = topic.split()[:6]
    said = f'About "{" ".join(opening)}":'.split() if opening else []
    generator = random.Random(topic)  # noqa: S311 - reproducible, not secret
    while len(said) < words:
        said.extend(generator.choice(_SENTENCES))
    text = " ".join(said[:words])
    return text if text.endswith((".", ":")) else text.rstrip(",;") + "."


def _limit_calls(calls: Sequence[ToolCall], limit: int | None, prompt: int) -> Reply:
    """A call costs one token for its name and those of its arguments; a limit cuts the arguments short."""
    kept: list[ToolCall] = []
    used = 0
    for call in calls:
        pieces = tokens.split(call.arguments)
        if limit is not None and used + 1 + len(pieces) > limit:
            room = limit - used - 1
            if room >= 0:
                kept.append(call._replace(arguments="".join(pieces[:room])))
            return Reply((), kept, "length", prompt, limit)
        used += 1 + len(pieces)
        kept.append(call)
    return Reply((), kept, "tool_calls", prompt, used)
