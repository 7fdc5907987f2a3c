"""Names of models: what gateways make of them, what the operator says of them, and the table behind both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from deploy import price_table
from shared import aws, settings
from shared.errors import SettingError
from shared.limits import models, prices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def change(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        settings.settings.cache_clear()
        models.forget()

    change()
    yield change
    monkeypatch.undo()
    settings.settings.cache_clear()
    models.forget()


def usd(model: str) -> tuple[float, float] | None:
    found = models.known(model)
    return (found.input / 1e6, found.output / 1e6) if found else None


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("azure/gpt-4o-mini", "gpt-4o-mini"),
        ("OpenAI/GPT-4o-mini", "gpt-4o-mini"),
        ("openrouter/openai/gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("anthropic/claude-haiku-4.5", "claude-haiku-4-5"),
        ("deepseek/deepseek-chat", "deepseek-chat"),
        ("o1-pro-2025-03-19", "o1-pro"),
        ("claude-3-7-sonnet-v2@20250219", "claude-3-7-sonnet"),
        ("google/gemini-2.5-flash-preview-04-17", "gemini-2.5-flash"),
        ("gemini-2.5-flash-001", "gemini-2.5-flash"),
        ("openai/o4-mini-high", "o4-mini"),
    ],
)
def test_a_gateways_name_costs_what_the_model_costs(given: str, base: str) -> None:
    assert usd(given) == usd(base) is not None


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("o1-pro", (150, 600)),
        ("o1-pro-2025-03-19", (150, 600)),
        ("gpt-5.1", (1.25, 10)),
        ("deepseek-chat", (0.28, 0.42)),
        ("gemini-2.5-flash", (0.3, 2.5)),
        ("claude-sonnet-4-5", (3, 15)),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", (3.3, 16.5)),  # dearer there than at its maker's
        ("azure/eu/gpt-4o-mini", (0.165, 0.66)),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", (0.3, 1.2)),
        ("gpt-4.5-preview-2025-02-27", (75, 150)),
    ],
)
def test_list_prices(model: str, price: tuple[float, float]) -> None:
    assert usd(model) == price


@pytest.mark.parametrize(
    "model",
    [
        "somebody-elses-model", "llama3", "qwen2.5:7b", "gpt-4o-mini-extra", "", "/", ":", "ft:", "ft:unheard-of:x",
        "openai/", "us.", "a" * 128, "gpt-4o-minı", "ollama/mymodel:latest",
    ],
)  # fmt: skip
def test_a_model_that_nobody_priced_has_no_price(model: str) -> None:
    assert models.known(model) is None
    assert models.context_tokens(model) is None


def test_a_long_prompt_costs_what_a_long_prompt_costs() -> None:
    found = models.known("gemini-2.5-pro")
    assert found is not None
    assert (found.above, found.input_above) == (200_000, 2_500_000)
    assert prices.cost_micro_usd("gemini-2.5-pro", 200_000, 0) == 250_000
    assert prices.cost_micro_usd("gemini-2.5-pro", 200_001, 0) == 500_003
    assert prices.cost_micro_usd("gemini-2.5-pro", 200_001, 1000) == 515_003


def test_the_table_says_how_much_a_model_takes() -> None:
    assert models.context_tokens("gpt-4o-mini") == 128_000
    assert models.context_tokens("openai/gpt-4-0613") == 8_192
    assert models.context_tokens("models/gemini-2.5-flash") == 1_048_576


def test_the_operators_word_comes_first(configure: Callable[..., None]) -> None:
    own = {"gpt-4o-mini": [1, 2], "llama3*": 0, "house/*": [0.5, 0.5], "house/large": 7, "*": 9}
    configure(PRICES=json.dumps(own), CONTEXT_TOKENS='{"llama3*": 8192, "gpt-4o-mini": 1000}')
    assert usd("gpt-4o-mini") == usd("openai/gpt-4o-mini-2024-07-18") == (1, 2)
    assert usd("llama3:8b") == usd("ollama/llama3.2") == (0, 0)
    assert prices.cost_micro_usd("llama3", 10**6, 10**6) == 0
    assert usd("house/small") == (0.5, 0.5)
    assert usd("House/Large") == (7, 7)
    assert usd("anything") == (9, 9)
    assert models.context_tokens("llama3:8b") == 8192
    assert models.context_tokens("gpt-4o-mini") == 1000
    assert models.context_tokens("gpt-4o") == 128_000


def test_one_context_size_for_all(configure: Callable[..., None]) -> None:
    configure(CONTEXT_TOKENS="512")
    assert models.context_tokens("gpt-4o") == models.context_tokens("mine") == 512


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PRICES", "{"), ("PRICES", "[]"), ("PRICES", '{"a": "dear"}'), ("PRICES", '{"a": [1]}'),
        ("PRICES", '{"a": [1, -1]}'), ("PRICES", '{"a": NaN}'), ("PRICES", '{"a": true}'), ("PRICES", '{"a": 1e9}'),
        ("CONTEXT_TOKENS", "many"), ("CONTEXT_TOKENS", '{"a": 1.5}'), ("CONTEXT_TOKENS", '{"a": -1}'),
        ("PRICES_OBJECT", "/none/such.json"),
    ],
)  # fmt: skip
def test_a_wrong_word_names_its_variable(configure: Callable[..., None], variable: str, text: str) -> None:
    configure(**{variable: text})
    ask = models.context_tokens if variable == "CONTEXT_TOKENS" else models.known
    with pytest.raises(SettingError, match=variable):
        ask("a")


def test_long_lists_stand_in_an_object(configure: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"mine": [1, 2], "yours": 3}')
    configure(PRICES_OBJECT=str(file), PRICES='{"yours": 4}')
    assert usd("mine") == (1, 2)
    assert usd("yours") == (4, 4)


def test_the_object_is_read_from_s3(configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    with mock_aws():
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client: Any = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="figures")
        client.put_object(Bucket="figures", Key="a/b.json", Body=b'{"mine": [1, 2]}')
        monkeypatch.setattr(aws, "s3", lambda: client)
        configure(PRICES_OBJECT="figures/a/b.json")
        assert usd("mine") == (1, 2)
        configure(PRICES_OBJECT="figures/none.json")
        with pytest.raises(SettingError, match="NoSuchKey"):
            models.known("mine")


def test_whether_models_without_a_price_may_run(configure: Callable[..., None]) -> None:
    assert not models.is_allowed("mine")
    assert models.is_allowed("gpt-4o-mini")
    configure(PRICES='{"mine": 0}')
    assert models.is_allowed("mine")
    assert not models.is_allowed("yours")
    configure(PRICES="", ALLOW_UNPRICED_MODELS="true")
    assert models.is_allowed("yours")
    assert prices.price("yours") == models.known("gpt-4o-mini")  # charged as the default one
    configure(DEFAULT_MODEL="mine")
    assert prices.price("yours") == models.table().default


def test_the_table_is_made_of_the_makers_prices() -> None:
    raw: dict[str, dict[str, Any]] = {
        "m-1": {"litellm_provider": "openai", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6},
        "azure/m-1": {"litellm_provider": "azure", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6},
        "azure/eu/m-1": {"litellm_provider": "azure", "input_cost_per_token": 3e-6, "output_cost_per_token": 4e-6},
        "groq/open-7b": {"litellm_provider": "groq", "input_cost_per_token": 1e-7, "output_cost_per_token": 1e-7},
        "novita/x/open-7b": {"litellm_provider": "novita", "input_cost_per_token": 3e-7, "output_cost_per_token": 2e-7},
        "free": {"litellm_provider": "openai", "input_cost_per_token": 0, "output_cost_per_token": 0},
        "m-1-reasons": {
            "litellm_provider": "openai", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6,
            "output_cost_per_reasoning_token": 5e-6, "max_input_tokens": 1000,
            "input_cost_per_token_above_200k_tokens": 9e-6,
        },
        "m-cached": {
            "litellm_provider": "openai", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6,
            "cache_read_input_token_cost": 1e-7, "cache_creation_input_token_cost": 1.25e-6,
        },
        "m-odd": {
            "litellm_provider": "openai", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6,
            "cache_read_input_token_cost": 3e-6, "cache_creation_input_token_cost": 1e-7,
        },
        "picture": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_token": 1e-6},
    }  # fmt: skip
    for entry in raw.values():
        entry.setdefault("mode", "chat")
    found = price_table.table(raw)
    assert {name: found[name] for name in found if name not in price_table.OWN} == {
        "m-1": [1, 2, 0],
        "azure/eu/m-1": [3, 4, 0],
        "open-7b": [0.3, 0.2, 0],
        "groq/open-7b": [0.1, 0.1, 0],
        "m-1-reasons": [1, 5, 1000, 200_000, 9, 5],
        "m-cached": [1, 2, 0, 0, 0, 0, 0.1, 1.25],
        "m-odd": [1, 2, 0],
    }


def test_the_table_names_its_source() -> None:
    assert price_table.VERSION in models.table().source
    assert models.table().as_of == price_table.AS_OF
