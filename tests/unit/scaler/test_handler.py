"""The scaler function against SQS and Lambda (moto) and a real Valkey."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from functions.scaler import handler, mappings, measure, state
from shared import aws, valkey
from shared.limits import names
from shared.limits.breaker import Breaker, Sign, breaker_name
from shared.limits.provider import ProviderBudget
from shared.settings import settings
from tests.unit.scaler.conftest import Stack


def test_grows_with_the_backlog_and_only_calls_lambda_for_a_change(
    stack: Stack, with_valkey: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.fill("normal", 60)
    calls: list[dict[str, Any]] = []
    update = aws.lambda_client().update_event_source_mapping

    def counting(**kwargs: Any) -> Any:
        calls.append(kwargs)
        return update(**kwargs)

    monkeypatch.setattr(aws.lambda_client(), "update_event_source_mapping", counting)
    assert stack.tick(0)["targets"] == {"high": 2, "normal": 2}
    assert calls == []
    stack.tick(1)
    assert stack.limits() == {"high": 2, "normal": 6}
    for minute in range(2, 6):
        stack.tick(minute)
    assert stack.limits() == {"high": 2, "normal": 12}
    assert [call["ScalingConfig"]["MaximumConcurrency"] for call in calls] == [6, 10, 12]
    assert {call["UUID"] for call in calls} == {stack.uuids["normal"]}


def test_state_outlives_the_environment_in_valkey(
    stack: Stack, with_valkey: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.fill("high", 30)
    stack.tick(0)
    monkeypatch.setattr(handler, "_memory", state.Memory())
    with_valkey()
    assert stack.tick(1)["targets"]["high"] == 6
    assert valkey.client().ttl(state.KEY) > 3000


def test_without_valkey_it_remembers_by_itself(stack: Stack, no_valkey: None) -> None:
    stack.fill("high", 30)
    assert [stack.tick(minute)["targets"]["high"] for minute in range(3)] == [2, 6, 6]


def test_a_state_that_valkey_lost_is_replaced_by_its_own(stack: Stack, with_valkey: Callable[[], None]) -> None:
    stack.fill("high", 30)
    stack.tick(0)
    valkey.client().delete(state.KEY)
    assert stack.tick(1)["targets"]["high"] == 6


def test_a_repeated_event_does_not_step_twice(stack: Stack, with_valkey: Callable[[], None]) -> None:
    stack.fill("normal", 90)
    stack.tick(0)
    assert [stack.tick(1)["targets"]["normal"] for _ in range(3)] == [6, 6, 6]


def test_an_event_without_a_time_counts_now(stack: Stack, no_valkey: None) -> None:
    assert handler.handler({}, None)["targets"] == {"high": 2, "normal": 2}
    assert handler.handler({"time": "yesterday"}, None)["failed"] == []


def test_a_limit_set_by_somebody_else_is_where_it_starts(stack: Stack, no_valkey: None) -> None:
    stack.functions.update_event_source_mapping(UUID=stack.uuids["normal"], ScalingConfig={"MaximumConcurrency": 900})
    stack.tick(0)
    assert stack.limits()["normal"] == 15


def test_throttling_by_the_provider_lowers_the_limits(stack: Stack, with_valkey: Callable[[], None]) -> None:
    for lane, uuid in stack.uuids.items():
        stack.fill(lane, 100)
        stack.functions.update_event_source_mapping(UUID=uuid, ScalingConfig={"MaximumConcurrency": 10})
    stack.tick(0)
    assert sum(stack.limits().values()) == 18
    budget = ProviderBudget()
    for n in range(40):
        budget.adjust("gpt-4o-mini", 0, 0, throttled=n % 2 == 0)
    stack.tick(1)
    assert sum(stack.limits().values()) <= 9


def test_an_open_breaker_holds_the_default_models_lanes(stack: Stack, with_valkey: Callable[[], None]) -> None:
    stack.fill("normal", 90)
    breaker = Breaker()
    odd = breaker.before_call(breaker_name("", "odd-model"), "ada")
    breaker.record(odd, Sign.FATAL)
    stack.tick(0)
    assert stack.tick(1)["targets"]["normal"] == 6, "an odd model's breaker holds nobody else"
    permit = breaker.before_call(breaker_name("", "gpt-4o-mini"), "ada")
    breaker.record(permit, Sign.FATAL)
    assert stack.tick(2)["targets"]["normal"] == 6


def test_a_breaker_that_nobody_probes_holds_nobody_for_long(
    stack: Stack, with_valkey: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker = Breaker()
    breaker.record(breaker.before_call(breaker_name("", "gpt-4o-mini"), "ada"), Sign.FATAL)
    opened_us = int(time.time() * 1e6)
    half_open_us = opened_us + settings().breaker_open_seconds * 1_000_000

    def seen_at(us: float) -> bool:
        monkeypatch.setattr(measure, "Breaker", lambda: Breaker(now_us=lambda: int(us)))
        return measure._breaker_open()

    assert seen_at(opened_us)
    assert seen_at(half_open_us + 2_000_000)
    assert seen_at(half_open_us + (measure.UNPROBED_SECONDS - 2) * 1e6)
    assert not seen_at(half_open_us + (measure.UNPROBED_SECONDS + 2) * 1e6)


def test_a_lane_that_cannot_be_read_keeps_its_limit(
    stack: Stack, no_valkey: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.fill("normal", 60)
    stack.tick(0)
    stack.sqs.delete_queue(QueueUrl=stack.queues["high"])
    assert stack.tick(1)["targets"] == {"high": 2, "normal": 6}


def test_an_unreadable_mapping_keeps_the_decided_size(
    stack: Stack, no_valkey: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.fill("normal", 60)
    stack.tick(0)
    stack.tick(1)
    stack.functions.delete_event_source_mapping(UUID=stack.uuids["normal"])
    assert stack.tick(2)["targets"]["normal"] == 10


def test_shrinking_comes_first_and_its_failure_stops_growth(
    stack: Stack, no_valkey: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def refusing(**kwargs: Any) -> Any:
        order.append(kwargs["UUID"])
        raise ClientError({"Error": {"Code": "ResourceInUseException"}}, "UpdateEventSourceMapping")

    stack.fill("high", 90)
    stack.functions.update_event_source_mapping(UUID=stack.uuids["normal"], ScalingConfig={"MaximumConcurrency": 900})
    stack.tick(0)
    stack.functions.update_event_source_mapping(UUID=stack.uuids["normal"], ScalingConfig={"MaximumConcurrency": 900})
    monkeypatch.setattr(aws.lambda_client(), "update_event_source_mapping", refusing)
    assert stack.tick(1)["failed"] == ["normal", "high"]
    assert order == [stack.uuids["normal"]]


def test_without_mappings_it_only_watches(stack: Stack, no_valkey: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.settings import settings

    monkeypatch.setenv("ESM_UUID_HIGH", "")
    monkeypatch.setenv("ESM_UUID_NORMAL", "")
    settings.cache_clear()
    assert mappings.uuids() == {}
    assert stack.tick(0)["failed"] == []


def test_publishes_backlog_age_desired_and_actual(
    stack: Stack, no_valkey: None, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.fill("normal", 12)
    stack.tick(0)
    capsys.readouterr()
    stack.tick(1)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    normal = next(line for line in lines if line.get("lane") == "normal")
    assert {name: normal[name] for name in ("Backlog", "BacklogAge", "DesiredReplicas")} == {
        "Backlog": 12.0,
        "BacklogAge": 60.0,
        "DesiredReplicas": 3.0,
    }
    assert (normal["TargetReplicas"], normal["ActualReplicas"]) == (3.0, 2.0)
    units = {metric["Name"]: metric["Unit"] for metric in normal["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert units["BacklogAge"] == "Seconds"
    assert any("ReplicaCeiling" in line for line in lines)


def test_its_key_is_not_one_of_the_limits(with_valkey: Callable[[], None]) -> None:
    assert not state.KEY.startswith((names.INGRESS, names.OPEN))


def test_goes_on_while_valkey_is_down(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, valkey_server_factory: Any
) -> None:
    from shared.settings import settings

    server = valkey_server_factory()
    monkeypatch.setenv("REDIS_URL", server.connection_url.replace("valkey://", "redis://"))
    settings.cache_clear()
    valkey.reset()
    stack.fill("normal", 60)
    stack.tick(0)
    server.stop()
    assert [stack.tick(minute)["targets"]["normal"] for minute in (1, 2)] == [6, 10]
    valkey.reset()
