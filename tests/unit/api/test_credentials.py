"""A key of one's own: put, seen by its last four characters only, forgotten, erased."""

from __future__ import annotations

from typing import Any

import pytest

from shared import credentials, seal, secrets
from shared.settings import settings
from shared.tasks import table
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
