"""Ingress, the global queue and a service's key, shared among owners."""

from __future__ import annotations

from typing import Any

import pytest

from shared.limits import names
from shared.limits.tiers import Limits, resolve
from tests.unit.limits.helpers import DAY, Clock, Ledger, ask, gate, limits

FREE = limits()


def test_a_service_with_invented_users_leaves_ingress_to_others(any_valkey: Any) -> None:
    """Two submits a second are let in; a service asks for ten, each for a new user, another owner once a second."""
    clock = Clock()
    g = gate(any_valkey, clock, ingress_rate=2.0, ingress_burst=20)
    refused: list[int] = []
    n = 0
    for second in range(60):
        for _ in range(10):
            n += 1
            g.admit(ask(f"s{n}", FREE, user=f"svc/invented-{n}"))
            clock.forward(0.1)
        if second >= 20 and not g.admit(ask(f"o{second}", FREE, user="other")).admitted:
            refused.append(second)
    assert refused in ([], [20])  # once at most: it was not known before that there is another


def test_whoever_was_refused_below_its_share_is_let_in_when_told(any_valkey: Any) -> None:
    clock = Clock()
    g = gate(any_valkey, clock, ingress_rate=0.5, ingress_burst=1)
    assert g.admit(ask("1", FREE, user="svc/a")).admitted
    told = g.admit(ask("2", FREE, user="other"))
    assert (told.limit, told.retry_after_s) == ("ingress", 2.0)
    clock.forward(2.0)
    assert not g.admit(ask("3", FREE, user="svc/b")).admitted  # at the same moment, a little earlier
    assert g.admit(ask("2", FREE, user="other")).admitted


def test_an_owner_alone_has_the_whole_bucket(any_valkey: Any) -> None:
    clock = Clock()
    g = gate(any_valkey, clock, ingress_rate=2.0, ingress_burst=8)
    assert sum(g.admit(ask(f"{n}", FREE, user=f"svc/{n}")).admitted for n in range(12)) == 8
    clock.forward(100)
    assert sum(g.admit(ask(f"x{n}", FREE, user=f"svc/{n}")).admitted for n in range(12)) == 8


def test_a_full_queue_lets_others_in_up_to_their_share(any_valkey: Any) -> None:
    g = gate(any_valkey, global_queue_limit=25)
    assert sum(g.admit(ask(f"s{n}", FREE, user=f"svc/u{n}")).admitted for n in range(40)) == 25
    verdicts = [g.admit(ask(f"o{n}", FREE, user="other")) for n in range(15)]
    assert [v.admitted for v in verdicts] == [True] * 12 + [False] * 3
    assert verdicts[-1].limit == "queued_global"
    for owner in range(100):  # a thousand owners still do not make it grow without end
        g.admit(ask(f"x{owner}", FREE, user=f"x{owner}"))
    assert any_valkey.zcard(names.OPEN) <= 50
    for n in range(25):
        g.settle(f"svc/u{n}", f"s{n}", DAY, 0, 0)
    assert any_valkey.zscore(names.OWNERS, "svc") is None
    assert any_valkey.zscore(names.OWNERS, "other") == 12


def test_open_tasks_of_an_owner_are_counted_once(any_valkey: Any) -> None:
    g = gate(any_valkey)
    of = limits(tokens_per_day=1000)
    g.admit(ask("1", of, user="svc/a"))
    g.admit(ask("1", of, user="svc/a"))
    g.admit(ask("2", of, user="svc/b"))
    g.adopt("svc/c", "3", DAY, 1, 1, of)
    g.adopt("svc/c", "3", DAY, 1, 1, of)
    assert any_valkey.zscore(names.OWNERS, "svc") == 3
    g.undo(ask("2", of, user="svc/b"))
    g.settle("svc/a", "1", DAY, 1, 1)
    g.settle("svc/a", "1", DAY, 1, 1)
    assert any_valkey.zscore(names.OWNERS, "svc") == 1


SERVICE = {"trusted": True, "tokens_per_day": 300, "usd_per_day": 0, "users": {"tokens_per_day": 150, "queued": 2}}


def service(**overrides: Any) -> Limits:
    return resolve("service", SERVICE | overrides)


def test_a_services_key_has_ceilings_beside_those_of_each_user(any_valkey: Any) -> None:
    ledger = Ledger()
    g = gate(any_valkey, Clock(), ledger=ledger)
    of = service()
    assert (of.tokens_per_day, of.key_tokens_per_day) == (150, 300)
    assert g.admit(ask("1", of, user="svc/a")).admitted  # 100 each
    assert g.admit(ask("2", of, user="svc/a")).limit == "tokens_per_day"
    assert g.admit(ask("3", of, user="svc/b")).admitted
    assert g.admit(ask("4", of, user="svc/c")).admitted
    refused = g.admit(ask("5", of, user="svc/d"))
    assert refused.limit == "tokens_per_day_key"
    assert {w.name: w.remaining for w in refused.windows}["tokens_per_day_key"] == 0
    assert not g.reserve("svc/a", "1", DAY, 120, 1, of)
    g.settle("svc/c", "4", DAY, 10, 1)
    assert g.reserve("svc/a", "1", DAY, 120, 1, of)
    shown = g.usage("svc/d", of)
    assert shown["tokens_per_day"]["limit"] == 150
    assert {name: shown["tokens_per_day_key"][name] for name in ("limit", "used", "reserved", "left")} == {
        "limit": 300,
        "used": 10,
        "reserved": 220,
        "left": 70,
    }
    assert shown["queued_key"]["used"] == 2


def test_what_a_key_has_spent_is_loaded_from_its_durable_record(any_valkey: Any) -> None:
    ledger = Ledger()
    ledger.spent["svc/*", DAY] = (250, 0)
    g = gate(any_valkey, Clock(), ledger=ledger)
    assert g.admit(ask("1", service(), user="svc/a")).limit == "tokens_per_day_key"


def test_a_keys_queue_is_bounded_beside_each_users(any_valkey: Any) -> None:
    g = gate(any_valkey)
    of = service(queued=3, tokens_per_day=0, users={"queued": 2})
    verdicts = [g.admit(ask(str(n), of, user=f"svc/{user}")).limit for n, user in enumerate("aaabcd")]
    assert verdicts == [None, None, "queued", None, "queued_key", "queued_key"]


def test_without_a_service_there_are_no_ceilings_of_a_key() -> None:
    of = resolve("standard")
    assert (of.key_queued, of.key_tokens_per_day, of.key_micro_usd_per_day) == (0, 0, 0)


@pytest.mark.parametrize("users", [[], {"models": ["*"]}, {"queued": -1}, {"queued": "2"}])
def test_limits_of_a_services_users_are_checked(users: Any) -> None:
    with pytest.raises(Exception, match="users"):
        resolve("service", {"users": users})
