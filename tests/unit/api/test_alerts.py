"""An address for budgets' alerts: put, seen, taken back, erased; never a private one."""

from __future__ import annotations

from typing import Any

import pytest

from functions.webhook import record
from shared.alerts import model, recent, targets
from shared.clock import day, now
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
    nothing = {"alerts": None, "recent": []}
    assert api.get(PATH).json() == nothing
    answer = put(api)
    assert answer.status_code == 200, answer.text
    assert api.get(PATH).json() == answer.json() | {"recent": []}
    assert answer.json()["alerts"]["webhook_url"] == URL
    put(api, webhook_url=URL + "/2")
    assert api.get(PATH).json()["alerts"]["webhook_url"] == URL + "/2"
    for _ in range(2):
        assert api.delete(PATH).json() == {"alerts": None}
    assert api.get(PATH).json() == nothing
    assert targets.of("demo") is None


def test_what_is_sent_is_signed_as_the_keys_webhooks_are(api: Api) -> None:
    put(api)
    found = targets.own("demo")
    assert found is not None
    assert found.key_id == key_id(api.head("demo")["Authorization"].split()[1])


def test_each_caller_has_their_own(api: Api) -> None:
    assert put(api).status_code == 200
    assert put(api, "service", user_id="u1", webhook_url=URL + "/u1").status_code == 200
    assert api.get(PATH, "other").json()["alerts"] is None
    assert api.get(PATH, "service").json()["alerts"] is None
    assert api.get(PATH, "service", user_id="u1").json()["alerts"]["webhook_url"] == URL + "/u1"
    assert put(api, "demo", user_id="other").status_code == 403
    assert api.client.put(PATH, json={"webhook_url": URL}).status_code == 401


def test_erasing_ones_data_erases_the_address(api: Api) -> None:
    put(api)
    assert api.delete("/me/data").status_code == 200
    assert api.get(PATH).json()["alerts"] is None


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
        ({"thresholds": []}, "thresholds"),
        ({"thresholds": [50, 60]}, "thresholds.1"),
        ({"thresholds": [50, 80, 100, 50]}, "thresholds"),
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


def test_one_chooses_at_which_thresholds_to_be_told(api: Api) -> None:
    assert put(api).json()["alerts"]["thresholds"] == [50, 80, 100]
    assert put(api, thresholds=[100, 80]).json()["alerts"]["thresholds"] == [80, 100]
    found = targets.own("demo")
    assert found is not None
    assert found.thresholds == (80, 100)


def test_what_was_told_lately_is_shown_with_what_came_of_it(api: Api) -> None:
    today, long_ago = day(now()), day(now() - recent.DAYS * 86_400)
    for whose, at, unit, threshold, to in (
        ("demo", today, "tokens", 50, ("user",)),
        ("demo", today, "usd", 80, ("operator", "user")),
        ("demo", today, "usd", 50, ("operator",)),
        ("demo", long_ago, "usd", 50, ("user",)),
        ("other", today, "usd", 50, ("user",)),
        ("service/*", today, "usd", 100, ("user",)),
    ):
        model.put(
            model.Alert(whose, at, unit, threshold, 2_000_000, 1_600_000, now() + threshold + (unit == "usd"), to)
        )
    record.write(f"ALERT#demo#{today}#usd#80", record.Try("waiting", 3, 503, "no answer"), wait="user")
    told = api.get(PATH).json()["recent"]
    assert [(one["unit"], one["threshold"]) for one in told] == [("usd", 80), ("usd", 50), ("tokens", 50)]
    assert (told[0]["used"], told[0]["limit"], told[2]["used"]) == (1.6, 2.0, 1_600_000)
    assert told[0]["delivery"] | {"at": None} == {
        "status": "waiting", "attempts": 3, "last_status": 503, "last_error": "no answer", "at": None,
    }  # fmt: skip
    assert [one["delivery"] and one["delivery"]["status"] for one in told] == ["waiting", None, "pending"]
    (of_all,) = api.get(PATH, "service").json()["recent"]
    assert (of_all["scope"], of_all["threshold"]) == ("service", 100)
