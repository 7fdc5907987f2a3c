"""How much a model call may write when its client names no limit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.limits.output import DEFAULT_OUTPUT_TOKENS, output_tokens
from shared.tasks.model import Task
from tests.unit.limits.test_models import configure

__all__ = ["configure"]


def most_of(params: dict[str, Any], model: str = "gpt-4o-mini", **caps: int) -> int:
    made = Task(task_id="t", user="u", lane="normal", agent="chat", model=model, created=1.0, day="d", **caps)  # type: ignore[arg-type]
    made.params = params
    return output_tokens(made)


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
    assert most_of(params) == most


@pytest.mark.parametrize(
    ("context", "most"),
    [(512, 1024), (4096, 1024), (8192, 2048), (16_380, 4095), (16_384, 4096), (10**6, 4096), (0, 4096)],
)
def test_what_nobody_asked_for_leaves_room_for_the_conversation(
    configure: Callable[..., None], context: int, most: int
) -> None:
    configure(CONTEXT_TOKENS=json.dumps({"mine": context}))
    assert most_of({"dialect": "chat"}, "mine") == most


@pytest.mark.parametrize("said", [1, 300, 128_000])
def test_an_operator_says_how_much(configure: Callable[..., None], said: int) -> None:
    configure(OPENAI_OUTPUT_TOKENS=str(said), CONTEXT_TOKENS="1000000")
    assert most_of({"dialect": "chat"}, "mine") == said
    assert most_of({}, "mine") == DEFAULT_OUTPUT_TOKENS


@pytest.mark.parametrize("cap", ["cap_tokens", "cap_key_tokens", "cap_micro_usd", "cap_key_micro_usd"])
@pytest.mark.parametrize(
    ("answers", "most"), [(1, 1024), (16 * 1024, 1024), (16 * 2048, 2048), (16 * 4096, 4096), (10**7, 4096)]
)
def test_what_nobody_asked_for_leaves_most_of_a_days_budget(
    configure: Callable[..., None], cap: str, answers: int, most: int
) -> None:
    configure(PRICES='{"mine": 1}')  # a token is a micro-dollar
    assert most_of({"dialect": "chat"}, "mine", **{cap: answers}) == most
    assert most_of({"dialect": "chat", "max_output_tokens": 9000}, "mine", **{cap: answers}) == 9000


@pytest.mark.parametrize(
    "variables", [{"GLOBAL_TOKENS_PER_DAY": "32768"}, {"GLOBAL_USD_PER_DAY": "0.032768"}, {"PROVIDER_TPM": "32768"}]
)
def test_budgets_of_all_users_count_too(configure: Callable[..., None], variables: dict[str, str]) -> None:
    configure(PRICES='{"mine": 1, "free": 0}', **variables)
    assert most_of({"dialect": "chat"}, "mine") == 2048
    assert most_of({"dialect": "chat"}, "free") == (4096 if "GLOBAL_USD_PER_DAY" in variables else 2048)
