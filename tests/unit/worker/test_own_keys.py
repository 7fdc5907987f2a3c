"""Runs of a user with a key of their own: called with it, paid by it, and nobody else's concern."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.recount import recount
from functions.worker.environment.environment import environment
from functions.worker.model import own
from shared import aws, credentials, secrets
from shared.limits import names
from shared.settings import settings
from shared.tasks import costs, days, spend, store, table
from shared.tasks.model import Status, Task
from tests.unit.worker.conftest import World
from tests.unit.worker.raw_provider import RawProvider, delta, raw_provider, refused, sse

KEY = "sk-of-anns-own-account-1234"
DONE = sse(
    delta("hello"), delta(finish="stop"), {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4}}
)


@pytest.fixture
def theirs(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawProvider]:
    """Yield ann's provider."""
    assert world
    monkeypatch.setenv("WEBHOOK_SECRET", "of the tests")
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "true")
    settings.cache_clear()
    secrets.forget()
    own.forget()
    with raw_provider() as made:
        made.answers = [DONE]
        yield made
        if own._guarded.cache_info().currsize:
            world.runner.run(own._guarded().aclose())
    own.forget()


def base(provider: RawProvider) -> str:
    return provider.url


def run(world: World, text: str = "[[sim key=ours words=5 latency=0]] hi", **changes: object) -> Task:
    task = world.submit(text, **changes)
    world.work_until_quiet()
    return store.get(task.task_id)


def test_a_run_calls_with_its_users_own_key_and_costs_tokens_only(world: World, theirs: RawProvider) -> None:
    credentials.put("ann", KEY, base(theirs))
    row = run(world, key_id="k1")
    assert (row.status, theirs.keys) == (Status.COMPLETE, [f"Bearer {KEY}"])
    assert (row.input_tokens, row.output_tokens, row.micro_usd) == (10, 4, 0)
    assert spend.load("ann", row.day) == (14, 0)
    other = run(world, user="bob")
    assert (other.status, other.micro_usd > 0, len(theirs.keys)) == (Status.COMPLETE, True, 1)
    assert world.calls("ours")["started"] == 1


def test_a_budget_of_money_does_not_count_what_sluice_does_not_pay(world: World, theirs: RawProvider) -> None:
    credentials.put("ann", KEY, base(theirs))
    row = run(world, cap_micro_usd=1, reserved_tokens=0, reserved_micro_usd=0)
    assert row.status is Status.COMPLETE, row.error
    row = run(world, cap_tokens=20, reserved_tokens=0, reserved_micro_usd=0)
    assert row.error is not None
    assert row.error["code"] == "insufficient_quota"


def test_a_services_user_has_their_own_key_or_the_services(world: World, theirs: RawProvider) -> None:
    credentials.put("svc", "sk-of-the-service", base(theirs))
    credentials.put("svc/u1", "sk-of-the-user-1", base(theirs))
    for user in ("svc/u1", "svc/u2"):
        assert run(world, user=user).status is Status.COMPLETE
    assert theirs.keys == ["Bearer sk-of-the-user-1", "Bearer sk-of-the-service"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_fails_its_owners_run_and_opens_nobodys_breaker(
    world: World, theirs: RawProvider, status: int
) -> None:
    theirs.answers = [refused(status, {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid"}})]
    credentials.put("ann", KEY, base(theirs))
    row = run(world)
    assert row.error is not None
    assert (row.status, row.error["code"], row.attempt) == (Status.FAILED, "credentials_refused", 0)
    assert KEY not in str(row.error)
    assert "1234" in row.error["message"]
    assert environment().breaker.states() == []
    assert run(world, user="bob").status is Status.COMPLETE


def test_failures_of_an_own_provider_are_tried_again_and_are_nobody_elses(world: World, theirs: RawProvider) -> None:
    theirs.answers = [refused(500, {"error": {"message": f"we lost {KEY}"}}), DONE]
    credentials.put("ann", KEY, base(theirs))
    row = run(world)
    assert (row.status, len(theirs.asked)) == (Status.COMPLETE, 2)
    assert environment().breaker.states() == []


def test_a_shared_breaker_that_is_open_does_not_stop_an_own_key(world: World, theirs: RawProvider) -> None:
    row = run(world, "[[sim fail=401]] hi", user="bob")
    assert row.status is not Status.COMPLETE or row.error
    credentials.put("ann", KEY, base(theirs))
    assert run(world).status is Status.COMPLETE


def test_a_private_address_is_not_called(world: World, theirs: RawProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.put("ann", KEY, base(theirs))
    monkeypatch.setenv("ALLOW_PRIVATE_ADDRESSES", "false")
    settings.cache_clear()
    row = run(world)
    assert row.error is not None
    assert (row.error["code"], theirs.asked) == ("credentials_refused", [])


def test_no_key_is_in_any_row_line_or_event(
    world: World, theirs: RawProvider, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    theirs.answers = [refused(500, {"error": {"message": f"we lost {KEY}"}}), refused(401, {"error": {"message": KEY}})]
    credentials.put("ann", KEY, base(theirs))
    run(world)
    rows = aws.dynamodb().scan(TableName=settings().table_name)["Items"]
    assert any("CREDENTIALS#ann" in str(row["pk"]) for row in rows)
    assert KEY not in str(rows)
    assert KEY[4:-4] not in str(rows)
    out, err = capfd.readouterr()
    assert KEY not in out + err + caplog.text
    assert KEY not in repr(credentials.of_user("ann"))


def test_a_key_whose_secret_is_gone_fails_the_run_clearly(
    world: World, theirs: RawProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials.put("ann", KEY, base(theirs))
    monkeypatch.setenv("WEBHOOK_SECRET", "another,of the tests")  # rotated, the old one still in force
    settings.cache_clear()
    credentials.forget()
    assert run(world).status is Status.COMPLETE
    monkeypatch.setenv("WEBHOOK_SECRET", "another")
    settings.cache_clear()
    credentials.forget()
    row = run(world)
    assert row.error is not None
    assert (row.status, row.error["code"]) == (Status.FAILED, "credentials_unreadable")


def test_a_call_with_an_own_key_takes_no_place_in_the_shared_providers_budget(
    world: World, theirs: RawProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared import valkey

    monkeypatch.setenv("PROVIDER_RPM", "1000")
    settings.cache_clear()
    credentials.put("ann", KEY, base(theirs))
    assert run(world).status is Status.COMPLETE
    assert not valkey.client().exists(names.PROVIDER_RPM)
    assert run(world, user="bob").status is Status.COMPLETE
    assert valkey.client().keys("{sluice:provider}*")


PRICES = {"gpt-4o-mini": {"input": 100.0, "output": 1000.0}, "*": {"input": 1.0, "output": 2.0}}
"""Ten tokens in and four out then cost 5,000 micro-USD."""


def counters(user: str, day: str) -> tuple[int, int]:
    """Return what a day's costs say, and what its ceilings bear."""
    row = table.get(costs.key(user, day))
    assert row is not None
    return costs.total(row).micro_usd, spend.load(user, day)[1]


def test_a_price_of_ones_own_is_what_a_run_costs_and_no_ceiling_of_a_day_bears_it(
    world: World, theirs: RawProvider
) -> None:
    credentials.put("ann", KEY, base(theirs), prices=PRICES)
    row = run(world, cap_micro_usd=1, reserved_tokens=0, reserved_micro_usd=0)
    assert (row.status, row.micro_usd) == (Status.COMPLETE, 5_000), row.error
    assert counters("ann", row.day) == (5_000, 0)
    by_model = costs.of_row(table.get(costs.key("ann", row.day)) or {}, "model")
    assert by_model[days.own("gpt-4o-mini")] == costs.Cost(14, 5_000, 0)
    other = run(world, model="gpt-4o")
    assert other.micro_usd == 18
    assert counters("ann", row.day) == (5_018, 0)
    assert recount(row.day, row.day) == (2, [])


@pytest.mark.parametrize(("ceiling", "complete"), [(4.0, True), (0.0004, False)])
def test_a_runs_own_ceiling_counts_a_price_of_ones_own(
    world: World, theirs: RawProvider, ceiling: float, complete: bool
) -> None:
    credentials.put("ann", KEY, base(theirs), prices=PRICES)
    row = run(world, params={"max_cost_usd": ceiling, "max_output_tokens": 10})
    assert (row.status is Status.COMPLETE, bool(theirs.asked)) == (complete, complete)
    if not complete:
        assert row.error is not None
        assert row.error["code"] == "insufficient_quota"


def test_cached_input_has_a_price_of_its_own_where_one_is_given(world: World, theirs: RawProvider) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}
    theirs.answers = [sse(delta("hello"), delta(finish="stop"), {"choices": [], "usage": usage})]
    for cached, cost in (({"cached": 10.0}, 200 + 80 + 4_000), ({}, 5_000)):
        credentials.put("ann", KEY, base(theirs), prices={"*": PRICES["gpt-4o-mini"] | cached})
        assert run(world).micro_usd == cost


@pytest.mark.parametrize(("rate", "taken"), [(1, 1), (1000, 3)])
def test_a_rate_of_ones_own_is_kept_by_all_of_ones_runs_together(
    world: World, theirs: RawProvider, rate: int, taken: int
) -> None:
    credentials.put("ann", KEY, base(theirs), requests_per_minute=rate)
    ids = [world.submit("hi").task_id for _ in range(3)]
    while records := world.receive("normal"):  # those that are deferred come a minute later
        world.invoke(records, seconds=60)
    rows = [store.get(task_id) for task_id in ids]
    assert len(theirs.asked) == taken
    assert [row.reason for row in rows if row.status is not Status.COMPLETE] == ["provider_budget"] * (3 - taken)
    other = world.submit("[[sim words=5 latency=0]] hi", user="bob")
    while records := world.receive("normal"):
        world.invoke(records, seconds=60)
    assert store.get(other.task_id).status is Status.COMPLETE
