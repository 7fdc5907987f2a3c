"""A model that nobody priced runs only where its operator allows it: no ceiling could hold for it."""

from __future__ import annotations

import pytest

from shared.limits import models, prices
from shared.settings import settings
from tests.unit.api.conftest import Api


def _forget() -> None:
    settings.cache_clear()
    models.forget()


def test_a_model_without_a_price_is_refused(api: Api) -> None:
    answer = api.submit(model="somebody-elses-model")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unpriced_model")
    assert answer.json()["error"]["param"] == "model"
    answer = api.post("/v1/responses", model="somebody-elses-model", input="hi", background=True)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unpriced_model"
    assert api.get("/agent").json()["tasks"] == []


def test_a_dear_snapshot_is_reserved_at_its_own_price(api: Api) -> None:
    answer = api.submit(model="o1-pro-2025-03-19", max_output_tokens=100_000)  # 60 USD
    assert (answer.status_code, answer.json()["error"]["limit"]) == (402, "usd_per_day")


@pytest.mark.parametrize("name", ["openai/gpt-4o-mini", "models/gemini-2.5-flash", "azure/gpt-4.1"])
def test_names_of_gateways_are_known(api: Api, name: str) -> None:
    assert api.submit(model=name).status_code == 202
    assert api.get(f"/v1/models/{name}").json()["id"] == name


def test_the_operators_price_lets_a_model_in(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICES", '{"llama3*": 0, "house-model": [1, 2]}')
    _forget()
    try:
        assert api.submit(model="llama3.1:8b").status_code == 202
        assert api.submit(model="house-model").status_code == 202
        assert "house-model" in {one["id"] for one in api.get("/v1/models").json()["data"]}
        assert api.submit(model="other").status_code == 422
    finally:
        monkeypatch.undo()
        _forget()


def test_where_unpriced_models_are_allowed_they_cost_what_the_default_one_does(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOW_UNPRICED_MODELS", "true")
    _forget()
    try:
        assert api.submit(model="somebody-elses-model").status_code == 202
        assert prices.worst_case("somebody-elses-model", 100, 100) == prices.worst_case("gpt-4o-mini", 100, 100)
    finally:
        monkeypatch.undo()
        _forget()
