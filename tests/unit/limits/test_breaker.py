"""The circuit breaker against a model, shared (plain and cluster-mode Valkey) and local."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import valkey
from shared.limits.breaker import Breaker, Outcome, Permit, breaker_name, outcome_of
from shared.settings import Settings
from shared.valkey import RedisError
from tests.unit.limits.helpers import Clock

CONFIG = Settings(breaker_failures=5, breaker_open_seconds=30, model_timeout_seconds=60)
NAME = "api.openai.com/gpt-4o-mini"


@pytest.fixture(params=["plain", "cluster", "local"])
def on(request: pytest.FixtureRequest) -> Any:
    """A server, or one that is away."""
    if request.param == "local":
        return valkey.connect("redis://127.0.0.1:1")
    client = valkey.connect(request.getfixturevalue("valkey_url" if request.param == "plain" else "valkey_cluster_url"))
    client.flushall()
    return client


def make(on: Any) -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(config=CONFIG, on=on, now_us=clock), clock


def fail(breaker: Breaker, times: int, outcome: Outcome = Outcome.FAILURE) -> None:
    for _ in range(times):
        breaker.record(breaker.before_call(NAME), outcome)


def test_five_consecutive_failures_open_it_for_30_seconds(on: Any) -> None:
    breaker, clock = make(on)
    fail(breaker, 4)
    breaker.record(breaker.before_call(NAME), Outcome.SUCCESS)
    fail(breaker, 4)
    assert breaker.before_call(NAME).allowed
    fail(breaker, 1)
    refused = breaker.before_call(NAME)
    assert (refused.allowed, refused.retry_after_s) == (False, 30.0)
    assert breaker.before_call("api.openai.com/other").allowed
    clock.forward(29)
    assert breaker.before_call(NAME).retry_after_s == 1.0
    [state] = breaker.states()
    assert (state.name, state.state, state.retry_after_s) == (NAME, "open", 1.0)
    clock.forward(1)
    assert breaker.states()[0].state == "half_open"


def test_one_probe_decides(on: Any) -> None:
    breaker, clock = make(on)
    fail(breaker, 5)
    clock.forward(30)
    probe = breaker.before_call(NAME)
    assert (probe.allowed, probe.probe) == (True, True)
    assert (breaker.before_call(NAME).allowed, breaker.before_call(NAME).retry_after_s) == (False, 30.0)
    breaker.record(probe, Outcome.FAILURE)
    assert breaker.before_call(NAME).retry_after_s == 30.0
    clock.forward(30)
    probe = breaker.before_call(NAME)
    breaker.record(probe, Outcome.SUCCESS)
    assert breaker.states()[0].state == "closed"
    clock.forward(0.001)
    fail(breaker, 4)
    assert breaker.before_call(NAME).allowed


def test_a_probe_that_vanishes_gives_way_when_its_lease_lapses(on: Any) -> None:
    breaker, clock = make(on)
    fail(breaker, 5)
    clock.forward(30)
    lost = breaker.before_call(NAME)
    clock.forward(69.9)
    assert not breaker.before_call(NAME).allowed
    clock.forward(0.1)
    second = breaker.before_call(NAME)
    assert second.probe
    breaker.record(lost, Outcome.SUCCESS)  # too late: another call probes now
    assert breaker.states()[0].state == "half_open"
    breaker.record(second, Outcome.NEUTRAL)  # says nothing: the next call may probe
    assert breaker.before_call(NAME).probe


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.FAILURE, Outcome.FATAL])
def test_calls_started_before_the_opening_say_nothing(on: Any, outcome: Outcome) -> None:
    breaker, clock = make(on)
    early = [breaker.before_call(NAME) for _ in range(6)]
    fail(breaker, 5)
    breaker.record(early[0], outcome)
    assert breaker.states()[0].state == "open"
    clock.forward(30)
    breaker.record(breaker.before_call(NAME), Outcome.SUCCESS)
    for permit in early[1:]:
        breaker.record(permit, outcome)
    assert breaker.states()[0].state == "closed"
    assert breaker.before_call(NAME).allowed


def test_a_permit_tells_of_the_failures_before_it(on: Any) -> None:
    breaker, clock = make(on)
    assert breaker.before_call(NAME).failures == 0
    fail(breaker, 3)
    assert breaker.before_call(NAME).failures == 3
    breaker.record(breaker.before_call(NAME), Outcome.SUCCESS)
    assert breaker.before_call(NAME).failures == 0
    fail(breaker, 5)
    clock.forward(30)
    probe = breaker.before_call(NAME)
    assert (probe.probe, probe.failures) == (True, 0)


def test_a_refused_key_or_an_empty_account_opens_at_once(on: Any) -> None:
    breaker, _ = make(on)
    fail(breaker, 1, Outcome.FATAL)
    assert not breaker.before_call(NAME).allowed


def test_what_never_counts(on: Any) -> None:
    breaker, _ = make(on)
    fail(breaker, 50, Outcome.NEUTRAL)
    assert breaker.before_call(NAME).allowed
    breaker.record(Permit(False, 1.0, False, NAME), Outcome.FATAL)  # a refused permit reports nothing
    assert breaker.before_call(NAME).allowed
    assert breaker.states() == []


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (200, None, Outcome.SUCCESS),
        (None, None, Outcome.FAILURE),
        (500, None, Outcome.FAILURE),
        (503, "overloaded", Outcome.FAILURE),
        (401, "invalid_api_key", Outcome.FATAL),
        (429, "insufficient_quota", Outcome.FATAL),
        (429, "rate_limit_exceeded", Outcome.NEUTRAL),
        (400, None, Outcome.NEUTRAL),
        (403, None, Outcome.NEUTRAL),
        (404, None, Outcome.NEUTRAL),
        (408, None, Outcome.NEUTRAL),
    ],
)
def test_outcomes(status: int | None, code: str | None, outcome: Outcome) -> None:
    assert outcome_of(status, code) is outcome


def test_names() -> None:
    assert breaker_name("https://api.openai.com/v1", "gpt-4o") == "api.openai.com/gpt-4o"
    assert breaker_name("", "gpt-4o") == "api.openai.com/gpt-4o"
    assert breaker_name("http://127.0.0.1:8080/v1", "sim-a") == "127.0.0.1:8080/sim-a"


def test_only_one_of_many_threads_probes(any_valkey: Any) -> None:
    breaker, clock = make(any_valkey)
    fail(breaker, 5)
    clock.forward(30)
    with ThreadPoolExecutor(16) as pool:
        permits = list(pool.map(lambda _: breaker.before_call(NAME), range(64)))
    assert sum(permit.allowed for permit in permits) == 1


def test_every_key_expires(any_valkey: Any) -> None:
    breaker, _ = make(any_valkey)
    fail(breaker, 5)
    assert len(any_valkey.keys("*")) == 2
    assert all(any_valkey.ttl(key) > 0 for key in any_valkey.keys("*"))


def test_the_servers_own_clock(any_valkey: Any) -> None:
    breaker = Breaker(config=CONFIG, on=any_valkey)
    for _ in range(5):
        breaker.record(breaker.before_call(NAME), Outcome.FAILURE)
    assert 29 < breaker.before_call(NAME).retry_after_s <= 30
    assert breaker.states()[0].state == "open"


class Model:
    """The rules in their plainest form."""

    def __init__(self) -> None:
        self.failures = 0
        self.state = "closed"
        self.since = -1
        self.probe: Permit | None = None
        self.probe_at = 0

    def expect(self, now: int) -> str:
        if self.state == "closed":
            return "pass"
        if now < self.since + 30_000_000:
            return "refuse"
        if self.probe is not None and now < self.probe_at + 70_000_000:
            return "refuse"
        return "probe"

    def record(self, permit: Permit, outcome: Outcome, started: int, now: int) -> None:
        bad = outcome in (Outcome.FAILURE, Outcome.FATAL)
        if permit.probe:
            if self.probe is not permit:
                return
            self.probe = None
            if outcome is Outcome.SUCCESS:
                self.state, self.since, self.failures = "closed", now, 0
            elif bad:
                self.since = now
        elif self.state == "closed" and started > self.since:
            self.failures = 0 if outcome is Outcome.SUCCESS else self.failures + bad
            if self.failures >= 5 or outcome is Outcome.FATAL:
                self.state, self.since, self.failures = "open", now, 0


STEPS = st.lists(
    st.one_of(
        st.just(("call", 0, Outcome.SUCCESS)),
        st.tuples(
            st.just("wait"),
            st.sampled_from([1, 10_000_000, 30_000_000, 70_000_000]),
            st.just(Outcome.SUCCESS),
        ),
        st.tuples(
            st.just("record"),
            st.integers(0, 3),
            st.sampled_from([Outcome.FAILURE] * 6 + [Outcome.SUCCESS, Outcome.FATAL, Outcome.NEUTRAL]),
        ),
    ),
    min_size=20,
    max_size=80,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_any_course_follows_the_model(on: Any, steps: list[tuple[str, int, Outcome]]) -> None:
    with suppress(RedisError):  # the server that is away
        on.flushall()
    breaker, clock = make(on)
    model = Model()
    flying: list[tuple[Permit, int]] = []
    for step, amount, outcome in steps:
        if step == "wait":
            clock.at += amount
        elif step == "call":
            permit = breaker.before_call(NAME)
            expected = model.expect(clock.at)
            assert (permit.allowed, permit.probe) == (expected != "refuse", expected == "probe")
            if permit.allowed:
                flying.append((permit, clock.at))
            if permit.probe:
                model.probe, model.probe_at = permit, clock.at
        elif flying:
            permit, started = flying.pop(amount % len(flying))
            breaker.record(permit, outcome)
            model.record(permit, outcome, started, clock.at)
