"""A dead letter that is put back is the same run once more: what was asked, and what bounds it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from functions.dead_letter.handler import handler as bury_all
from shared.clock import day
from shared.tasks import claims, redrive, settle, store
from shared.tasks.model import Status, Task

ASKED: dict[str, Any] = {
    "user": "svc/ann", "lane": "high", "agent": "tools", "model": "m", "tier": "service", "session_id": "s",
    "key_id": "k1", "params": {"max_output_tokens": 9, "metadata": {"a": "b"}},
}  # fmt: skip
BOUNDS = {name: n for n, name in enumerate(settle.CEILINGS, 1)}


@pytest.mark.usefixtures("fake_aws", "redis_settings")
@pytest.mark.parametrize("message", ["hello", "a long one " * 60_000])
def test_it_asks_for_the_same_within_the_same_ceilings(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = time.time()
    store.submit(Task(task_id="dead", created=at, day=day(at), **ASKED, **BOUNDS), message)
    with monkeypatch.context() as patch:  # a worker had it, and died
        patch.setattr(claims, "now", lambda: at - 600)
        assert isinstance(claims.claim("dead", 0), Task)
    bury_all({"Records": [{"messageId": "m", "body": '{"v":1,"task_id":"dead","gen":0}'}]}, None)
    old = store.get("dead")
    assert old.status is Status.FAILED
    ((was, now_id),) = list(redrive.redrive())
    new = store.get(now_id)
    assert (was, new.status, store.message_of(new)) == ("dead", Status.QUEUED, message)
    assert {name: getattr(new, name) for name in (*ASKED, *BOUNDS)} == {
        **ASKED,
        **BOUNDS,
        "params": ASKED["params"] | {"redriven_from": "dead"},
    }
    assert new.excerpt == old.excerpt
    assert list(redrive.redrive()) == []
