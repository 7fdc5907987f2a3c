"""One invocation's deliveries: those that may be made now begin before any other is put off."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from functions.webhook import desk
from functions.webhook.desk import Desk
from shared import webhooks


def body(owner: str, n: int) -> str:
    what: dict[str, Any] = {"v": webhooks.VERSION, "task_id": f"{owner}-{n}", "type": "task.complete", "owner": owner}
    return json.dumps(what | {"url": "https://example.com", "attempt": 1, "first": 0.0, "due": 0.0})


@pytest.mark.parametrize("fails", [False, True])
def test_who_is_above_its_share_is_put_off_when_the_others_are_under_way(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    from shared.errors import DependencyDown

    order: list[str] = []
    put_off, begun = threading.Event(), threading.Event()

    def send(what: dict[str, Any], **_: Any) -> None:
        assert begun.wait(60), "the other's delivery waited for this"
        order.append(f"put off {what['owner']}")
        put_off.set()
        if fails:
            raise DependencyDown("sqs")

    def see_to(message: str, text: str) -> bool:
        owner = json.loads(text)["owner"]
        order.append(owner)
        if owner == "hostile":
            put_off.wait(60)
        else:
            begun.set()
        return True

    monkeypatch.setattr(webhooks, "send", send)
    messages = {f"h{n}": body("hostile", n) for n in range(desk.CAPACITY + 5)}
    messages["other"] = body("other", 0)
    kept = Desk(see_to, until=0.0).run(messages)
    assert order.count("put off hostile") == 5
    assert order.count("hostile") == desk.CAPACITY
    assert kept == ([f"h{n}" for n in range(desk.CAPACITY, desk.CAPACITY + 5)] if fails else [])
