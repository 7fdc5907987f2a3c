"""API keys in DynamoDB."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from shared import aws
from shared.errors import Conflict, DependencyDown, NotFound, SettingError
from shared.limits import keys
from tests.unit.tables import TABLE
from tests.unit.tables import client as aws_client


@pytest.fixture(autouse=True)
def _table(fake_aws: dict[str, str]) -> Iterator[None]:
    keys.forget()
    yield
    keys.forget()


def everything() -> str:
    return json.dumps(aws_client("dynamodb").scan(TableName=TABLE)["Items"])


def test_a_key_is_found_and_never_stored() -> None:
    key = keys.create_key("ada", "vip", "laptop", limits={"requests": 7})
    assert key.startswith("sk-sluice-")
    assert len(key) == 53
    found = keys.lookup(key)
    assert found is not None
    assert (found.user, found.tier, found.limits.requests, found.limits.lane) == ("ada", "vip", 7, "high")
    assert key not in everything()
    assert key[len("sk-sluice-") + 8 :] not in everything()
    assert hashlib.sha256(key.encode()).hexdigest() in everything()


@pytest.mark.parametrize(
    "key", ["", "sk-sluice-", "sk-other-" + "a" * 43, "sk-sluice-" + "a" * 42, "sk-sluice-" + "a" * 43 + "\n"]
)
def test_malformed_keys_are_refused_without_a_read(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    aws.reset()
    assert keys.lookup(key) is None


def test_unknown_key() -> None:
    assert keys.lookup("sk-sluice-" + "a" * 43) is None


def test_a_key_made_after_it_was_tried_works_at_once() -> None:
    key = "sk-sluice-" + "b" * 43
    assert keys.lookup(key) is None
    assert keys.create_key("ada", "free", key=key) == key
    assert keys.lookup(key) is not None


@pytest.mark.parametrize("by", ["key", "prefix", "id", "hash"])
def test_a_revoked_key_is_refused(by: str) -> None:
    key, other = keys.create_key("ada", "free"), keys.create_key("ada", "free")
    found = keys.lookup(key)
    assert found is not None
    digest = hashlib.sha256(key.encode()).hexdigest()
    names = {"key": key, "prefix": key[:18], "id": found.key_id, "hash": digest}
    assert keys.revoke(names[by]).user == "ada"
    assert keys.lookup(key) is None
    assert keys.lookup(other) is not None
    assert sorted(info.revoked for info in keys.list_keys()) == [False, True]


@pytest.mark.parametrize("which", ["", "sk-sluice-", "f" * 64, "0"])
def test_revoking_needs_exactly_one_key(which: str) -> None:
    keys.create_key("ada", "free")
    with pytest.raises(NotFound):
        keys.revoke(which)


def test_rotation_keeps_who_and_what() -> None:
    old = keys.create_key("ada", "free", "phone", limits={"queued": 3})
    new = keys.rotate(old)
    found = keys.lookup(new)
    assert found is not None
    assert (found.user, found.tier, found.limits.queued) == ("ada", "free", 3)
    assert keys.lookup(old) is not None
    assert {info.name for info in keys.list_keys()} == {"phone"}


def test_refused_keys() -> None:
    with pytest.raises(SettingError, match="tier must be"):
        keys.create_key("ada", "gold")
    with pytest.raises(SettingError, match="no field"):
        keys.create_key("ada", "free", limits={"speed": 1})
    with pytest.raises(SettingError, match="43"):
        keys.create_key("ada", "free", key="secret")
    with pytest.raises(SettingError, match="user"):
        keys.create_key("*", "free")
    key = keys.create_key("ada", "free")
    with pytest.raises(Conflict):
        keys.create_key("eve", "vip", key=key)
    assert [info.user for info in keys.list_keys()] == ["ada"]


@pytest.mark.parametrize("user", ["", "*", "KEYS", "a/b", "a#b", "{a", "a}", "a b", " a", "a\n", "a\u2003b"])
def test_users_whose_names_mean_something_else_get_no_key(user: str) -> None:
    with pytest.raises(SettingError, match=r"reserved|white space") as refused:
        keys.create_key(user, "free")
    assert refused.value.param == "user"
    assert keys.list_keys() == []


@pytest.mark.parametrize("user", ["keys", "KEYS2", "ann@example.com", "a|b", "a:b", "a-b_c.d+e", "**", "ü", "a" * 200])
def test_other_users_get_one(user: str) -> None:
    found = keys.lookup(keys.create_key(user, "free"))
    assert found is not None
    assert found.user == user


def test_dynamodb_away_known_keys_still_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    known, fresh = keys.create_key("ada", "free"), keys.create_key("bob", "free")
    assert keys.lookup(known) is not None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    aws.reset()
    assert keys.lookup(known) is not None
    with pytest.raises(DependencyDown) as away:
        keys.lookup(fresh)
    assert away.value.dependency == "dynamodb"


def test_memory_is_bounded_and_ages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys._cache, "most", 2)
    made = [keys.create_key(f"u{n}", "free") for n in range(3)]
    for key in made:
        assert keys.lookup(key) is not None
    assert len(keys._cache) == 2
    monkeypatch.setattr(keys._cache, "seconds", -1.0)
    keys.forget()
    assert keys.lookup(made[0]) is not None
    digest = hashlib.sha256(made[0].encode()).hexdigest()
    aws_client("dynamodb").delete_item(TableName=TABLE, Key={"pk": {"S": f"KEY#{digest}"}, "sk": {"S": "KEY"}})
    assert keys.lookup(made[0]) is None  # its time was over, so it was read again
