"""Whichever call of AWS fails while a webhook is delivered, and however: it arrives, under one id, and none is lost."""

import pytest

from functions.webhook import deliver
from localstack.receiver import Receiver
from sluice.testing.account import pass_time
from tests.examples import THOROUGH
from tests.unit.webhook.conftest import Hooks
from tests.unit.worker.test_any_call_fails import FAULTS, Line


def test_it_arrives_under_one_id(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver, "EARLY_SECONDS", 1e9)  # what is put off is due at once
    line = Line(monkeypatch)

    def delivered(status: int) -> tuple[set[str], list[str]]:
        """End a task, whose receiver first answers so, and take what comes until nothing does.

        Returns the ids of what arrived, none where the receiver took nothing, and the calls of the first try.
        """
        with Receiver(answer=status) as receiver:
            hooks.ended(receiver.url)
            records = hooks.take()
            line.calls.clear()
            line.on = True
            kept = hooks.run(*records)
            line.on, line.at = False, None
            calls, before, receiver.answer = list(line.calls), len(receiver.deliveries), 204
            if kept:
                hooks.run(*records)  # it comes back
            for _ in range(3):
                pass_time(1e6)
                if records := hooks.take():
                    hooks.run(*records)
            arrived = [delivery.id for delivery in receiver.deliveries]
            taken = arrived if status == 204 else arrived[before:]
            return set(arrived) if taken else set(), calls

    wrong: dict[str, set[str]] = {}
    for status in (204, 500):
        _, calls = delivered(status)
        for number, (name, fault) in enumerate(FAULTS.items()):
            for n, operation in enumerate(calls):
                if not THOROUGH and (n + number) % 3:
                    continue
                line.at, line.fault = n, fault
                ids, _ = delivered(status)
                if len(ids) != 1:
                    wrong[f"{status}, {name}: {operation} ({n})"] = ids
    assert wrong == {}
