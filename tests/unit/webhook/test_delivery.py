"""Deliveries: at least once, under one id, tried for a day, and never to where they must not go."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from functions.webhook import deliver, desk, handler, post, schedule
from localstack.receiver import Receiver
from shared import aws, netguard, webhooks
from shared.clock import day
from shared.errors import DependencyDown, NotFound
from shared.netguard import Forbidden
from shared.settings import settings
from shared.tasks import claims, inbox, settle, store, waits
from shared.tasks.events import Event
from shared.tasks.model import Status, Task, dumps
from shared.tasks.waits import Wait
from tests.unit.webhook.conftest import Hooks


def test_what_a_webhook_says(hooks: Hooks) -> None:
    with Receiver() as receiver:
        params = {"webhook_url": receiver.url, "metadata": {"order": "7"}}
        task = hooks.ended(receiver.url, params=params, session_id="s1")
        hooks.run()
        body = receiver.deliveries[0].body
    data = body["data"]
    assert body["type"] == "task.complete"
    assert body["timestamp"].endswith("Z")
    assert (data["task_id"], data["status"], data["session_id"]) == (task.task_id, "complete", "s1")
    assert data["result"]["response"] == "é done"
    assert data["metadata"] == {"order": "7"}
    assert data["usage"]["total_tokens"] == 0
    assert "error" not in data
    assert "key_id" not in json.dumps(body)


@pytest.mark.parametrize(
    ("outcome", "event"),
    [
        (settle.Outcome(status=Status.COMPLETE, response="x"), "ResponseCompletedWebhookEvent"),
        (
            settle.Outcome(status=Status.COMPLETE, response="x", data={"finish_reason": "length"}),
            "ResponseIncompleteWebhookEvent",
        ),
        (settle.Outcome(status=Status.FAILED, error={"code": "x", "message": "no"}), "ResponseFailedWebhookEvent"),
        (settle.Outcome(status=Status.CANCELLED), "ResponseCancelledWebhookEvent"),
    ],
)
def test_openais_client_reads_a_webhook_of_its_own_dialect(hooks: Hooks, outcome: settle.Outcome, event: str) -> None:
    with Receiver() as receiver:
        task = hooks.ended(receiver.url, outcome, params={"webhook_url": receiver.url, "dialect": "responses"})
        hooks.run()
        (delivery,) = receiver.deliveries
    body, at = dumps(delivery.body).encode(), int(time.time())
    secret = webhooks.secret_for(task.key_id)
    headers = {
        "webhook-id": delivery.id,
        "webhook-timestamp": str(at),
        "webhook-signature": webhooks.sign(secret, delivery.id, at, body),
    }
    read = openai.OpenAI(api_key="x").webhooks.unwrap(body, headers, secret=secret)
    assert type(read).__name__ == event
    assert delivery.body["data"] == {"id": f"resp_{task.task_id}"}


def test_a_failed_and_a_cancelled_task_are_told_of_too(hooks: Hooks) -> None:
    with Receiver() as receiver:
        failed = settle.Outcome(status=Status.FAILED, error={"code": "x", "message": "no"})
        hooks.ended(receiver.url, failed)
        hooks.ended(receiver.url, settle.Outcome(status=Status.CANCELLED))
        hooks.run()
        bodies = {delivery.type: delivery.body["data"] for delivery in receiver.deliveries}
    assert bodies["task.failed"]["error"] == {"code": "x", "message": "no"}
    assert bodies["task.cancelled"]["metadata"] == {}
    assert "result" not in bodies["task.cancelled"]


def test_a_response_too_long_for_a_webhook_is_left_to_the_result(hooks: Hooks) -> None:
    with Receiver() as receiver:
        for length in (post.RESPONSE_BYTES, post.RESPONSE_BYTES + 1):
            hooks.ended(receiver.url, settle.Outcome(status=Status.COMPLETE, response="x" * length))
        hooks.run()
        results = [delivery.body["data"]["result"] for delivery in receiver.deliveries]
    assert sorted(len(result["response"] or "") for result in results) == [0, post.RESPONSE_BYTES]
    assert [result["truncated"] for result in results if not result["response"]] == [True]


def test_data_too_long_for_a_webhook_is_left_to_the_result(hooks: Hooks) -> None:
    with Receiver() as receiver:
        for more in (0, 1):
            data = {"x": "y" * (post.RESPONSE_BYTES - len('{"x":""}') + more)}
            hooks.ended(receiver.url, settle.Outcome(status=Status.COMPLETE, response="whole", data=data))
        hooks.run()
        results = [delivery.body["data"]["result"] for delivery in receiver.deliveries]
    assert sorted(result.get("truncated", False) for result in results) == [False, True]
    for result in results:
        assert (result["data"] is None) == result.get("truncated", False)
        assert result["response"] == "whole"


def test_a_task_without_a_webhook_sends_nothing(hooks: Hooks) -> None:
    hooks.ended("", params={})
    assert hooks.waiting() == {"visible": 0, "delayed": 0}


def test_a_refused_delivery_is_recorded_and_tried_again_with_the_same_id(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FIRST_DELAY_SECONDS", 600.0)  # none comes back while the others are delivered
    for n, answer in enumerate((301, 302, 307, 400, 404, 429, 500, 503), 1):
        with Receiver(answer=answer) as receiver:
            task = hooks.ended(receiver.url)
            hooks.run()
            found = hooks.record(task)
            assert found is not None
            assert (found["status"], found["last_status"], found["attempts"]) == ("waiting", answer, 1)
            assert found["ttl"] > found["at"]
            assert hooks.waiting() == {"visible": 0, "delayed": n}
            receiver.answer = 200
            second = {"v": 1, "task_id": task.task_id, "type": "task.complete", "url": receiver.url, "attempt": 2}
            assert deliver.see_to(json.dumps(second | {"first": found["at"], "due": found["at"]})) == "delivered"
            assert {delivery.id for delivery in receiver.deliveries} == {webhooks.message_id(task)}
        found = hooks.record(task)
        assert found is not None
        assert (found["status"], found["last_status"], found["attempts"]) == ("delivered", 200, 2)
        assert "last_error" not in found


def test_gone_means_no_more(hooks: Hooks) -> None:
    with Receiver(answer=410) as receiver:
        task = hooks.ended(receiver.url)
        hooks.run()
    found = hooks.record(task)
    assert found is not None
    assert (found["status"], found["last_status"]) == ("given_up", 410)
    assert hooks.waiting() == {"visible": 0, "delayed": 0}


def test_a_receiver_that_is_down_is_tried_again(hooks: Hooks) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        task = hooks.ended(f"http://127.0.0.1:{free.getsockname()[1]}/")
        hooks.run()
    found = hooks.record(task)
    assert found is not None
    assert found["status"] == "waiting"
    assert found["last_error"].startswith("ConnectError")
    assert "last_status" not in found


@pytest.fixture
def dripping() -> Iterator[str]:
    """Serve one client a header line now and then, for ever."""
    stop = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = server.accept()
        with connection:
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not stop.wait(0.05):
                    connection.sendall(b"x: y\r\n")
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    stop.set()
    thread.join()
    server.close()


def test_a_receiver_that_answers_byte_by_byte_is_left_at_the_time_limit(
    hooks: Hooks, dripping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "TIMEOUT_SECONDS", 0.5)
    task = hooks.ended(dripping)
    hooks.run()
    found = hooks.record(task)
    assert found is not None
    assert found["status"] == "waiting"
    assert found["last_error"].startswith("ReadTimeout")


def _play(hooks: Hooks, task_url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], str, Any]:
    """Run the whole life of one delivery on a clock of its own; returns when it was tried, s from the first time."""
    clock = {"now": 0.0}
    for module in (deliver, webhooks):
        monkeypatch.setattr(module, "now", lambda: clock["now"])
    queue: list[tuple[float, str]] = []

    def send_message(*, MessageBody: str, DelaySeconds: int, **_: Any) -> None:
        assert 0 <= DelaySeconds <= 900
        queue.append((clock["now"] + DelaySeconds, MessageBody))

    monkeypatch.setattr(aws.sqs(), "send_message", send_message)
    task = hooks.ended(task_url)
    tried: list[float] = []
    while True:
        queue.sort()
        clock["now"], body = queue.pop(0)
        outcome = deliver.see_to(body)
        if outcome != "early":
            tried.append(clock["now"])
        if outcome not in ("early", "waiting", "postponed"):
            assert queue == []
            return tried, outcome, task


def test_tries_go_on_for_a_day_and_then_end(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver(answer=500) as receiver:
        tried, outcome, task = _play(hooks, receiver.url, monkeypatch)
        assert len(receiver.deliveries) == len(tried)
        assert {delivery.id for delivery in receiver.deliveries} == {webhooks.message_id(task)}
    assert outcome == "given_up"
    assert schedule.GIVE_UP_SECONDS <= tried[-1] < schedule.GIVE_UP_SECONDS + 2
    # The last one is due at the end of the day; its message may come a second early, and then there is one more.
    before = [at for at in tried if at < schedule.GIVE_UP_SECONDS - 2]
    assert len(tried) - len(before) <= 2
    for n, gap in enumerate(later - earlier for earlier, later in itertools.pairwise(before)):
        planned = min(schedule.FIRST_DELAY_SECONDS * 2**n, schedule.MAX_DELAY_SECONDS)
        assert planned <= gap <= planned * (1 + schedule.JITTER) + 1
    found = hooks.record(task)
    assert found is not None
    assert (found["status"], found["attempts"], found["last_status"]) == ("given_up", len(tried), 500)


def test_a_receiver_says_how_long_to_wait(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver(answer=503) as receiver:
        receiver.headers["retry-after"] = "600"
        tried, _, _ = _play(hooks, receiver.url, monkeypatch)
    assert tried[1] - tried[0] == pytest.approx(600, abs=2)


@pytest.mark.parametrize(
    ("asked", "waited"), [(3.0, 5.0), (899.0, 899.0), (900.0, 900.0), (901.0, 900.0), (86_400.0, 900.0)]
)
def test_how_long_a_receiver_may_have_the_next_try_wait(asked: float, waited: float) -> None:
    assert schedule.MOST_ASKED_SECONDS == 900.0
    assert schedule.next_try(1, 0.0, 10.0, asked, lambda: 0.0) == 10.0 + waited


@pytest.mark.parametrize(("at", "left"), [(86_399.0, 1.0), (86_400.0, None), (90_000.0, None)])
def test_the_end_of_the_day(at: float, left: float | None) -> None:
    due = schedule.next_try(3, 0.0, at, None, lambda: 0.5)
    assert (due - at if due else None) == left


def test_a_repeated_message_is_not_delivered_again(hooks: Hooks) -> None:
    with Receiver() as receiver:
        task = hooks.ended(receiver.url)
        records = hooks.take()
        hooks.run(*records)
        hooks.run(*records)
        webhooks.enqueue(task)
        hooks.run()
        assert len(receiver.deliveries) == 1
    with Receiver(answer=500) as receiver:
        hooks.ended(receiver.url)
        records = hooks.take()
        hooks.run(*records)
        hooks.run(*records)
        assert len(receiver.deliveries) == 1
        assert hooks.waiting()["delayed"] == 1


def test_an_outage_of_the_table_is_waited_out_and_is_no_try(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    real, outages = store.get, iter([True] * 20)

    def get(task_id: str) -> Any:
        if next(outages, False):
            raise DependencyDown("dynamodb")
        return real(task_id)

    monkeypatch.setattr(store, "get", get)
    with Receiver() as receiver:
        tried, outcome, task = _play(hooks, receiver.url, monkeypatch)
        assert len(receiver.deliveries) == 1
    assert (outcome, len(tried)) == ("delivered", 21)
    found = hooks.record(task)
    assert found is not None
    assert found["attempts"] == 1


def test_what_was_delivered_is_not_repeated_because_it_cannot_be_recorded(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object, **__: object) -> None:
        raise DependencyDown("dynamodb")

    monkeypatch.setattr(deliver.record, "write", write)
    with Receiver() as receiver:
        hooks.ended(receiver.url)
        assert hooks.run() == []
        assert len(receiver.deliveries) == 1
    assert hooks.waiting() == {"visible": 0, "delayed": 0}


def test_when_the_next_try_cannot_be_sent_the_message_comes_back(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver(answer=500) as receiver:
        task = hooks.ended(receiver.url)
        records = hooks.take()
        monkeypatch.setenv("QUEUE_URL_WEBHOOK", hooks.queue + "-none")
        settings.cache_clear()
        assert hooks.run(*records) == [records[0]["messageId"]]
    assert hooks.record(task) is None
    with pytest.raises(DependencyDown):
        webhooks.enqueue(task)


def test_an_erased_task_is_not_told_of(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: str) -> Any:
        raise NotFound("no such task")

    with Receiver() as receiver:
        task = hooks.ended(receiver.url)
        monkeypatch.setattr(store, "get", gone)
        assert hooks.run() == []
        assert receiver.deliveries == []
    assert hooks.record(task) is None


def test_without_a_secret_nothing_is_sent_and_the_record_says_why(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBHOOK_SECRET")
    settings.cache_clear()
    with Receiver() as receiver:
        task = hooks.ended(receiver.url)
        assert hooks.run() == []
        assert receiver.deliveries == []
    found = hooks.record(task)
    assert found is not None
    assert found["status"] == "refused"
    assert "WEBHOOK_SECRET" in found["last_error"]


def test_unreadable_messages_are_kept_for_the_dead_letter_queue(hooks: Hooks) -> None:
    bodies = ("", "{}", "[]", "null", '{"v":2}', '{"v":1,"task_id":"t"}', "[" * 100_000, '{"v":1,"attempt":"x"}')
    bad = [{"messageId": f"bad{n}", "body": body} for n, body in enumerate(bodies)]
    with Receiver() as receiver:
        hooks.ended(receiver.url)
        assert hooks.run(*bad, *hooks.take()) == [record["messageId"] for record in bad]
        assert len(receiver.deliveries) == 1


def test_a_defect_met_by_one_message_does_not_repeat_the_others(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    real = handler.see_to

    def see_to(body: str) -> str:
        return str(1 // 0) if body == "defect" else real(body)

    monkeypatch.setattr(handler, "see_to", see_to)
    with Receiver() as receiver:
        hooks.ended(receiver.url)
        assert hooks.run({"messageId": "m", "body": "defect"}, *hooks.take()) == ["m"]
        assert len(receiver.deliveries) == 1


# ---- on AWS settings


def _assert_refused(hooks: Hooks, url: str) -> None:
    task = hooks.ended(url)
    assert hooks.run() == []
    found = hooks.record(task)
    assert found is not None
    assert (found["status"], found["attempts"]) == ("refused", 1)
    assert found["last_error"].startswith("refused: ")
    assert hooks.waiting() == {"visible": 0, "delayed": 0}


def test_private_addresses_and_http_are_refused(on_aws: Hooks) -> None:
    for url in (
        "https://127.0.0.1/", "https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://[fd00:ec2::254]/",
        "https://[::ffff:127.0.0.1]/", "https://10.0.0.1:8443/", "https://2130706433/", "https://0x7f.1/",
        "https://localhost/", "http://example.com/", "https://u@example.com/", "https://example.com:22/",
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            webhooks.check_target(url)
        _assert_refused(on_aws, url)


def test_a_name_with_a_private_address_is_refused(on_aws: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    for addresses in (["127.0.0.1"], ["169.254.169.254"], ["8.8.8.8", "10.0.0.1"], ["::ffff:7f00:1"]):
        monkeypatch.setattr(netguard, "resolve", lambda _host, _port, found=addresses: found)
        _assert_refused(on_aws, "https://innocent.example/hook")


def test_a_redirect_to_a_private_address_is_not_followed(hooks: Hooks) -> None:
    with Receiver() as inner, Receiver(answer=302) as outer:
        outer.headers["location"] = inner.url
        hooks.ended(outer.url)
        hooks.run()
        assert len(outer.deliveries) == 1
        assert inner.deliveries == []


def wait(url: str) -> Task:
    """Let a task wait for a signal, as a worker does."""
    at = time.time()
    task = Task(
        task_id=f"task_{at:.6f}_w", user="ann", lane="normal", agent="chat", model="m", created=at, day=day(at),
        key_id="k1", params={"webhook_url": url},
    )  # fmt: skip
    store.submit(task, "hello")
    held = claims.claim(task.task_id, 0)
    assert isinstance(held, Task)
    one = Wait(kind="signal", name="go", nth=1, since=at, until=at + 3600)
    assert waits.suspend(held, [one], [Event("waiting", at)], ends_at=at + 1e6)
    return held


def test_a_wait_is_told_of_once_and_its_end_all_the_same(hooks: Hooks) -> None:
    with Receiver() as receiver:
        task = wait(receiver.url)
        assert store.get(task.task_id).untold
        webhooks.tell_waiting(task)
        hooks.run()
        webhooks.tell_waiting(task)  # by the sweeper, too: it could not know
        hooks.run()
        assert [one.body["type"] for one in receiver.deliveries] == ["task.waiting"]
        assert receiver.deliveries[0].body["data"]["waiting_for"][0]["name"] == "go"
        settle.cancel(task.task_id, "ann")
        webhooks.enqueue(store.get(task.task_id))
        hooks.run()
    assert [one.body["type"] for one in receiver.deliveries] == ["task.waiting", "task.cancelled"]
    assert len({one.id for one in receiver.deliveries}) == 2


def test_a_wait_that_is_over_is_not_told_of(hooks: Hooks) -> None:
    with Receiver() as receiver:
        task = wait(receiver.url)
        webhooks.tell_waiting(task)
        assert inbox.post(task.task_id, "go", 1).woken
        assert hooks.run() == []
        assert receiver.deliveries == []


def test_silent_receivers_of_one_owner_delay_nobody_elses(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    """One invocation, thirty receivers that do not answer until the other owner's has been served."""
    served = threading.Event()
    posted: list[str] = []

    def answered(task: Task, url: str, *_: object) -> post.Answer:
        posted.append(task.user)
        if task.user.startswith("svc/"):
            assert served.wait(60), "the other's delivery waited for these"
        else:
            served.set()
        return post.Answer(200)

    monkeypatch.setattr(deliver, "post", answered)
    silent = [hooks.ended(f"https://r{n}.example.org/", user=f"svc/u{n}") for n in range(30)]
    first = hooks.take()
    other = hooks.ended("https://other.example.org/", user="other")

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 60_000

    answer = handler.handler({"Records": first}, Context())
    assert answer == {"batchItemFailures": []}
    assert served.is_set()
    assert hooks.record(other) is not None
    assert posted.index("other") <= desk.CAPACITY
    assert len([task for task in silent if hooks.record(task)]) + sum(hooks.waiting().values()) >= 30
