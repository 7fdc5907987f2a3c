"""Runs that spend, the queue that their alerts go to, and two receivers: the operator's and a user's."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from localstack.receiver import Receiver
from shared import valkey, webhooks
from shared.alerts import noticing
from shared.clock import day
from shared.limits import tiers
from shared.limits.admission import Ask, Gate
from shared.settings import settings
from shared.tasks import aftermath, claims, days, settle, spend, store
from shared.tasks.model import Status, Task, Usage
from tests.unit.webhook.conftest import Hooks, hooks

__all__ = ["Budgets", "budgets", "hooks"]


class Budgets:
    """A gate, and users who spend."""

    def __init__(self, hooks: Hooks, operator: Receiver, user: Receiver) -> None:
        self.hooks, self.operator, self.user = hooks, operator, user
        self.gate = Gate(load_spend=spend.load)
        self._n = itertools.count()

    def ended(self, tokens: int, user: str = "ann", *, micro_usd: int = 0, **caps: int) -> Task:
        """Admit a run, have it use so much, and write its end: its worker dies before it does anything more."""
        caps = caps or {"cap_tokens": 1_000}
        at, n = time.time(), next(self._n)
        of = {"cap_tokens": "tokens_per_day", "cap_micro_usd": "micro_usd_per_day"}
        of |= {"cap_key_tokens": "key_tokens_per_day", "cap_key_micro_usd": "key_micro_usd_per_day"}
        values: dict[str, Any] = {of[name]: value for name, value in caps.items()}
        limits = tiers.replace(tiers.resolve("load"), **values)
        ask = Ask(user=user, task_id=f"task_{at:.6f}_{n}", day=day(at), limits=limits, tokens=1, micro_usd=0)
        assert self.gate.admit(ask).admitted
        task = Task(
            task_id=ask.task_id, user=user, lane="normal", agent="chat", model="m", created=at, day=ask.day,
            tier="load", key_id="k1", **caps,
        )  # fmt: skip
        store.submit(task, "hello")
        held = claims.claim(task.task_id, 0)
        assert isinstance(held, Task)
        days.count(held, Usage(input_tokens=tokens, output_tokens=0, micro_usd=micro_usd))
        settle.settle(held, settle.Outcome(status=Status.COMPLETE, response="x"), message="hello")
        return held

    def spend(self, tokens: int, user: str = "ann", **more: int) -> Task:
        """Do the same, with what follows an end."""
        held = self.ended(tokens, user, **more)
        aftermath.finished(self.gate, held)
        return held

    def deliver(self) -> None:
        """Run the webhook function on all that is there."""
        while records := self.hooks.take():
            assert self.hooks.run(*records) == []

    def told(self, receiver: Receiver | None = None) -> list[tuple[str, int]]:
        """Deliver; returns (unit, threshold) of what the operator, or another, was told, all rightly signed."""
        self.deliver()
        found = (receiver or self.operator).deliveries
        assert all(one.valid and one.type == "budget.threshold" for one in found)
        return sorted((one.body["data"]["unit"], one.body["data"]["threshold"]) for one in found)


@pytest.fixture
def budgets(hooks: Hooks, redis_settings: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Budgets]:
    assert redis_settings
    valkey.client().flushall()
    noticing._raised.clear()
    of_operator, of_user = (lambda: [webhooks.secret_for(webhooks.OPERATOR)]), (lambda: [webhooks.secret_for("k7")])
    with Receiver(of_operator) as operator, Receiver(of_user) as user:
        monkeypatch.setenv("ALERT_WEBHOOK_URL", operator.url)
        settings.cache_clear()
        yield Budgets(hooks, operator, user)
    noticing._raised.clear()
