"""Admission, limit by limit, on a plain and a cluster-mode server."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis.cluster import RedisCluster

from shared import valkey
from shared.errors import BudgetExhausted, DependencyDown
from shared.limits import names
from shared.limits.admission import CHECK_AGAIN_S, CHECK_S, FRESH_S, Gate
from shared.limits.local import LocalGate
from shared.limits.scripts import script
from shared.settings import Settings
from tests.unit.limits.helpers import DAY, Clock, Ledger, ask, dump, gate, limits


def test_quota_is_a_rolling_window_and_retry_after_is_exact(any_valkey: Any) -> None:
    clock = Clock()
    g = gate(any_valkey, clock)
    two = limits(requests=2, window_s=10)
    assert g.admit(ask("1", two)).admitted
    clock.forward(4)
    second = g.admit(ask("2", two))
    assert second.admitted
    assert (second.windows[0].remaining, second.windows[0].reset_s, second.windows[0].full_s) == (
        0,
        6.0,
        10.0,
    )
    clock.forward(5)
    third = g.admit(ask("3", two))
    assert (third.admitted, third.limit, third.retry_after_s) == (False, "requests", 1.0)
    clock.at += 999_999
    assert not g.admit(ask("3", two)).admitted
    clock.at += 1
    assert g.admit(ask("3", two)).admitted
    assert g.admit(ask("4", two)).retry_after_s == 4.0
    assert g.admit(ask("5", two, user="bob")).admitted


def test_a_clock_set_back_opens_no_gap(any_valkey: Any) -> None:
    clock = Clock()
    g = gate(any_valkey, clock)
    one = limits(requests=1, window_s=10)
    assert g.admit(ask("1", one)).admitted
    clock.forward(-30)
    refused = g.admit(ask("2", one))
    assert (refused.admitted, refused.retry_after_s) == (False, 40.0)
    clock.forward(40)
    assert g.admit(ask("2", one)).admitted


def test_ingress_is_a_token_bucket_of_all_users(any_valkey: Any) -> None:
    clock = Clock()
    g = gate(any_valkey, clock, ingress_rate=10.0, ingress_burst=3)
    free = limits()
    admitted = [g.admit(ask(str(n), free, user=f"u{n}")) for n in range(4)]
    assert [v.admitted for v in admitted] == [True, True, True, False]
    assert (admitted[3].limit, admitted[3].retry_after_s) == ("ingress", 0.1)
    assert admitted[3].windows[0].quota == 3
    clock.forward(0.1)
    assert not g.admit(ask("5", free)).admitted  # what came free is u3's, who was refused before
    assert g.admit(ask("3", free, user="u3")).admitted
    clock.forward(0.1)
    assert g.admit(ask("5", free)).admitted
    assert not g.admit(ask("6", free)).admitted
    clock.forward(61)
    assert sum(g.admit(ask(f"x{n}", free)).admitted for n in range(10)) == 3


def test_queue_sizes_per_user_and_of_all(any_valkey: Any) -> None:
    g = gate(any_valkey, global_queue_limit=3)
    two = limits(queued=2)
    assert g.admit(ask("1", two)).admitted
    assert g.admit(ask("2", two)).admitted
    assert g.admit(ask("3", two)).limit == "queued"
    assert g.admit(ask("4", two, user="bob")).admitted
    assert g.admit(ask("5", two, user="bob")).limit == "queued_global"  # bob has his share of the three
    assert g.admit(ask("6", two, user="eve")).admitted  # eve has not
    g.settle("ada", "1", DAY, 0, 0)
    assert g.admit(ask("5", two, user="bob")).limit == "queued_global"
    g.settle("ada", "2", DAY, 0, 0)
    assert g.admit(ask("5", two, user="bob")).admitted


def test_slots_are_leased_and_admission_goes_on_without_one(any_valkey: Any) -> None:
    clock = Clock()
    g = gate(any_valkey, clock)
    two = limits(running=2)
    assert [g.admit(ask(str(n), two)).slot for n in range(3)] == [True, True, False]
    assert g.take_slot("ada", "0", 2, 60)
    assert g.take_slot("ada", "1", 2, 60)
    assert not g.take_slot("ada", "2", 2, 60)
    clock.forward(50)
    g.renew([("ada", "0")], 60)
    clock.forward(11)  # the lease of 1 has lapsed
    assert g.take_slot("ada", "2", 2, 60)
    assert not g.take_slot("ada", "1", 2, 60)
    g.release_slot("ada", "0")
    assert g.take_slot("ada", "1", 2, 60)
    assert g.take_slot("ada", "anything", 0, 60)


def test_settling_tells_whether_parked_tasks_wait(any_valkey: Any) -> None:
    g = gate(any_valkey)
    one = limits(running=1)
    assert [g.admit(ask(task, one)).slot for task in "123"] == [True, False, False]
    assert g.settle("ada", "1", DAY, 0, 0)
    assert g.settle("ada", "1", DAY, 0, 0)
    assert g.take_slot("ada", "2", 1, 60)
    assert g.settle("ada", "2", DAY, 0, 0)
    assert g.take_slot("ada", "3", 1, 60)
    assert not g.settle("ada", "3", DAY, 0, 0)
    g.admit(ask("4", limits(), user="bob"))
    g.admit(ask("5", limits(), user="bob"))
    assert not g.settle("bob", "4", DAY, 0, 0)  # no cap: nothing is parked
    assert away().settle("ada", "3", DAY, 0, 0)


def test_budgets_hold_back_what_open_runs_may_use(any_valkey: Any) -> None:
    clock, ledger = Clock(), Ledger()
    ledger.spent["ada", DAY] = (700, 0)
    g = gate(any_valkey, clock, ledger=ledger)
    thousand = limits(tokens_per_day=1000)
    first = g.admit(ask("1", thousand, tokens=200))
    assert (first.admitted, first.windows[0].remaining) == (True, 100)
    refused = g.admit(ask("2", thousand, tokens=101))
    assert (refused.admitted, refused.limit, refused.retry_after_s) == (False, "tokens_per_day", 23 * 3600.0)
    assert g.admit(ask("3", thousand, tokens=100)).admitted
    ledger.add("ada", DAY, 10, 0)
    g.settle("ada", "1", DAY, 10, 0)
    assert not g.admit(ask("4", thousand, tokens=191)).admitted
    assert g.admit(ask("4", thousand, tokens=190)).admitted
    assert g.admit(ask("5", thousand, tokens=1000, day="2026-02-01")).admitted
    assert ledger.reads == 2  # one for each day


def test_money_and_the_ceiling_of_all_users(any_valkey: Any) -> None:
    ledger = Ledger()
    ledger.spent["*", DAY] = (0, 800_000)
    g = gate(any_valkey, ledger=ledger, global_usd_per_day=1.0, global_tokens_per_day=1000)
    own = limits(micro_usd_per_day=500_000)
    assert g.admit(ask("1", own, micro_usd=500_001)).limit == "usd_per_day"
    assert g.admit(ask("2", own, micro_usd=200_001, user="bob")).limit == "usd_per_day_global"
    assert g.admit(ask("3", own, micro_usd=1, tokens=1001)).limit == "tokens_per_day_global"
    assert g.admit(ask("4", own, micro_usd=200_000)).admitted
    assert g.admit(ask("5", limits(), micro_usd=1)).limit == "usd_per_day_global"


def test_reserve_raises_until_the_ceiling_and_settle_gives_back(any_valkey: Any) -> None:
    clock, ledger = Clock(), Ledger()
    g = gate(any_valkey, clock, ledger=ledger)
    of = limits(tokens_per_day=1000, micro_usd_per_day=1000)
    assert g.admit(ask("1", of, tokens=500, micro_usd=10)).admitted
    assert g.reserve("ada", "1", DAY, 1000, 20, of)
    raised = dump(any_valkey)
    assert g.reserve("ada", "1", DAY, 1000, 20, of)  # a worker that took over from one which died just then
    assert g.reserve("ada", "1", DAY, 700, 0, of)
    assert dump(any_valkey) == raised
    assert not g.reserve("ada", "1", DAY, 1001, 0, of)
    with pytest.raises(BudgetExhausted) as refused:
        g.must_reserve("ada", "1", DAY, 0, 1001, of)
    assert refused.value.limit == "usd_per_day"
    g.settle("ada", "1", DAY, 300, 5)
    before = dump(any_valkey)
    g.settle("ada", "1", DAY, 300, 5)
    assert dump(any_valkey) == before
    assert before[names.spend_key("ada", DAY)] | {"at": ""} == {
        "at": "",
        "tu": "300",
        "mu": "5",
        "tr": "0",
        "mr": "0",
    }
    assert not g.reserve("ada", "1", DAY, 1, 1, of)  # a late worker
    assert names.user_keys("ada").entries not in dump(any_valkey)


def test_nothing_reserved_is_given_back_too(any_valkey: Any) -> None:
    g = gate(any_valkey)
    of = limits(tokens_per_day=10, micro_usd_per_day=10)
    assert g.admit(ask("1", of, tokens=0, micro_usd=0)).admitted
    g.settle("ada", "1", DAY, 4, 0)
    assert g.admit(ask("2", of, tokens=0, micro_usd=0)).admitted
    g.undo(ask("2", of))
    spend = any_valkey.hgetall(names.spend_key("ada", DAY))
    assert {name: spend[name] for name in ("tu", "tr", "mu", "mr")} == {"tu": "4", "tr": "0", "mu": "0", "mr": "0"}


def test_reserve_needs_no_trip_without_ceilings(any_valkey: Any) -> None:
    assert gate(any_valkey).reserve("ada", "1", DAY, 10**9, 10**9, limits())
    assert dump(any_valkey) == {}


def test_a_ceiling_that_comes_later_counts_what_runs_hold(any_valkey: Any) -> None:
    g = gate(any_valkey)
    assert g.admit(ask("1", limits(), tokens=400)).admitted
    of = limits(tokens_per_day=1000)
    assert not g.reserve("ada", "1", DAY, 1001, 0, of)
    assert g.reserve("ada", "1", DAY, 500, 0, of)
    assert g.admit(ask("2", of, tokens=501)).limit == "tokens_per_day"
    g.settle("ada", "1", DAY, 7, 0)
    assert any_valkey.hget(names.spend_key("ada", DAY), "tr") == "0"
    assert any_valkey.hget(names.spend_key("ada", DAY), "tu") == "7"


def test_after_lost_data_runs_are_adopted_and_spending_is_loaded_again(any_valkey: Any) -> None:
    ledger = Ledger()
    g = gate(any_valkey, ledger=ledger)
    of = limits(tokens_per_day=1000, queued=1)
    assert g.admit(ask("1", of, tokens=600)).admitted
    any_valkey.flushall()
    ledger.spent["ada", DAY] = (100, 0)
    g.adopt("ada", "1", DAY, 600, 50, of)
    g.adopt("ada", "1", DAY, 600, 50, of)
    assert g.admit(ask("2", of, tokens=1)).limit == "queued"
    assert not g.reserve("ada", "1", DAY, 901, 0, of)
    assert g.reserve("ada", "1", DAY, 900, 0, of)
    g.settle("ada", "1", DAY, 50, 0)
    assert any_valkey.hget(names.spend_key("ada", DAY), "tu") == "150"


def test_spending_is_loaded_again_after_a_while(any_valkey: Any) -> None:
    clock, ledger = Clock(), Ledger()
    g = gate(any_valkey, clock, ledger=ledger)
    of = limits(tokens_per_day=1000)
    assert g.admit(ask("1", of, tokens=100)).admitted
    ledger.spent["ada", DAY] = (900, 0)  # spent while Valkey could not be told
    assert g.admit(ask("2", of, tokens=100)).admitted
    clock.forward(FRESH_S)
    assert g.admit(ask("3", of, tokens=1)).limit == "tokens_per_day"
    assert ledger.reads == 2


def test_undo_gives_everything_back(any_valkey: Any) -> None:
    clock = Clock()
    g = gate(any_valkey, clock, ingress_rate=1.0, ingress_burst=1, global_tokens_per_day=10_000)
    of = limits(requests=1, queued=1, running=1, tokens_per_day=100, micro_usd_per_day=50)
    assert g.admit(ask("1", of)).admitted
    g.undo(ask("1", of))
    again = dump(any_valkey)
    g.undo(ask("1", of))
    assert dump(any_valkey) == again
    assert g.admit(ask("2", of)).admitted


def test_a_repeat_after_a_lost_answer_counts_once(any_valkey: Any) -> None:
    g = gate(any_valkey, ingress_rate=1.0, ingress_burst=1)
    of = limits(requests=1, queued=1, running=1, tokens_per_day=100)
    first = g.admit(ask("1", of))
    before = dump(any_valkey)
    second = g.admit(ask("1", of))
    assert (second.admitted, second.slot) == (first.admitted, first.slot) == (True, True)
    assert dump(any_valkey) == before


def test_overdue_entries_are_handed_out_once_per_interval(any_valkey: Any) -> None:
    clock = Clock()
    g = gate(any_valkey, clock)
    g.admit(ask("1", limits(), user="a user with spaces"))
    assert g.overdue(10) == []
    clock.forward(CHECK_S)
    assert g.overdue(10) == [("a user with spaces", "1", DAY)]
    assert g.overdue(10) == []
    clock.forward(CHECK_AGAIN_S)
    assert len(g.overdue(10)) == 1
    g.settle("a user with spaces", "1", DAY, 0, 0)
    clock.forward(CHECK_AGAIN_S)
    assert g.overdue(10) == []


def test_of_several_refusals_the_longest_wait_is_told(any_valkey: Any) -> None:
    clock = Clock()
    g = gate(any_valkey, clock, ingress_rate=1.0, ingress_burst=1)
    of = limits(requests=1, window_s=100)
    assert g.admit(ask("1", of)).admitted
    refused = g.admit(ask("2", of))
    assert (refused.limit, refused.retry_after_s) == ("requests", 100.0)
    clock.forward(100)
    assert g.admit(ask("2", of)).admitted


def test_a_heartbeat_that_comes_after_the_end_gives_no_slot_back(any_valkey: Any) -> None:
    g = gate(any_valkey)
    one = limits(running=1)
    assert g.admit(ask("1", one)).slot
    assert g.admit(ask("of-bob", one, user="bob")).slot
    g.settle("ada", "1", DAY, 1, 1)
    g.renew([("ada", "1"), ("bob", "of-bob")], 90)
    assert g.take_slot("ada", "2", 1, 60)
    assert any_valkey.zrange(names.user_keys("bob").slots, 0, -1) == ["of-bob"]
    g.renew([("ada", "2"), ("ada", "lapsed")], 90)  # whoever has not ended counts, even if its slot had lapsed
    assert any_valkey.zrange(names.user_keys("ada").slots, 0, -1) == ["2", "lapsed"]


def test_200_concurrent_submits_at_quota_60_admit_60(any_valkey: Any) -> None:
    g = gate(any_valkey)
    sixty = limits(requests=60)
    barrier = threading.Barrier(20, timeout=60)

    def submit(n: int) -> bool:
        if n < 20:
            barrier.wait()
        return g.admit(ask(str(n), sixty)).admitted

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(submit, range(200))) == 60


def test_every_key_expires_and_shares_a_slot(any_valkey: Any) -> None:
    g = gate(any_valkey, ingress_rate=5.0)
    of = limits(requests=5, queued=5, running=5, tokens_per_day=1000)
    g.admit(ask("1", of))
    g.admit(ask("2", of))
    g.settle("ada", "2", DAY, 1, 1)
    keys = any_valkey.keys("*")
    assert len(keys) == 12
    assert all(any_valkey.ttl(key) > 0 for key in keys)
    assert all("{sluice}" in key for key in keys)


def test_one_round_trip(any_valkey: Any) -> None:
    g = gate(any_valkey, ingress_rate=1000.0, ingress_burst=1000)
    of = limits(requests=50, queued=50, running=5, tokens_per_day=10_000, micro_usd_per_day=10_000)
    g.admit(ask("first", of))  # loads the script and the day's spending
    node = any_valkey.get_nodes()[0].redis_connection if isinstance(any_valkey, RedisCluster) else any_valkey
    with node.monitor() as monitor:
        any_valkey.ping()  # connects, since the monitor keeps a connection
        verdicts = [g.admit(ask(str(n), of)) for n in range(5)]
        any_valkey.ping()
        seen: list[str] = []
        while seen.count("PING") < 2:
            event = monitor.next_command()
            if event["client_type"] != "lua":
                seen.append(event["command"].split()[0])
    assert all(v.admitted for v in verdicts)
    assert seen[seen.index("PING") + 1 : -1] == ["EVALSHA"] * 5


def test_usage_shows_all_limits(any_valkey: Any) -> None:
    clock, ledger = Clock(), Ledger()
    ledger.spent["ada", DAY] = (10, 250_000)
    g = gate(any_valkey, clock, ledger=ledger)
    of = limits(requests=3, window_s=60, queued=4, running=1, tokens_per_day=1000, micro_usd_per_day=1_000_000)
    before = g.usage("ada", of)
    assert (before["tokens_per_day"]["used"], before["usd_per_day"]["left"]) == (10, 0.75)
    g.admit(ask("1", of))
    g.admit(ask("2", of))
    clock.forward(10)
    shown = g.usage("ada", of)
    assert shown["requests"] == {"limit": 3, "used": 2, "left": 1, "reset_s": 50.0, "window_s": 60}
    assert shown["queued"] == {"limit": 4, "used": 2, "left": 2, "reset_s": None}
    assert shown["running"] == {"limit": 1, "used": 1, "left": 0, "reset_s": None}
    assert shown["tokens_per_day"] == {
        "limit": 1000,
        "used": 10,
        "left": 790,
        "reset_s": 82_790.0,
        "reserved": 200,
    }
    assert shown["usd_per_day"]["reserved"] == 0.0001


def away(**config: Any) -> Gate:
    values = {"redis_url": "redis://127.0.0.1:1", "ingress_rate": 0.0} | config
    return Gate(Ledger(), config=Settings(**values), on=valkey.connect("redis://127.0.0.1:1"))


def test_without_valkey_a_tenth_of_the_quota_is_given_out() -> None:
    g = away()
    of = limits(requests=60, running=1)
    verdicts = [g.admit(ask(str(n), of)) for n in range(8)]
    assert [v.admitted for v in verdicts] == [True] * 6 + [False] * 2
    assert all(v.degraded for v in verdicts)
    assert not verdicts[0].precharge
    assert 3590 < verdicts[6].retry_after_s <= 3600
    assert g.admit(ask("b", of, user="bob")).admitted
    assert g.take_slot("ada", "1", 1, 60)
    g.settle("ada", "1", DAY, 1, 1)
    g.undo(ask("1", of))
    g.renew([("ada", "1")], 60)
    assert g.overdue(5) == []


def test_ten_environments_without_valkey_together_keep_the_quota() -> None:
    of = limits(requests=60, window_s=3600)
    environments = [LocalGate(0, 1) for _ in range(10)]
    admitted = [
        second
        for second in range(0, 3 * 3600, 20)
        for one in environments
        if one.admit(ask("x", of), float(second)).admitted
    ]
    assert len(admitted) >= 3 * 60
    assert max(sum(at - 3600 < other <= at for other in admitted) for at in admitted) == 60


def test_without_valkey_whoever_waits_as_told_comes_in() -> None:
    gate, of = LocalGate(0, 1), limits(requests=30, window_s=60)
    for second in (0.0, 1.0, 2.0):
        assert gate.admit(ask("x", of), second).admitted
    refused = gate.admit(ask("x", of), 10.0)
    assert (refused.admitted, refused.retry_after_s, refused.windows[0].remaining) == (False, 50.0, 0)
    assert not gate.admit(ask("x", of), 59.9).admitted
    assert gate.admit(ask("x", of), 60.0).admitted


def test_a_users_keys_with_different_windows_share_one_log(any_valkey: Any) -> None:
    clock = Clock()
    g = gate(any_valkey, clock)
    hour, minute = limits(requests=10, window_s=3600), limits(requests=20, window_s=60)
    assert all(g.admit(ask(f"a{n}", hour)).admitted for n in range(10))
    clock.forward(61)
    for n in range(50):  # would push the hour's out of a log that keeps a minute, or twenty
        clock.forward(4)
        assert g.admit(ask(f"b{n}", minute)).admitted
    assert g.admit(ask("c", hour)).limit == "requests"
    log = names.user_keys("ada").log
    assert any_valkey.zcount(log, 0, "+inf") == 20
    assert any_valkey.zscore(log, "window") == -3600e6
    clock.forward(3600)
    assert g.admit(ask("d", hour)).admitted
    assert any_valkey.zcount(log, 0, "+inf") == 1


def test_without_valkey_budgets_are_charged_durably_or_refused() -> None:
    of = limits(tokens_per_day=1000)
    assert away().admit(ask("1", of)).precharge
    with pytest.raises(DependencyDown):
        away().reserve("ada", "1", DAY, 1, 1, of)
    with pytest.raises(DependencyDown):
        away(global_tokens_per_day=5).admit(ask("1", of))
    with pytest.raises(DependencyDown) as refused:
        away(redis_down="refuse").admit(ask("1", limits()))
    assert refused.value.dependency == "redis"
    shown = away().usage("ada", of)
    assert (shown["requests"]["used"], shown["tokens_per_day"]["left"]) == (None, 1000)


def test_without_valkey_ingress_is_a_tenth_too() -> None:
    g = away(ingress_rate=10.0, ingress_burst=20)
    verdicts = [g.admit(ask(str(n), limits(), user=f"u{n}")) for n in range(3)]
    assert [v.limit for v in verdicts] == [None, None, "ingress"]


def test_scripts_survive_a_server_that_forgets_them(any_valkey: Any) -> None:
    g = gate(any_valkey)
    assert g.admit(ask("1", limits())).admitted
    any_valkey.script_flush()
    assert g.admit(ask("2", limits())).admitted
    assert any_valkey.script_exists(script("admit").sha) in ([True], [1])


def test_waiting_in_real_time(any_valkey: Any) -> None:
    g = gate(any_valkey)  # the server's own clock
    one = limits(requests=1, window_s=3)
    assert g.admit(ask("1", one)).admitted
    time.sleep(g.admit(ask("2", one)).retry_after_s)
    assert g.admit(ask("2", one)).admitted
