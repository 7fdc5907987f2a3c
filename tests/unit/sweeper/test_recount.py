"""Valkey loses its data: the next sweep counts every live task again, once, and nothing that has ended."""

from __future__ import annotations

import time
from typing import Any

import pytest

from functions.sweeper import recount as module
from functions.sweeper.recount import recount
from shared import aws, valkey
from shared.clock import day
from shared.errors import DependencyDown
from shared.limits import names, tiers
from shared.limits.admission import Ask, Gate
from shared.tasks import claims, listing, settle, spend, store, table
from shared.tasks.items import DUE_SHARDS, row_key
from shared.tasks.model import Status, Task

RESERVED = 100


@pytest.fixture
def gate(fake_aws: dict[str, str], redis_settings: str) -> Gate:
    assert fake_aws
    assert redis_settings
    valkey.client().flushall()
    return Gate(load_spend=spend.load)


def submitted(task_id: str, user: str = "ann", **fields: Any) -> Task:
    at = time.time()
    task = Task(
        task_id=task_id, user=user, lane="normal", agent="chat", model="m", created=at, day=day(at), tier="standard",
        reserved_tokens=RESERVED, reserved_micro_usd=7, cap_tokens=10_000, **fields,
    )  # fmt: skip
    return store.submit(task, "hello")


def counted(user: str = "ann") -> set[str]:
    return set(valkey.client().hkeys(names.user_keys(user).entries))


def held(user: str = "ann") -> int:
    return int(valkey.client().hget(names.spend_key(user, day(time.time())), "tr") or 0)


def later() -> float:
    return time.time() + 60


def test_a_full_queue_is_full_again_after_the_loss(gate: Gate) -> None:
    limits = tiers.resolve("standard", {"queued": 12, "tokens_per_day": 10_000})
    for n in range(12):
        ask = Ask(user="ann", task_id=f"t{n}", day=day(time.time()), limits=limits, tokens=RESERVED, micro_usd=7)
        assert gate.admit(ask).admitted
        submitted(f"t{n}")
    one_more = Ask(user="ann", task_id="more", day=day(time.time()), limits=limits, tokens=1, micro_usd=0)
    assert gate.admit(one_more).limit == "queued"
    before = valkey.client().hgetall(names.user_keys("ann").entries)
    valkey.client().flushall()
    assert recount(gate, later()) == 12
    assert gate.admit(one_more).limit == "queued"
    assert valkey.client().hgetall(names.user_keys("ann").entries) == before
    assert held() == 12 * RESERVED
    assert valkey.client().zcard(names.OPEN) == 12


def test_whatever_state_a_task_is_in_and_only_once(gate: Gate) -> None:
    for name in ("waiting", "running", "parked", "done"):
        submitted(name, parked=name == "parked")
    running, done = claims.claim("running", 0), claims.claim("done", 0)
    assert isinstance(running, Task)
    assert isinstance(done, Task)
    settle.settle(done, settle.Outcome(status=Status.COMPLETE, response="x"), message="hello")
    assert recount(gate, later()) == 3
    assert counted() == {"waiting", "running", "parked"}
    assert recount(gate, later()) == 0  # marked
    valkey.client().delete(*(names.recount_key(shard) for shard in range(DUE_SHARDS)))
    assert recount(gate, later()) == 3
    assert held() == 3 * RESERVED
    for shard in range(DUE_SHARDS):
        assert 0 < valkey.client().ttl(names.recount_key(shard)) <= module.AGAIN_SECONDS


def test_a_task_that_ends_while_it_is_looked_at_is_not_put_back(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted("t")
    read = table.get_many

    def read_and_end(keys: list[Any]) -> list[Any]:
        rows = read(keys)
        if rows:
            gate.settle("ann", "t", day(time.time()), 5, 1)
        return rows

    monkeypatch.setattr(table, "get_many", read_and_end)
    assert recount(gate, later()) == 1
    assert counted() == set()
    assert held() == 0


def test_many_pages_and_no_time_left(gate: Gate) -> None:
    many = table.READ_AT_ONCE + 1
    for n in range(many):
        submitted(f"t{4 * n:08d}")  # not all of one shard, but hundreds of none
    assert recount(gate, time.time() - 1) == 0
    assert counted() == set()
    assert recount(gate, later()) == many
    assert len(counted()) == many


def test_a_row_that_cannot_be_read_does_not_keep_the_others_out(gate: Gate) -> None:
    damage: dict[str, dict[str, Any]] = {"damaged": {"status": "?"}, "newer": {"v": 99}, "tierless": {"tier": "sold"}}
    for name in (*damage, "good"):
        submitted(name)
    for name, wrong in damage.items():
        table.update(table.update_op(row_key(name), sets=wrong))
    assert recount(gate, later()) == 4
    assert counted() == {"good"}


def test_while_a_service_is_away_nothing_is_marked(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted("t")

    def away(_keys: list[Any]) -> list[Any]:
        raise DependencyDown("dynamodb")

    with monkeypatch.context() as patch:
        patch.setattr(table, "get_many", away)
        recount(gate, later())
    shard = next(n for n in range(DUE_SHARDS) if "t" in next(listing.live(str(n))))
    assert valkey.client().get(names.recount_key(shard)) is None
    monkeypatch.setattr(valkey, "client", lambda: valkey.connect("redis://127.0.0.1:9"))
    assert recount(gate, later()) == 0


def test_what_one_answer_has_no_room_for_is_asked_again(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [row_key(submitted(name).task_id) for name in ("a", "b", "c")]
    client: Any = aws.dynamodb()
    read = client.batch_get_item

    def two_at_most(RequestItems: Any) -> Any:
        ((name, asked),) = RequestItems.items()
        answer = read(RequestItems={name: asked | {"Keys": asked["Keys"][:2]}})
        left = asked["Keys"][2:]
        return answer | {"UnprocessedKeys": {name: asked | {"Keys": left}} if left else {}}

    monkeypatch.setattr(client, "batch_get_item", two_at_most)
    assert len(table.get_many(keys)) == 3
    monkeypatch.setattr(client, "batch_get_item", lambda RequestItems: {
        "Responses": {}, "UnprocessedKeys": RequestItems})  # fmt: skip
    with pytest.raises(DependencyDown):
        table.get_many(keys)
    assert table.get_many([]) == []
