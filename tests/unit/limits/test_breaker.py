"""The circuit breaker against a model, shared (plain and cluster-mode Valkey) and local."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import valkey
from shared.limits.breaker import Breaker, Permit, Sign, breaker_name, sign_of
from shared.retry import ModelError, classify
from shared.settings import Settings
from shared.valkey import RedisError
from tests.examples import examples
from tests.unit.limits.helpers import Clock

CONFIG = Settings(breaker_failures=5, breaker_open_seconds=30, model_timeout_seconds=60)
NAME = "api.openai.com/gpt-4o-mini"
ADA, BOB, CY = "ada", "bob", "cy"


@pytest.fixture(params=["plain", "cluster", "local"])
def on(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A server, or one that is away."""
    if request.param == "local":
        yield valkey.connect("redis://127.0.0.1:1")
        return
    client = valkey.connect(request.getfixturevalue("valkey_url" if request.param == "plain" else "valkey_cluster_url"))
    client.flushall()
    yield client
    client.close()


def make(on: Any) -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(config=CONFIG, on=on, now_us=clock), clock


def fail(breaker: Breaker, times: int, outcome: Sign = Sign.FAILURE, owner: str = ADA) -> None:
    for _ in range(times):
        breaker.record(breaker.before_call(NAME, owner), outcome)


def state_of(breaker: Breaker, owner: str = "") -> str:
    found = [state.state for state in breaker.states() if state.owner == owner]
    return found[0] if found else "closed"


def test_five_consecutive_failures_open_it_for_30_seconds(on: Any) -> None:
    breaker, clock = make(on)
    fail(breaker, 4)
    breaker.record(breaker.before_call(NAME, ADA), Sign.SUCCESS)
    fail(breaker, 4)
    assert breaker.before_call(NAME, ADA).allowed
    fail(breaker, 1)
    refused = breaker.before_call(NAME, ADA)
    assert (refused.allowed, refused.retry_after_s) == (False, 30.0)
    assert breaker.before_call("api.openai.com/other", ADA).allowed
    clock.forward(29)
    assert breaker.before_call(NAME, ADA).retry_after_s == 1.0
    [state] = [state for state in breaker.states() if state.owner]
    assert (state.name, state.owner, state.state, state.retry_after_s) == (NAME, ADA, "open", 1.0)
    clock.forward(1)
    assert state_of(breaker, ADA) == "half_open"


def test_one_probe_decides(on: Any) -> None:
    breaker, clock = make(on)
    fail(breaker, 5)
    clock.forward(30)
    probe = breaker.before_call(NAME, ADA)
    assert (probe.allowed, probe.probe) == (True, True)
    assert (breaker.before_call(NAME, ADA).allowed, breaker.before_call(NAME, ADA).retry_after_s) == (False, 30.0)
    breaker.record(probe, Sign.FAILURE)
    assert breaker.before_call(NAME, ADA).retry_after_s == 30.0
    clock.forward(30)
    probe = breaker.before_call(NAME, ADA)
    breaker.record(probe, Sign.SUCCESS)
    assert state_of(breaker, ADA) == "closed"
    clock.forward(0.001)
    fail(breaker, 4)
    assert breaker.before_call(NAME, ADA).allowed


def test_a_probe_that_vanishes_gives_way_when_its_lease_lapses(on: Any) -> None:
    breaker, clock = make(on)
    fail(breaker, 5)
    clock.forward(30)
    lost = breaker.before_call(NAME, ADA)
    clock.forward(69.9)
    assert not breaker.before_call(NAME, ADA).allowed
    clock.forward(0.1)
    second = breaker.before_call(NAME, ADA)
    assert second.probe
    breaker.record(lost, Sign.SUCCESS)  # too late: another call probes now
    assert state_of(breaker, ADA) == "half_open"
    breaker.record(second, Sign.NEUTRAL)  # says nothing: the next call may probe
    assert breaker.before_call(NAME, ADA).probe


@pytest.mark.parametrize("outcome", [Sign.SUCCESS, Sign.FAILURE, Sign.FATAL])
def test_calls_started_before_the_opening_say_nothing(on: Any, outcome: Sign) -> None:
    breaker, clock = make(on)
    early = [breaker.before_call(NAME, ADA) for _ in range(6)]
    fail(breaker, 5)
    breaker.record(early[0], outcome)
    assert state_of(breaker, ADA) == "open"
    clock.forward(30)
    breaker.record(breaker.before_call(NAME, ADA), Sign.SUCCESS)
    for permit in early[1:]:
        breaker.record(permit, outcome)
    assert state_of(breaker, ADA) == "closed"
    assert breaker.before_call(NAME, ADA).allowed


def test_a_permit_tells_of_the_failures_before_it(on: Any) -> None:
    breaker, clock = make(on)
    assert breaker.before_call(NAME, ADA).failures == 0
    fail(breaker, 3)
    assert breaker.before_call(NAME, ADA).failures == 3
    breaker.record(breaker.before_call(NAME, ADA), Sign.SUCCESS)
    assert breaker.before_call(NAME, ADA).failures == 0
    fail(breaker, 5)
    clock.forward(30)
    probe = breaker.before_call(NAME, ADA)
    assert (probe.probe, probe.failures) == (True, 0)


def test_a_refused_key_or_an_empty_account_opens_at_once(on: Any) -> None:
    breaker, _ = make(on)
    fail(breaker, 1, Sign.FATAL)
    assert not breaker.before_call(NAME, ADA).allowed


def test_what_never_counts(on: Any) -> None:
    breaker, _ = make(on)
    fail(breaker, 50, Sign.NEUTRAL)
    assert breaker.before_call(NAME, ADA).allowed
    breaker.record(Permit(False, 1.0, 0, NAME), Sign.FATAL)  # a refused permit reports nothing
    assert breaker.before_call(NAME, ADA).allowed
    assert breaker.states() == []


@pytest.mark.parametrize(
    ("error", "asked", "outcome"),
    [
        (ModelError("", status=None), False, Sign.UNREACHABLE),
        (ModelError("", status=None), True, Sign.FAILURE),
        (ModelError("", status=None, code="model_no_answer"), True, Sign.FAILURE),
        (ModelError("", status=500), True, Sign.FAILURE),
        (ModelError("", status=503, code="overloaded"), True, Sign.FAILURE),
        (ModelError("", status=401, code="invalid_api_key"), True, Sign.FATAL),
        (ModelError("", status=429, code="insufficient_quota"), True, Sign.FATAL),
        (ModelError("", status=429, code="rate_limit_exceeded"), True, Sign.NEUTRAL),
        (ModelError("", status=400), True, Sign.NEUTRAL),
        (ModelError("", status=403), True, Sign.NEUTRAL),
        (ModelError("", status=404), True, Sign.NEUTRAL),
        (ModelError("", status=408), True, Sign.NEUTRAL),
        (ModelError("", status=200), True, Sign.NEUTRAL),  # a malformed reply
        (ModelError("", status=200, code="truncated_reply"), True, Sign.NEUTRAL),
        (ModelError("", own_fault=True), False, Sign.NEUTRAL),
    ],
)
def test_outcomes(error: ModelError, asked: bool, outcome: Sign) -> None:
    assert sign_of(classify(error), asked=asked) is outcome


def test_names() -> None:
    assert breaker_name("https://api.openai.com/v1", "gpt-4o") == "api.openai.com/gpt-4o"
    assert breaker_name("", "gpt-4o") == "api.openai.com/gpt-4o"
    assert breaker_name("http://127.0.0.1:8080/v1", "sim-a") == "127.0.0.1:8080/sim-a"


def test_only_one_of_many_threads_probes(any_valkey: Any) -> None:
    breaker, clock = make(any_valkey)
    fail(breaker, 5)
    clock.forward(30)
    with ThreadPoolExecutor(16) as pool:
        permits = list(pool.map(lambda _: breaker.before_call(NAME, ADA), range(64)))
    assert sum(permit.allowed for permit in permits) == 1


def test_every_key_expires(any_valkey: Any) -> None:
    breaker, _ = make(any_valkey)
    fail(breaker, 5)
    fail(breaker, 5, Sign.UNREACHABLE, BOB)
    fail(breaker, 2, Sign.FAILURE, BOB)
    assert len(any_valkey.keys("*")) == 4
    assert all(any_valkey.ttl(key) > 0 for key in any_valkey.keys("*"))


def test_the_servers_own_clock(any_valkey: Any) -> None:
    breaker = Breaker(config=CONFIG, on=any_valkey)
    for _ in range(5):
        breaker.record(breaker.before_call(NAME, ADA), Sign.FAILURE)
    assert 29 < breaker.before_call(NAME, ADA).retry_after_s <= 30
    assert state_of(breaker, ADA) == "open"


def test_what_one_owners_prompts_cause_stops_that_owner_only(on: Any) -> None:
    breaker, clock = make(on)
    fail(breaker, 5)
    assert not breaker.before_call(NAME, ADA).allowed
    assert breaker.before_call(NAME, BOB) == replace(breaker.before_call(NAME, BOB), allowed=True, failures=0)
    for _ in range(100):  # whenever its breaker lets a probe through, it fails again
        clock.forward(31)
        fail(breaker, 1)
        assert breaker.before_call(NAME, BOB).allowed
    assert (state_of(breaker), state_of(breaker, ADA)) == ("closed", "open")


def test_others_are_not_told_to_hesitate_for_one_owners_failures(on: Any) -> None:
    breaker, _ = make(on)
    fail(breaker, 4)
    assert (breaker.before_call(NAME, ADA).failures, breaker.before_call(NAME, BOB).failures) == (4, 0)
    fail(breaker, 1, owner=BOB)
    assert breaker.before_call(NAME, CY).failures == 4  # three of ada's, one of bob's


def test_several_owners_failures_in_a_row_stop_everybody(on: Any) -> None:
    breaker, _ = make(on)
    fail(breaker, 3)
    fail(breaker, 1, owner=BOB)
    assert breaker.before_call(NAME, CY).allowed
    fail(breaker, 1, owner=CY)
    assert not breaker.before_call(NAME, "dan").allowed
    assert state_of(breaker) == "open"


def test_of_one_owner_only_half_the_evidence_counts_for_all(on: Any) -> None:
    breaker, _ = make(on)
    fail(breaker, 4)
    fail(breaker, 1, owner=BOB)
    assert breaker.before_call(NAME, CY).allowed
    fail(breaker, 1, owner=BOB)
    assert not breaker.before_call(NAME, CY).allowed


def test_a_success_of_anybody_ends_the_evidence_against_the_provider(on: Any) -> None:
    breaker, _ = make(on)
    for _ in range(20):
        fail(breaker, 1)
        fail(breaker, 1, owner=BOB)
        fail(breaker, 1, Sign.SUCCESS, CY)
    assert (state_of(breaker), state_of(breaker, ADA)) == ("closed", "open")  # ada's own goes by ada's calls
    assert breaker.before_call(NAME, CY).allowed


@pytest.mark.parametrize(("outcome", "times"), [(Sign.UNREACHABLE, 5), (Sign.FATAL, 1)])
def test_what_no_prompt_can_cause_stops_everybody_on_one_owners_word(on: Any, outcome: Sign, times: int) -> None:
    breaker, clock = make(on)
    fail(breaker, times - 1, outcome)
    assert breaker.before_call(NAME, BOB).failures == times - 1
    fail(breaker, 1, outcome)
    assert not breaker.before_call(NAME, BOB).allowed
    clock.forward(30)
    probe = breaker.before_call(NAME, BOB)
    assert (probe.probe, probe.for_all) == (True, True)
    assert not breaker.before_call(NAME, ADA).allowed
    breaker.record(probe, outcome)
    assert breaker.before_call(NAME, ADA).retry_after_s == 30.0


def test_a_failed_probe_of_one_owner_leaves_the_next_to_another(on: Any) -> None:
    breaker, clock = make(on)
    fail(breaker, 1, Sign.FATAL)
    clock.forward(30)
    probe = breaker.before_call(NAME, ADA)
    breaker.record(probe, Sign.FAILURE)
    assert breaker.before_call(NAME, ADA).retry_after_s == 30.0
    second = breaker.before_call(NAME, BOB)
    assert (second.allowed, second.for_all) == (True, True)
    breaker.record(second, Sign.SUCCESS)
    assert state_of(breaker) == "closed"
    assert breaker.before_call(NAME, CY).allowed
    assert not breaker.before_call(NAME, ADA).allowed


def test_two_owners_failed_probes_open_it_again(on: Any) -> None:
    breaker, clock = make(on)
    fail(breaker, 1, Sign.FATAL)
    clock.forward(30)
    fail(breaker, 1, owner=ADA)
    fail(breaker, 1, owner=BOB)
    assert state_of(breaker) == "open"
    assert breaker.before_call(NAME, CY).retry_after_s == 30.0


def test_who_probes_alone_a_second_time_does_so_at_its_own_cost(on: Any) -> None:
    """Otherwise a prompt that always fails would be tried for ever, at no attempt."""
    breaker, clock = make(on)
    fail(breaker, 1, Sign.FATAL)
    clock.forward(30)
    first = breaker.before_call(NAME, ADA)
    breaker.record(first, Sign.FAILURE)
    clock.forward(30)
    second = breaker.before_call(NAME, ADA)
    assert (first.for_all, second.probe, second.for_all) == (True, True, False)


def test_a_probe_of_the_own_breaker_is_at_the_owners_cost(on: Any) -> None:
    breaker, clock = make(on)
    fail(breaker, 5)
    clock.forward(30)
    probe = breaker.before_call(NAME, ADA)
    assert (probe.probe, probe.for_all) == (True, False)


def test_several_questions_are_one_trip(any_valkey: Any) -> None:
    breaker, _ = make(any_valkey)
    fail(breaker, 5)
    asked = [(NAME, ADA), (NAME, BOB), ("other", ADA)]
    permits = breaker.before_calls(asked)
    assert [(permit.name, permit.owner, permit.allowed) for permit in permits] == [
        (NAME, ADA, False),
        (NAME, BOB, True),
        ("other", ADA, True),
    ]
    breaker.record_all([(permit, Sign.FATAL) for permit in permits])
    assert {(state.name, state.owner, state.state) for state in breaker.states()} == {
        (NAME, "", "open"),
        ("other", "", "open"),
        (NAME, ADA, "open"),
    }


OWNERS = (ADA, BOB, CY)
STEP = st.one_of(
    st.tuples(st.just("call"), st.sampled_from(OWNERS), st.just(Sign.SUCCESS)),
    st.tuples(st.just("wait"), st.sampled_from([1, 10_000_000, 30_000_000, 70_000_000]), st.just(Sign.SUCCESS)),
    st.tuples(
        st.just("record"),
        st.integers(0, 3),
        st.sampled_from([Sign.FAILURE] * 6 + [Sign.SUCCESS, Sign.UNREACHABLE, Sign.FATAL, Sign.NEUTRAL]),
    ),
)
QUICK = settings(
    max_examples=examples(60, usual=10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@QUICK
@given(steps=st.lists(STEP, min_size=20, max_size=80))
def test_the_shared_and_the_local_breaker_decide_alike(any_valkey: Any, steps: list[tuple[str, Any, Sign]]) -> None:
    any_valkey.flushall()
    pairs = [make(any_valkey), make(valkey.connect("redis://127.0.0.1:1"))]
    flying: list[list[Permit]] = []
    for step, what, outcome in steps:
        if step == "wait":
            for _, clock in pairs:
                clock.at += what
        elif step == "call":
            shared, local = (breaker.before_call(NAME, what) for breaker, _ in pairs)
            facts = [(one.allowed, one.retry_after_s, one.scope, one.failures) for one in (shared, local)]
            assert facts[0] == facts[1]
            if shared.allowed:
                flying.append([shared, local])
        elif flying:
            for (breaker, _), permit in zip(pairs, flying.pop(what % len(flying)), strict=True):
                breaker.record(permit, outcome)
        states = [{(one.name, one.owner, one.state, one.failures) for one in breaker.states()} for breaker, _ in pairs]
        # A breaker that has seen nothing but what cannot change it may be known to one of them only.
        assert {one for one in states[0] if one[2:] != ("closed", 0)} == {
            one for one in states[1] if one[2:] != ("closed", 0)
        }


@QUICK
@given(steps=st.lists(STEP, min_size=20, max_size=120))
def test_one_owner_can_stop_nobody_else_whatever_its_prompts_do(on: Any, steps: list[tuple[str, Any, Sign]]) -> None:
    with suppress(RedisError):  # the server that is away
        on.flushall()
    breaker, clock = make(on)
    flying: list[Permit] = []
    for step, what, outcome in steps:
        if step == "wait":
            clock.at += what
        elif step == "call":
            permit = breaker.before_call(NAME, what)
            assert permit.allowed or what == ADA
            assert permit.failures == 0 or what == ADA
            if permit.allowed:
                flying.append(permit)
        elif flying:
            permit = flying.pop(what % len(flying))
            ends = {Sign.UNREACHABLE: Sign.FAILURE, Sign.FATAL: Sign.FAILURE}.get(outcome, outcome)
            breaker.record(permit, ends if permit.owner == ADA else Sign.SUCCESS)


@QUICK
@given(steps=st.lists(STEP, min_size=20, max_size=120))
def test_a_malformed_reply_never_opens_it(on: Any, steps: list[tuple[str, Any, Sign]]) -> None:
    with suppress(RedisError):
        on.flushall()
    breaker, clock = make(on)
    for step, what, _ in steps:
        if step == "wait":
            clock.at += what
        elif step == "call":
            fail(breaker, 1, Sign.NEUTRAL, what)
    assert breaker.states() == []
