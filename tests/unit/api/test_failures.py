"""Dependencies that are away: what was promised is kept, what was not is not charged."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from functions.api.system import probes
from shared import aws, valkey
from shared.errors import DependencyDown
from shared.limits.breaker import Breaker, Sign, breaker_name
from shared.settings import settings
from shared.tasks import listing, store
from tests.unit.api.conftest import Api, forget_everything
from tests.unit.api.test_submit import messages
from tests.unit.tables import TABLE
from tests.unit.tables import client as aws_client


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, held so that nobody will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def used(api: Api, who: str = "demo") -> Any:
    return api.get("/limits", who).json()["limits"]["requests"]["used"]


def break_dynamodb(api: Api, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Point DynamoDB at the closed port, the caller's key being remembered."""
    api.submit()
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{port}")
    aws.reset()


def test_dynamodb_away_is_503_and_the_quota_is_untouched(
    api: Api, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    break_dynamodb(api, monkeypatch, closed_port)
    refused = api.submit(message="never")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "dependency_down")
    assert int(refused.headers["retry-after"]) >= 1
    monkeypatch.delenv("AWS_ENDPOINT_URL_DYNAMODB")
    aws.reset()
    limits = api.get("/limits").json()["limits"]
    assert (limits["requests"]["used"], limits["queued"]["used"], limits["running"]["used"]) == (1, 1, 1)
    assert len(messages(api.lanes["normal"])) == 1


def test_a_missing_table_is_503_and_the_quota_is_untouched(api: Api) -> None:
    api.submit()
    aws_client("dynamodb").delete_table(TableName=TABLE)
    assert api.submit().status_code == 503
    assert valkey.client().zcount("{sluice}:user:demo:log", 0, "+inf") == 1
    assert valkey.client().hlen("{sluice}:user:demo:open") == 1


def test_a_lost_answer_of_a_write_that_happened_is_no_refusal(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is written and the answer is lost on its way: the task stands, so the client gets its 202."""
    api.submit()
    written = store.submit

    def lossy(*args: Any, **kwargs: Any) -> Any:
        written(*args, **kwargs)
        raise DependencyDown("dynamodb")

    monkeypatch.setattr(store, "submit", lossy)
    answer = api.submit()
    assert answer.status_code == 202
    assert store.get(answer.json()["task_id"]).user == "demo"
    assert used(api) == 2
    assert len(messages(api.lanes["normal"])) == 2


def test_sqs_away_is_202_and_due_for_the_sweeper_at_once(api: Api) -> None:
    aws_client("sqs").delete_queue(QueueUrl=api.lanes["normal"])
    answer = api.submit()
    assert answer.status_code == 202
    task = store.get(answer.json()["task_id"])
    assert task.reason == "unsent"
    assert any(task.task_id in listing.due(str(n), before=task.created + 5, limit=9) for n in range(4))


def without_redis(monkeypatch: pytest.MonkeyPatch, port: int, mode: str = "degrade") -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{port}")
    monkeypatch.setenv("REDIS_DOWN", mode)
    valkey.reset()
    forget_everything()


def test_redis_away_says_so_and_charges_the_estimate_durably(
    api: Api, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    without_redis(monkeypatch, closed_port)
    answer = api.submit()
    assert (answer.status_code, answer.headers["sluice-degraded"]) == (202, "redis")
    task = store.get(answer.json()["task_id"])
    assert task.precharged_tokens == task.reserved_tokens > 0
    from shared.tasks import spend

    assert spend.load("demo", task.day) == (task.precharged_tokens, task.precharged_micro_usd)
    assert "sluice-degraded" in api.submit("load").headers  # no budget to keep: nothing is charged ahead


def test_redis_away_keeps_the_quota_within_a_tenth(api: Api, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    without_redis(monkeypatch, closed_port)
    statuses = [api.submit().status_code for _ in range(10)]
    assert statuses == [202] * 6 + [429] * 4


def test_redis_away_keeps_a_budget(api: Api, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    without_redis(monkeypatch, closed_port)
    answers = [api.submit("poor") for _ in range(4)]
    assert [a.status_code for a in answers] == [202, 202, 402, 402]
    assert answers[2].json()["error"]["code"] == "insufficient_quota"
    assert 0 < int(answers[2].headers["retry-after"]) <= 86_400


def test_redis_away_may_be_set_to_refuse(api: Api, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    without_redis(monkeypatch, closed_port, "refuse")
    assert api.submit().status_code == 503
    assert listing.list_tasks("demo", limit=10) == ([], None)


def test_reading_needs_neither_redis_nor_sqs(api: Api, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    task_id = api.submit().json()["task_id"]
    without_redis(monkeypatch, closed_port)
    aws_client("sqs").delete_queue(QueueUrl=api.lanes["normal"])
    shown = api.get(f"/result/{task_id}")
    assert (shown.status_code, shown.json()["status"]) == (200, "queued")
    assert api.get("/limits").json()["limits"]["requests"]["used"] is None


def test_health_names_what_is_down(api: Api, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    fine = api.client.get("/health")
    assert (fine.status_code, fine.json()["status"]) == (200, "ok")
    assert set(fine.json()["dependencies"]) == {"dynamodb", "sqs", "redis"}
    without_redis(monkeypatch, closed_port)
    poorly = api.client.get("/health")
    assert (poorly.status_code, poorly.json()["status"]) == (200, "degraded")
    assert poorly.json()["dependencies"]["redis"] == {"status": "down"}
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{closed_port}")
    aws.reset()
    forget_everything()
    down = api.client.get("/health")
    assert (down.status_code, down.json()["status"]) == (503, "down")
    assert down.headers["retry-after"] == "5"
    assert settings().table_name not in down.text
    assert "127.0.0.1" not in down.text


def test_a_client_of_a_service_is_made_before_its_answer_is_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = aws._make

    def note(name: str, **kwargs: Any) -> Any:
        made.append(threading.current_thread().name)
        return make(name, **kwargs)

    monkeypatch.setattr(aws, "_make", note)
    monkeypatch.setattr(aws, "_clients", {})
    probes.dependencies.forget()
    assert api.client.get("/health").json()["status"] == "ok"
    assert len(made) == 2
    assert not [name for name in made if name.startswith("probe")]


def test_health_shows_the_breakers_of_the_deployments_own_models_only(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker, asked = Breaker(), list[int]()
    for model in ("gpt-4o-mini", "ft:gpt-4o:acme-corp:merger"):
        breaker.record(breaker.before_call(breaker_name("", model), "demo"), Sign.FATAL)
    states = Breaker.states
    monkeypatch.setattr(Breaker, "states", lambda self: asked.append(1) or states(self))
    forget_everything()
    monkeypatch.setattr(probes.breaker_states, "_seconds", 60)
    for _ in range(3):
        assert list(api.client.get("/health").json()["breakers"]) == ["api.openai.com/gpt-4o-mini"]
    assert len(asked) == 1  # remembered for a second
    stats = api.get("/stats", "operator").json()["breakers"]
    assert "api.openai.com/ft:gpt-4o:acme-corp:merger" in stats


def test_a_breaker_of_one_owner_is_shown_to_operators_only(api: Api) -> None:
    breaker, name = Breaker(), breaker_name("", "gpt-4o-mini")
    for _ in range(settings().breaker_failures):
        breaker.record(breaker.before_call(name, "demo"), Sign.FAILURE)
    forget_everything()
    assert api.client.get("/health").json()["breakers"][name]["state"] == "closed"
    stats = api.get("/stats", "operator").json()
    assert stats["breakers"][name]["state"] == "closed"
    [shown] = stats["owner_breakers"]
    assert (shown["owner"], shown["name"], shown["state"]) == ("demo", name, "open")


def test_a_submit_costs_one_redis_and_two_aws_round_trips(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        api.submit()  # the key is remembered, the scripts are loaded, the day's spending is read
    calls: list[str] = []
    for client in (aws.dynamodb(), aws.sqs()):
        client.meta.events.register("before-call", lambda model, **_: calls.append(model.name))
    sent = valkey.client().info("commandstats")
    assert api.submit().status_code == 202
    after = valkey.client().info("commandstats")
    assert len(calls) == 2
    scripts = {name: row["calls"] for name, row in after.items() if "eval" in name}
    assert sum(scripts.values()) - sum(row["calls"] for name, row in sent.items() if "eval" in name) == 1


def test_a_webhook_that_nobody_would_send_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_URL_WEBHOOK", "")
    settings.cache_clear()
    refused = api.submit(webhook_url="https://example.com/hook")
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "webhooks_off")
