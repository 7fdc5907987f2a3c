"""Signatures are those of Standard Webhooks, checked by code that shares nothing with ours."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstack.receiver import Receiver
from shared import secrets, webhooks
from shared.errors import SettingError
from shared.settings import settings
from tests.unit.webhook.conftest import Hooks


class _Spy(Receiver):
    def __init__(self) -> None:
        super().__init__(lambda: [webhooks.secret_for("k1")])
        self.raw: list[tuple[dict[str, str], bytes]] = []

    def take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        self.raw.append((headers, body))
        return super().take(path, headers, body)


def test_a_delivery_is_signed_as_the_standard_says(hooks: Hooks) -> None:
    with _Spy() as receiver:
        task = hooks.ended(receiver.url)
        assert hooks.run() == []
        (delivery,) = receiver.wait_for(1, timeout_s=60)
    assert delivery.valid
    headers, body = receiver.raw[0]
    key = base64.b64decode(webhooks.secret_for("k1")[len("whsec_") :])
    signed = headers["webhook-id"].encode() + b"." + headers["webhook-timestamp"].encode() + b"." + body
    digest = hmac.digest(key, signed, hashlib.sha256)
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert headers["webhook-id"] == f"msg_{task.task_id}_complete"
    assert headers["content-type"] == "application/json"
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 60


def test_the_code_of_the_documentation_verifies_a_delivery(hooks: Hooks) -> None:
    page = (Path(__file__).parents[3] / "docs/webhooks.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, "docs/webhooks.md", "exec"), names)
    with _Spy() as receiver:
        hooks.ended(receiver.url)
        hooks.run()
    headers, body = receiver.raw[0]
    assert names["verified"](webhooks.secret_for("k1"), headers, body) == json.loads(body)
    assert not names["verified"](webhooks.secret_for("k2"), headers, body)
    assert not names["verified"](webhooks.secret_for("k1"), headers, body + b" ")
    assert not names["verified"](webhooks.secret_for("k1"), headers | {"webhook-timestamp": "1"}, body)
    assert not names["verified"](webhooks.secret_for("k1"), headers | {"webhook-signature": "nonsense"}, body)


def test_the_example_of_the_standard() -> None:
    # https://github.com/standard-webhooks/standard-webhooks, the test vector of its libraries
    signature = webhooks.sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def _signed(body: bytes, secret: str, at: int) -> dict[str, str]:
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(at),
        "Webhook-Signature": webhooks.sign(secret, "msg_1", at, body),
    }


SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()


@given(st.binary(max_size=200), st.integers(0, 2**40))
def test_what_is_signed_verifies_and_nothing_else(body: bytes, at: int) -> None:
    headers = _signed(body, SECRET, at)
    assert webhooks.verify(SECRET, headers, body, at=at)
    assert not webhooks.verify(OTHER, headers, body, at=at)
    assert not webhooks.verify(SECRET, headers, body + b" ", at=at)
    assert not webhooks.verify(SECRET, headers | {"Webhook-Id": "msg_2"}, body, at=at)
    assert not webhooks.verify(SECRET, headers | {"Webhook-Timestamp": str(at + 1)}, body, at=at)


def test_an_old_or_early_delivery_is_not_taken() -> None:
    headers = _signed(b"x", SECRET, 10_000)
    for at, taken in ((10_300, True), (10_301, False), (9_700, True), (9_699, False)):
        assert webhooks.verify(SECRET, headers, b"x", at=at) is taken
    assert webhooks.verify(SECRET, headers, b"x", 5, at=10_005)
    assert not webhooks.verify(SECRET, headers, b"x", 5, at=10_006)


def test_one_of_several_signatures_is_enough() -> None:
    headers = _signed(b"x", SECRET, 100)
    headers["Webhook-Signature"] = f"v1,{'A' * 43}= v2,é {headers['Webhook-Signature']}"
    assert webhooks.verify(SECRET, headers, b"x", at=100)


def test_while_a_secret_is_changed_a_delivery_verifies_by_the_old_and_the_new(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_force(text: str) -> list[str]:
        monkeypatch.setenv("WEBHOOK_SECRET", text)
        settings.cache_clear()
        return webhooks.secrets_for("k1")

    (old,), (new,) = in_force("old"), in_force("new")
    both = in_force("new , old\n")
    assert both == [new, old]
    assert webhooks.secret_for("k1") == new
    headers = {"webhook-id": "m", "webhook-timestamp": "100"}
    headers["webhook-signature"] = webhooks.signatures(both, "m", 100, b"x")
    assert [webhooks.verify(one, headers, b"x", at=100) for one in (old, new, OTHER)] == [True, True, False]
    assert len(in_force("a,b,c,d")) == secrets.MOST_WEBHOOK_SECRETS
    with pytest.raises(SettingError, match="5 secrets"):
        in_force("a,b,c,d,e")


@pytest.mark.parametrize("missing", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_a_header_that_is_missing(missing: str) -> None:
    headers = _signed(b"x", SECRET, 100)
    assert not webhooks.verify(SECRET, {n: v for n, v in headers.items() if n != missing}, b"x", at=100)


def test_each_key_has_a_secret_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "a")
    settings.cache_clear()
    one, two = webhooks.secret_for("k1"), webhooks.secret_for("k2")
    assert len({one, two, webhooks.secret_for("k1")}) == 2
    assert len(base64.b64decode(one.removeprefix("whsec_"))) == 32
    monkeypatch.setenv("WEBHOOK_SECRET", "b")
    settings.cache_clear()
    assert webhooks.secret_for("k1") not in (one, two)
    monkeypatch.delenv("WEBHOOK_SECRET")
    settings.cache_clear()
    assert webhooks.secret_for("k1") == ""
    with pytest.raises(ValueError, match="whsec_"):
        webhooks.sign("whsec_!", "m", 1, b"")
