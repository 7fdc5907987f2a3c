"""Every size limit, on both sides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.api.contract import requests
from functions.api.dialect import runs
from shared.limits import keys
from shared.netguard import URL_CHARACTERS
from shared.settings import settings
from shared.tasks import store
from shared.tasks.model import dumps
from tests.unit.api.conftest import Api


def pairs(count: int, key: int = 8, value: int = 1) -> dict[str, str]:
    return {f"{n:02d}".ljust(key, "k"): "v" * value for n in range(count)}


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({"message": "a" * requests.MESSAGE_BYTES}, True),
        ({"message": "a" * (requests.MESSAGE_BYTES + 1)}, False),
        ({"message": "é" * (requests.MESSAGE_BYTES // 2)}, True),
        ({"message": "é" * (requests.MESSAGE_BYTES // 2) + "a"}, False),
        ({"metadata": pairs(requests.METADATA_PAIRS)}, True),
        ({"metadata": pairs(requests.METADATA_PAIRS + 1)}, False),
        ({"metadata": pairs(1, key=requests.METADATA_KEY_CHARACTERS)}, True),
        ({"metadata": pairs(1, key=requests.METADATA_KEY_CHARACTERS + 1)}, False),
        ({"metadata": {"": "x"}}, False),
        ({"metadata": pairs(1, value=requests.METADATA_VALUE_CHARACTERS)}, True),
        ({"metadata": pairs(1, value=requests.METADATA_VALUE_CHARACTERS + 1)}, False),
        ({"session_id": "s" * requests.SESSION_CHARACTERS}, True),
        ({"session_id": "s" * (requests.SESSION_CHARACTERS + 1)}, False),
        ({"session_id": ""}, False),
        ({"max_output_tokens": 1}, True),
        ({"max_output_tokens": 0}, False),
        ({"max_output_tokens": requests.MAX_OUTPUT_TOKENS}, True),
        ({"max_output_tokens": requests.MAX_OUTPUT_TOKENS + 1}, False),
        ({"timeout_s": requests.MAX_TIMEOUT_SECONDS}, True),
        ({"timeout_s": requests.MAX_TIMEOUT_SECONDS + 1}, False),
        ({"max_cost_usd": requests.MAX_COST_USD}, True),
        ({"max_cost_usd": requests.MAX_COST_USD + 0.01}, False),
        ({"model": "sim-".ljust(requests.NAME_CHARACTERS, "m")}, True),
        ({"model": "sim-".ljust(requests.NAME_CHARACTERS + 1, "m")}, False),
        ({"webhook_url": "https://example.com/".ljust(URL_CHARACTERS, "x")}, True),
        ({"webhook_url": "https://example.com/".ljust(URL_CHARACTERS + 1, "x")}, False),
        ({"user_id": "u" * requests.USER_ID_CHARACTERS}, True),
        ({"user_id": "u" * (requests.USER_ID_CHARACTERS + 1)}, False),
    ],
)
def test_a_field_at_its_limit_fits_and_one_over_does_not(steady: Api, body: dict[str, Any], fits: bool) -> None:
    answer = steady.submit("service" if "user_id" in body else "load", **body)
    assert answer.status_code == (202 if fits else 413 if "message" in body else 422), answer.text[:300]
    if not fits:
        assert answer.json()["error"]["param"].split(".")[0] == next(iter(body))


@pytest.mark.parametrize(
    "model",
    [
        "@cf/meta/llama-3.1-8b-instruct",
        "claude-haiku-4-5@20251001",
        "qwen3-8b@q4_k_m",
        "command-r+",
        "ft:gpt-4o:org::x",
    ],
)
def test_a_model_has_the_name_that_its_provider_gives_it(
    steady: Api, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    """Cloudflare, Vertex and LM Studio write an ``@``, Cohere a plus."""
    monkeypatch.setenv("ALLOW_UNPRICED_MODELS", "true")
    settings.cache_clear()
    made = steady.submit("load", model=model)
    settings.cache_clear()
    assert made.status_code == 202, made.text
    assert store.get(made.json()["task_id"]).model == model


def test_a_tier_may_allow_less(steady: Api) -> None:
    assert steady.submit("free", message="a" * 32_768).status_code == 202
    refused = steady.submit("free", message="a" * 32_769)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "message_too_large")


@pytest.mark.parametrize(("who", "most"), [("load", requests.CONVERSATION_BYTES), ("brief", 40_000)])
@pytest.mark.parametrize("shape", ["a text", "a list", "a chat's list"])
def test_a_conversation_that_a_client_sends_anew_may_be_longer_than_a_message(
    steady: Api, monkeypatch: pytest.MonkeyPatch, who: str, most: int, shape: str
) -> None:
    monkeypatch.setattr(runs, "life", lambda _: 0.0)  # nobody answers a chat here
    steady.keys["brief"] = keys.create_key("brief", "standard", limits={"message_bytes": 10_000})

    def ask(size: int) -> Any:
        said = "é" + "x" * (size - len(dumps([{"role": "user", "content": "é"}]).encode()))
        message = {"role": "user", "content": said}
        path = "/v1/chat/completions" if shape == "a chat's list" else "/v1/responses"
        asked = {"messages": [message]} if path.startswith("/v1/chat") else {"input": said, "background": True}
        if shape == "a list":
            asked["input"] = [message]
        return steady.post(path, who, model="gpt-4o-mini", **asked), said

    taken, said = ask(most)
    assert taken.status_code == (504 if shape == "a chat's list" else 200), taken.text[:300]
    kept = store.message_of(store.get(taken.headers["x-sluice-task-id"]))
    assert json.loads(kept) == [{"role": "user", "content": said}]
    refused, _ = ask(most + 1)
    assert (refused.status_code, str(most) in refused.text) == (400, True), refused.text[:300]


def test_an_escaped_message_of_the_full_size_fits_into_the_body_limit(steady: Api) -> None:
    body = b'{"message": "' + b"\\u0001" * requests.MESSAGE_BYTES + b'"}'
    answer = steady.client.post(
        "/agent", content=body, headers=steady.head("load") | {"Content-Type": "application/json"}
    )
    assert answer.status_code == 202


@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (255, True), (256, False)])
def test_an_idempotency_key_has_1_to_255_characters(steady: Api, length: int, fits: bool) -> None:
    answer = steady.submit("load", headers={"Idempotency-Key": "k" * length})
    assert answer.status_code == (202 if fits else 422)
    if not fits:
        assert answer.json()["error"]["param"] == "Idempotency-Key"
