"""Lanes as queues: what is sent is received once it is due, hidden, given back, deleted and counted."""

from __future__ import annotations

import pytest

from shared.errors import DependencyDown
from shared.tasks import lanes

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"


def receive(url: str, *, hidden_s: float = 30) -> list[lanes.Received]:
    return lanes.receive(url, 10, hidden_s=hidden_s)


def test_a_message_comes_back_when_it_is_given_back_and_never_after_it_is_deleted(fake_aws: dict[str, str]) -> None:
    url = fake_aws["normal"]
    lanes.send("normal", "t1", 3, user="ann", trace=TRACE)
    (first,) = receive(url)
    assert lanes.parse(first.body) == lanes.Message("t1", 3)
    assert receive(url) == []
    assert lanes.hide(url, [(first.receipt, 0)]) == []
    (again,) = receive(url)
    lanes.delete(url, [again.receipt])
    assert receive(url, hidden_s=0) == []


def test_lanes_are_apart_and_a_delay_is_kept(fake_aws: dict[str, str]) -> None:
    lanes.send("high", "t1", 0, user="ann")
    lanes.send("normal", "t2", 0, user="ann", delay_s=60)
    lanes.send("normal", "t3", 0, user="ann", delay_s=100_000)  # as long as SQS can wait
    assert [lanes.parse(one.body).task_id for one in receive(fake_aws["high"], hidden_s=0)] == ["t1"]
    assert receive(fake_aws["normal"]) == []
    counts = lanes.backlog(fake_aws["normal"])
    assert (counts["visible"], counts["delayed"]) == (0, 2)


def test_more_than_ten_are_hidden_and_deleted_in_tens(fake_aws: dict[str, str]) -> None:
    url = fake_aws["normal"]
    for n in range(12):
        lanes.send("normal", f"t{n}", 0, user=f"user {n}")
    held = receive(url) + receive(url)
    assert len(held) == 12
    assert lanes.backlog(url)["in_flight"] == 12
    assert lanes.hide(url, [(one.receipt, 90_000) for one in held[:11]]) == []  # bounded to 12 hours
    lanes.delete(url, [one.receipt for one in held])
    assert lanes.backlog(url) == {"visible": 0, "in_flight": 0, "delayed": 0}


@pytest.mark.parametrize("user", ["é" * 300, "a b", "x" * 1000, "tab\t"])
def test_any_user_is_a_group(fake_aws: dict[str, str], user: str) -> None:
    lanes.send("normal", "t1", 0, user=user)
    assert len(receive(fake_aws["normal"])) == 1


def test_a_queue_that_is_gone_is_an_outage(fake_aws: dict[str, str]) -> None:
    assert fake_aws
    with pytest.raises(DependencyDown):
        receive(fake_aws["normal"] + "-gone")
