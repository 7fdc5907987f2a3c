"""How much a model call may write when its client names no limit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.limits.output import DEFAULT_OUTPUT_TOKENS, output_tokens
from tests.unit.limits.test_models import configure

__all__ = ["configure"]


@pytest.mark.parametrize(
    ("params", "most"),
    [
        ({}, DEFAULT_OUTPUT_TOKENS),
        ({"max_output_tokens": 7}, 7),
        ({"dialect": "chat"}, 4096),
        ({"dialect": "responses"}, 4096),
        ({"dialect": "responses", "max_output_tokens": 7}, 7),
        ({"dialect": "responses", "max_output_tokens": 9000}, 9000),
        ({"dialect": "chat", "max_cost_usd": 0.001}, DEFAULT_OUTPUT_TOKENS),
    ],
)
def test_openais_clients_get_longer_answers_without_asking(params: dict[str, Any], most: int) -> None:
    assert output_tokens(params, "gpt-4o-mini") == most


@pytest.mark.parametrize(
    ("context", "most"),
    [(512, 1024), (4096, 1024), (8192, 2048), (16_380, 4095), (16_384, 4096), (10**6, 4096), (0, 4096)],
)
def test_what_nobody_asked_for_leaves_room_for_the_conversation(
    configure: Callable[..., None], context: int, most: int
) -> None:
    configure(CONTEXT_TOKENS=json.dumps({"mine": context}))
    assert output_tokens({"dialect": "chat"}, "mine") == most


@pytest.mark.parametrize("said", [1, 300, 128_000])
def test_an_operator_says_how_much(configure: Callable[..., None], said: int) -> None:
    configure(OPENAI_OUTPUT_TOKENS=str(said), CONTEXT_TOKENS="1000000")
    assert output_tokens({"dialect": "chat"}, "mine") == said
    assert output_tokens({}, "mine") == DEFAULT_OUTPUT_TOKENS
