"""The short way for chunks that are nothing but text ends where the long way does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.worker.model import assembler, choices
from functions.worker.model.assembler import Parts
from functions.worker.model.progress import Progress
from functions.worker.model.telling import Ears
from shared.retry import ModelError
from tests.examples import examples

STRANGE = st.sampled_from([None, 0, 1, "", "x", [], {}, {"content": "y"}, False, True])
TEXTS = st.text(max_size=8) | st.sampled_from(["\ud800", "é", "<think>", ""])
DELTAS = st.fixed_dictionaries(
    {"content": TEXTS | STRANGE}, optional={"role": STRANGE, "refusal": TEXTS | STRANGE, "reasoning": TEXTS | STRANGE}
)
CHOICES = st.fixed_dictionaries(
    {"delta": DELTAS | STRANGE},
    optional={
        "index": st.sampled_from([0, 1, None]),
        "finish_reason": st.sampled_from([None, "", "stop", "length"]),
        "logprobs": STRANGE,
        "error": STRANGE,
        "usage": STRANGE,
    },
)
CHUNKS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2)},
    optional={
        "model": st.sampled_from([None, "a", "b", 7, ["c"]]),
        "object": st.sampled_from([None, "chat.completion.chunk", "error"]),
        "usage": st.sampled_from([None, {}, {"prompt_tokens": 3, "completion_tokens": 2}]),
        "error": STRANGE,
        "type": st.sampled_from(["ping", "error"]),
        "service_tier": STRANGE,
    },
)


def taken(chunks: list[dict[str, Any]], most: int | None) -> list[Any]:
    """Take chunks; returns all that is seen of it."""
    heard: list[tuple[str, str]] = []
    progress = Progress()

    def hears(kind: str) -> Any:
        def one(piece: str) -> None:
            heard.append((kind, piece))
            getattr(progress, kind)(piece)

        return one

    parts = Parts("m", Ears(hears("text"), hears("reasoning"), hears("tool")), progress, most)
    told: list[Any] = []
    for chunk in chunks:
        try:
            told.append(parts.take(chunk))
        except (ModelError, TypeError, AttributeError, ValueError, KeyError) as error:
            told.append((type(error), str(error)))
    try:
        reply: Any = parts.reply(whole=False)
    except ModelError as error:
        reply = str(error)
    return [
        told,
        heard,
        parts.finish,
        parts.cut,
        parts.empty,
        progress.weight,
        progress.pieces,
        progress.streamed,
        reply,
    ]


@settings(max_examples=examples(400, usual=100), deadline=None)
@given(st.lists(CHUNKS, max_size=6), st.sampled_from([None, 1, 3]))
def test_both_ways_see_the_same(chunks: list[dict[str, Any]], most: int | None) -> None:
    short = taken(chunks, most)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembler, "plain_text", lambda _chunk: None)
        assert taken(chunks, most) == short


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        ({"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}, "hi"),
        ({"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]}, None),
        ({"choices": [{"delta": {"content": "hi"}}], "usage": {"prompt_tokens": 1}}, None),
        ({"choices": [{"delta": {"content": "hi", "role": "assistant"}}]}, None),
        ({"choices": [{"delta": {"content": "hi"}}], "error": "no"}, None),
    ],
)
def test_the_short_way_is_for_text_alone(chunk: dict[str, Any], text: str | None) -> None:
    assert choices.plain_text(chunk) == text
