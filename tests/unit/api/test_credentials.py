"""A key of one's own: put, seen by its last four characters only, forgotten, erased."""

from __future__ import annotations

from typing import Any

import pytest

from shared import credentials, seal, secrets
from shared.clock import day, now
from shared.limits.keys import create_key
from shared.settings import settings
from shared.tasks import spend, store, table
from tests.unit.api.conftest import Api

KEY = "sk-my-own-key-9876"
PATH = "/me/credentials"


@pytest.fixture(autouse=True)
def _forget() -> None:
    credentials.forget()


def put(api: Api, who: str = "demo", *, user_id: str = "", **body: Any) -> Any:
    path = PATH + (f"?user_id={user_id}" if user_id else "")
    return api.client.put(path, json={"api_key": KEY} | body, headers=api.head(who))


def test_a_key_is_never_shown(api: Api) -> None:
    assert api.get(PATH).json() == {"credentials": None}
    answer = put(api, base_url="https://llm.example.com/v1")
    assert answer.status_code == 200, answer.text
    seen = api.get(PATH)
    assert seen.json()["credentials"] == answer.json()["credentials"]
    assert {name: seen.json()["credentials"][name] for name in ("last4", "base_url")} == {
        "last4": "9876",
        "base_url": "https://llm.example.com/v1",
    }
    assert KEY not in answer.text + seen.text
    row = table.get({"pk": {"S": "CREDENTIALS#demo"}, "sk": {"S": "CREDENTIALS"}})
    assert row is not None
    assert KEY not in str(row)
    found = credentials.of_user("demo")
    assert found is not None
    assert found.api_key == KEY


def test_each_caller_has_their_own(api: Api) -> None:
    assert put(api).status_code == 200
    assert put(api, "service", user_id="u1", api_key="sk-of-u1-0001").status_code == 200
    assert api.get(PATH, "other").json() == {"credentials": None}
    assert api.get(PATH, "service").json() == {"credentials": None}
    assert api.get(PATH, "service", user_id="u1").json()["credentials"]["last4"] == "0001"
    assert put(api, "demo", user_id="other").status_code == 403
    assert api.client.put(PATH, json={"api_key": KEY}).status_code == 401


def test_a_new_key_takes_the_place_of_the_old_and_a_forgotten_one_is_gone(api: Api) -> None:
    put(api)
    put(api, api_key="sk-another-1111")
    assert api.get(PATH).json()["credentials"]["last4"] == "1111"
    for _ in range(2):
        assert api.delete(PATH).json() == {"credentials": None}
    assert api.get(PATH).json() == {"credentials": None}
    assert credentials.of_user("demo") is None


def test_erasing_ones_data_erases_the_key(api: Api) -> None:
    put(api)
    assert api.delete("/me/data").status_code == 200
    assert api.get(PATH).json() == {"credentials": None}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"api_key": "short"}, "api_key"),
        ({"api_key": "x" * (credentials.KEY_CHARACTERS + 1)}, "api_key"),
        ({"api_key": "with a space in it"}, "api_key"),
        ({"api_key": None}, "api_key"),
        ({"base_url": "http://llm.example.com/v1"}, "base_url"),
        ({"base_url": "https://127.0.0.1/v1"}, "base_url"),
        ({"base_url": "https://169.254.169.254/"}, "base_url"),
        ({"base_url": "https://user:secret@llm.example.com/"}, "base_url"),
        ({"base_url": "https://localhost/v1"}, "base_url"),
        ({"color": "red"}, "color"),
    ],
)
def test_what_cannot_be_a_key_or_an_address_is_named(api: Api, body: dict[str, Any], param: str) -> None:
    answer = put(api, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)
    assert api.get(PATH).json() == {"credentials": None}


def test_keys_of_the_shortest_and_longest_length_are_taken(api: Api) -> None:
    for size in (credentials.LEAST_CHARACTERS, credentials.KEY_CHARACTERS):
        assert put(api, api_key="k" * size).status_code == 200


def test_without_a_secret_nothing_is_stored(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "")
    settings.cache_clear()
    answer = put(api)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "no_secret")


def test_a_sealed_key_opens_for_its_owner_only_and_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "new,old")
    settings.cache_clear()
    secrets.forget()
    text = "sk-" + "k" * 200
    sealed = seal.seal(text, "ann")
    assert seal.unseal(sealed, "ann") == text
    assert seal.seal(text, "ann") != sealed
    for wrong in (
        sealed[:-4] + "AAAA",
        "AAAA" + sealed[4:],
        sealed[:40],
        "",
        "é",
        sealed[:60] + "A" + sealed[61:] + "=",
    ):
        with pytest.raises(seal.Unreadable):
            seal.unseal(wrong, "ann")
    with pytest.raises(seal.Unreadable):
        seal.unseal(sealed, "bob")
    settings.cache_clear()
    monkeypatch.setenv("WEBHOOK_SECRET", "newest,new")
    assert seal.unseal(sealed, "ann") == text
    settings.cache_clear()
    monkeypatch.setenv("WEBHOOK_SECRET", "other")
    with pytest.raises(seal.Unreadable):
        seal.unseal(sealed, "ann")
    settings.cache_clear()


PRICE = {"gpt-4o": {"input": 2.5, "output": 10, "cached": 1.25}, "*": {"input": 0, "output": 10_000}}


def test_a_price_and_a_rate_are_kept_shown_and_taken_back_with_the_next_key(api: Api) -> None:
    answer = put(api, prices=PRICE, requests_per_minute=60)
    assert answer.status_code == 200, answer.text
    shown = api.get(PATH).json()["credentials"]
    assert (shown["prices"], shown["requests_per_minute"]) == (PRICE, 60)
    found = credentials.of_user("demo")
    assert found is not None
    assert found.price("gpt-4o")[:2] == (2_500_000, 10_000_000)
    assert found.price("another").output == 10_000_000_000
    put(api)
    shown = api.get(PATH).json()["credentials"]
    assert (shown["prices"], shown["requests_per_minute"]) == (None, None)
    credentials.forget()
    plain = credentials.of_user("demo")
    assert plain is not None
    assert plain.price("gpt-4o")[:2] == (0, 0)


@pytest.mark.parametrize(
    ("terms", "status"),
    [
        ({"requests_per_minute": 1}, 200),
        ({"requests_per_minute": credentials.MOST_RPM}, 200),
        ({"requests_per_minute": 0}, 422),
        ({"requests_per_minute": credentials.MOST_RPM + 1}, 422),
        ({"requests_per_minute": 1.5}, 422),
        ({"prices": {"*": {"input": 0, "output": credentials.MOST_USD}}}, 200),
        ({"prices": {"*": {"input": -0.01, "output": 1}}}, 422),
        ({"prices": {"*": {"input": 1, "output": credentials.MOST_USD + 0.01}}}, 422),
        ({"prices": {"*": {"input": 1}}}, 422),
        ({"prices": {"*": {"input": "1", "output": 1}}}, 422),
        ({"prices": {"own key: x": {"input": 1, "output": 1}}}, 422),
        ({"prices": {f"m{n}": {"input": 1, "output": 1} for n in range(credentials.PRICES)}}, 200),
        ({"prices": {f"m{n}": {"input": 1, "output": 1} for n in range(credentials.PRICES + 1)}}, 422),
    ],
)
def test_a_price_or_rate_that_cannot_be_is_named_and_changes_nothing(
    api: Api, terms: dict[str, Any], status: int
) -> None:
    put(api, api_key="sk-the-old-key-0000")
    answer = put(api, **terms)
    assert answer.status_code == status, answer.text
    if status == 422:
        assert answer.json()["error"]["param"].startswith(next(iter(terms)))
        assert api.get(PATH).json()["credentials"]["last4"] == "0000"


def test_who_has_spent_their_money_may_still_run_with_their_own_key(api: Api) -> None:
    body = {"message": "hello"}
    today = day(now())
    limits = {"usd_per_day": 0.001}
    key = create_key("broke", "standard", "tests", limits=limits)
    head = {"Authorization": f"Bearer {key}"}
    refused = api.client.post("/agent", json=body | {"max_output_tokens": 100_000}, headers=head)
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "insufficient_quota")
    answer = api.client.put(PATH, json={"api_key": KEY}, headers=head)
    assert answer.status_code == 200, answer.text
    taken = api.client.post("/agent", json=body | {"max_output_tokens": 100_000}, headers=head)
    assert taken.status_code == 202, taken.text
    assert spend.load("broke", today) == (0, 0)
    assert store.get(taken.json()["task_id"]).reserved_micro_usd == 0
