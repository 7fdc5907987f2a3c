"""The rights of the managed Valkey's user, tried on a real server in cluster mode: enough for Sluice, no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import NoPermissionError

from deploy.stack import read_template
from localstack.environ import ROOT
from shared import live, valkey
from shared.limits.admission import Ask, Gate
from shared.limits.breaker import Breaker, Sign
from shared.limits.provider import ProviderBudget
from shared.limits.tiers import resolve
from tests.unit.valkey_fixture import start_server, stop_server

RIGHTS = read_template(ROOT / "template.yaml")["Resources"]["ValkeyUser"]["Properties"]["AccessString"]


@pytest.fixture(scope="module")
def sluice() -> Iterator[Any]:
    """A client of that user, on a server of its own."""
    server = start_server(cluster=True)
    admin = server.client(decode_responses=True)
    admin.execute_command("ACL", "SETUSER", "sluice", ">a password", *RIGHTS.split())
    client = valkey.connect(f"redis://sluice@{server.host}:{server.port}?cluster=true", password="a password")
    yield client
    client.disconnect_connection_pools()
    client.close()
    admin.close()
    stop_server(server)


def test_the_limits_scripts_may_run(sluice: Any) -> None:
    gate = Gate(lambda _user, _day: (0, 0), on=sluice)
    ask = Ask("ann", "task_1", "2026-11-25", 10, 10, resolve("standard"))
    assert gate.admit(ask).admitted
    gate.settle("ann", "task_1", "2026-11-25", 5, 5)
    breaker = Breaker(on=sluice)
    breaker.record(breaker.before_call("p/m", "ada"), Sign.FAILURE)
    assert [state.failures for state in breaker.states()] == [1, 1]  # for all, and the owner's own
    budget = ProviderBudget(on=sluice)
    assert budget.acquire("m", 10).taken


def test_plain_commands_of_watchers_and_counters_may_run(sluice: Any) -> None:
    assert sluice.ping()
    pipe = sluice.pipeline(transaction=False)
    pipe.hincrby("{sluice:refused}:1", "quota", 1)
    pipe.expire("{sluice:refused}:1", 60)
    assert pipe.execute() == [1, True]
    assert sluice.set("{sluice:scaler}:state", "{}", ex=60)


def test_live_listeners_may_be_told_and_hear(sluice: Any) -> None:
    ears = sluice.pubsub()
    ears.subscribe(live.channel("ear"))
    assert ears.get_message(timeout=60)["type"] == "subscribe"
    pipe = sluice.pipeline(transaction=False)
    pipe.execute_command("PUBLISH", live.channel("ear"), "told")
    pipe.execute()
    assert ears.get_message(timeout=60)["data"] == "told"
    ears.close()


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get("of-another"),
        lambda client: client.flushall(),
        lambda client: client.config_get("*"),
        lambda client: client.keys("*"),
        lambda client: client.publish("of-another", "x"),
    ],
    ids=["another's key", "flush", "config", "keys", "another's channel"],
)
def test_nothing_else_may(sluice: Any, ask: Any) -> None:
    with pytest.raises(NoPermissionError):
        ask(sluice)
