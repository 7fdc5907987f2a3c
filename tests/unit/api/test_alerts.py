"""An address for budgets' alerts: put, seen, taken back, erased; never a private one."""

from __future__ import annotations

from typing import Any

import pytest

from shared.alerts import targets
from shared.limits.keys import key_id
from shared.netguard import URL_CHARACTERS
from shared.settings import settings
from tests.unit.api.conftest import Api

PATH = "/me/alerts"
URL = "https://example.com/budget"


@pytest.fixture(autouse=True)
def _sending(monkeypatch: pytest.MonkeyPatch, api: Api) -> None:
    assert api
    monkeypatch.setenv("QUEUE_URL_WEBHOOK", "https://sqs.us-east-1.amazonaws.com/1/webhook")
    monkeypatch.setenv("WEBHOOK_SECRET", "deployment secret")
    settings.cache_clear()


def put(api: Api, who: str = "demo", *, user_id: str = "", **body: Any) -> Any:
    path = PATH + (f"?user_id={user_id}" if user_id else "")
    return api.client.put(path, json={"webhook_url": URL} | body, headers=api.head(who))


def test_an_address_is_put_seen_replaced_and_taken_back(api: Api) -> None:
    assert api.get(PATH).json() == {"alerts": None}
    answer = put(api)
    assert answer.status_code == 200, answer.text
    assert api.get(PATH).json() == answer.json()
    assert answer.json()["alerts"]["webhook_url"] == URL
    put(api, webhook_url=URL + "/2")
    assert api.get(PATH).json()["alerts"]["webhook_url"] == URL + "/2"
    for _ in range(2):
        assert api.delete(PATH).json() == {"alerts": None}
    assert api.get(PATH).json() == {"alerts": None}
    assert targets.of("demo") is None


def test_what_is_sent_is_signed_as_the_keys_webhooks_are(api: Api) -> None:
    put(api)
    found = targets.own("demo")
    assert found is not None
    assert found.key_id == key_id(api.head("demo")["Authorization"].split()[1])


def test_each_caller_has_their_own(api: Api) -> None:
    assert put(api).status_code == 200
    assert put(api, "service", user_id="u1", webhook_url=URL + "/u1").status_code == 200
    assert api.get(PATH, "other").json() == {"alerts": None}
    assert api.get(PATH, "service").json() == {"alerts": None}
    assert api.get(PATH, "service", user_id="u1").json()["alerts"]["webhook_url"] == URL + "/u1"
    assert put(api, "demo", user_id="other").status_code == 403
    assert api.client.put(PATH, json={"webhook_url": URL}).status_code == 401


def test_erasing_ones_data_erases_the_address(api: Api) -> None:
    put(api)
    assert api.delete("/me/data").status_code == 200
    assert api.get(PATH).json() == {"alerts": None}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"webhook_url": "http://example.com/x"}, "webhook_url"),
        ({"webhook_url": "https://127.0.0.1/x"}, "webhook_url"),
        ({"webhook_url": "https://169.254.169.254/"}, "webhook_url"),
        ({"webhook_url": "https://user:secret@example.com/"}, "webhook_url"),
        ({"webhook_url": "https://localhost/"}, "webhook_url"),
        ({"webhook_url": URL + "/" + "x" * URL_CHARACTERS}, "webhook_url"),
        ({"webhook_url": ""}, "webhook_url"),
        ({"webhook_url": None}, "webhook_url"),
        ({"color": "red"}, "color"),
    ],
)
def test_what_can_be_no_address_is_named_and_changes_nothing(api: Api, body: dict[str, Any], param: str) -> None:
    put(api)
    answer = put(api, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)
    assert api.get(PATH).json()["alerts"]["webhook_url"] == URL


def test_a_deployment_that_sends_no_webhooks_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "")
    settings.cache_clear()
    answer = put(api)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "webhooks_off")
