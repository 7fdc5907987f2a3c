"""Invariants of admission over any course of events, on a plain and a cluster-mode server."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.limits import names
from tests.examples import examples
from tests.unit.limits.helpers import DAY, START_US, Clock, Ledger, ask, counted, gate, limits

course = settings(
    max_examples=examples(15, usual=8),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
GAPS_US = st.one_of(st.integers(0, 3), st.integers(0, 4_000_000), st.sampled_from([1_000_000, 999_999, 5_000_000]))


def most_in_a_window(times: list[int], window_us: int) -> int:
    """The most admissions in any (t - w, t]; it is enough to end windows at admissions."""
    times = sorted(times)
    return max((n + 1 - bisect_right(times, t - window_us) for n, t in enumerate(times)), default=0)


@course
@given(quota=st.integers(1, 5), window_s=st.integers(1, 5), gaps=st.lists(GAPS_US, min_size=5, max_size=40))
def test_no_rolling_window_over_the_quota(any_valkey: Any, quota: int, window_s: int, gaps: list[int]) -> None:
    any_valkey.flushall()
    clock = Clock()
    g = gate(any_valkey, clock)
    of = limits(requests=quota, window_s=window_s)
    admitted = []
    for n, gap in enumerate(gaps):
        clock.at += gap
        if g.admit(ask(str(n), of)).admitted:
            admitted.append(clock.at)
    assert most_in_a_window(admitted, window_s * 1_000_000) <= quota
    # and none is refused that the window has room for
    assert len(admitted) == len(greedy([START_US + sum(gaps[: n + 1]) for n in range(len(gaps))], quota, window_s))


def greedy(arrivals: list[int], quota: int, window_s: int) -> list[int]:
    """What an exact rolling window admits, said in the plainest way."""
    admitted: list[int] = []
    for t in arrivals:
        if sum(1 for a in admitted if a > t - window_s * 1_000_000) < quota:
            admitted.append(t)
    return admitted


@course
@given(
    quota=st.integers(1, 4),
    window_s=st.integers(1, 5),
    rate=st.sampled_from([0.0, 0.5, 3.0, 10.0]),
    burst=st.integers(1, 4),
    gaps=st.lists(GAPS_US, max_size=25),
)
def test_waiting_exactly_retry_after_is_enough_and_less_is_not(
    any_valkey: Any, quota: int, window_s: int, rate: float, burst: int, gaps: list[int]
) -> None:
    any_valkey.flushall()
    clock = Clock()
    g = gate(any_valkey, clock, ingress_rate=rate, ingress_burst=burst)
    of = limits(requests=quota, window_s=window_s)
    for n, gap in enumerate(gaps):
        clock.at += gap
        refused = g.admit(ask(str(n), of))
        if not refused.admitted:
            wait_us = round(refused.retry_after_s * 1_000_000)
            assert wait_us > 0
            clock.at += wait_us - 1
            assert not g.admit(ask(str(n), of)).admitted
            clock.at += 1
            assert g.admit(ask(str(n), of)).admitted


@course
@given(
    rate=st.sampled_from([0.7, 3.0, 10.0]),
    burst=st.integers(1, 5),
    gaps=st.lists(GAPS_US, min_size=5, max_size=40),
)
def test_ingress_never_passes_burst_plus_rate(any_valkey: Any, rate: float, burst: int, gaps: list[int]) -> None:
    any_valkey.flushall()
    clock = Clock()
    g = gate(any_valkey, clock, ingress_rate=rate, ingress_burst=burst)
    times = []
    for n, gap in enumerate(gaps):
        clock.at += gap
        if g.admit(ask(str(n), limits(), user=f"u{n % 3}")).admitted:
            times.append(clock.at)
    for i, first in enumerate(times):
        for j in range(i, len(times)):
            assert j - i + 1 <= burst + (times[j] - first) / 1_000_000 * rate + 1e-6


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "settle", "undo", "reserve", "release", "wait"]),
        st.integers(0, 7),  # which task
        st.integers(0, 400),  # tokens, or seconds to wait
    ),
    min_size=10,
    max_size=40,
)


def assert_untouched(client: Any, before: dict[str, Any]) -> None:
    """Hold that all counts as before; the ingress bucket may be over, by the server's own clock."""
    after = counted(client)
    assert before.keys() - after.keys() <= {names.INGRESS}
    assert after == {key: value for key, value in before.items() if key in after}


@course
@given(
    steps=STEPS,
    caps=st.fixed_dictionaries(
        {
            "requests": st.integers(0, 4),
            "queued": st.integers(0, 3),
            "running": st.integers(0, 2),
            "tokens_per_day": st.sampled_from([0, 300, 1000]),
            "micro_usd_per_day": st.sampled_from([0, 500]),
        }
    ),
    everybody=st.sampled_from([0, 700]),
)
def test_refusals_touch_nothing_and_ceilings_hold(
    any_valkey: Any, steps: list[tuple[str, int, int]], caps: dict[str, int], everybody: int
) -> None:
    any_valkey.flushall()
    clock, ledger = Clock(), Ledger()
    g = gate(any_valkey, clock, ledger=ledger, global_tokens_per_day=everybody, ingress_rate=2.0, ingress_burst=2)
    of = limits(window_s=60, **caps)
    held: dict[str, list[int]] = {}  # open task -> reserved [tokens, money]
    ended: set[str] = set()
    if of.budgeted or everybody:  # fill the cache, so that a dump shows counters only
        g.reserve("ada", "warm", DAY, 0, 0, of)
        g.settle("ada", "warm", DAY, 0, 0)
        g.reserve("bob", "warm-2", DAY, 0, 0, of)
        g.settle("bob", "warm-2", DAY, 0, 0)
    for step, which, amount in steps:
        user, task = ("ada", "bob")[which % 2], f"t{which}"
        before = counted(any_valkey)
        if step == "wait":
            clock.forward(amount / 100)
        elif step == "admit" and task not in held and task not in ended:
            verdict = g.admit(ask(task, of, user=user, tokens=amount, micro_usd=amount // 2))
            if verdict.admitted:
                held[task] = [amount, amount // 2]
            else:
                assert_untouched(any_valkey, before)
        elif step == "reserve" and task in held:
            more = [held[task][0] + amount, held[task][1] + 1]
            if g.reserve(user, task, DAY, *more, of):
                held[task] = more
            else:
                assert_untouched(any_valkey, before)
        elif step == "settle" and task in held:
            used = (
                min(amount, held[task][0]),
                min(amount // 2, held[task][1]),
            )  # a reservation is an upper bound
            ledger.add(user, DAY, *used)
            g.settle(user, task, DAY, *used)
            g.settle(user, task, DAY, *used)
            del held[task]
            ended.add(task)
        elif step == "undo" and task in held:
            g.undo(ask(task, of, user=user))
            del held[task]
        elif step == "release":
            g.release_slot(user, task)
        check(any_valkey, of, everybody, ledger, held)


def check(client: Any, of: Any, everybody: int, ledger: Ledger, held: dict[str, list[int]]) -> None:
    """Compare the server's counters with the model's and with the ceilings."""
    for n, user in enumerate(("ada", "bob")):
        keys = names.user_keys(user)
        mine = {task: amounts for task, amounts in held.items() if int(task[1:]) % 2 == n}
        assert set(client.hkeys(keys.entries)) == set(mine)
        assert not of.queued or len(mine) <= of.queued
        assert not of.running or client.zcard(keys.slots) <= of.running
        if of.budgeted:
            spend = {k: int(v) for k, v in client.hgetall(names.spend_key(user, DAY)).items()}
            assert (spend["tu"], spend["mu"]) == ledger.spent.get((user, DAY), (0, 0))
            assert spend["tr"] == sum(amounts[0] for amounts in mine.values())
            assert not of.tokens_per_day or spend["tu"] + spend["tr"] <= of.tokens_per_day
            assert not of.micro_usd_per_day or spend["mu"] + spend["mr"] <= of.micro_usd_per_day
    if everybody:
        spend = {k: int(v) for k, v in client.hgetall(names.spend_all_key(DAY)).items()}
        assert spend["tu"] + spend["tr"] <= everybody
    assert client.zcard(names.OPEN) == len(held)


@course
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["take", "renew", "release", "wait"]), st.integers(0, 5)),
        min_size=5,
        max_size=40,
    ),
    cap=st.integers(1, 3),
)
def test_live_slots_never_pass_the_cap(any_valkey: Any, steps: list[tuple[str, int]], cap: int) -> None:
    any_valkey.flushall()
    clock = Clock()
    g = gate(any_valkey, clock)
    lapses: dict[str, int] = {}
    for step, which in steps:
        task = f"t{which}"
        live = {t for t, at in lapses.items() if at > clock.at}
        if step == "wait":
            clock.forward(which * 4)
        elif step == "take":
            took = g.take_slot("ada", task, cap, 10)
            assert took == (task in live or len(live) < cap)
            if took:
                lapses[task] = clock.at + 10_000_000
        elif step == "release":
            g.release_slot("ada", task)
            lapses.pop(task, None)
        elif step == "renew" and task in live:
            g.renew([("ada", task)], 10)
            lapses[task] = clock.at + 10_000_000
        assert sum(1 for at in lapses.values() if at > clock.at) <= cap
