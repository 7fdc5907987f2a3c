"""Slots of a lane, shared among owners."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.limits import names
from shared.limits.lane import (
    DRAINING_KEPT_S,
    DRAINING_SAID_S,
    GRACE_S,
    HAND_S,
    LIMIT_KEPT_S,
    STUCK_S,
    Draining,
    Lanes,
)
from tests.examples import examples
from tests.unit.limits.helpers import DAY, Clock, Ledger, ask, gate, limits

FREE = limits()


class World:
    """A gate and its lanes on one clock."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.clock = Clock()
        self.gate = gate(client, self.clock, ledger=Ledger())
        self.lanes = Lanes(on=client, now_us=self.clock)

    def submit(self, user: str, *tasks: str, **more: Any) -> None:
        for task in tasks:
            assert self.gate.admit(ask(task, limits(**more), user=user)).admitted

    def start(self, user: str, *tasks: str, running: int = 0) -> None:
        for task in tasks:
            assert self.gate.take_slot(user, task, running, 60, lane="normal", starts=True)

    def use(self, owner: str) -> int:
        return int(self.client.zscore("{sluice}:lane:normal:use", owner) or 0)


@pytest.fixture
def world(any_valkey: Any) -> World:
    return World(any_valkey)


def tasks(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{n}" for n in range(count)]


def test_a_task_that_nobody_takes_is_due_after_a_moment(world: World) -> None:
    world.submit("ada", "1")
    assert world.lanes.look("normal", 5).due == 0
    world.clock.forward(GRACE_S + 0.01)
    assert world.lanes.look("normal", 5).due == 1
    assert world.lanes.look("high", 5).due == 0
    world.start("ada", "1")
    assert world.lanes.look("normal", 5).due == 0
    assert world.use("ada") == 1
    world.gate.settle("ada", "1", DAY, 0, 0)
    assert world.use("ada") == 0


def test_who_has_less_is_handed_a_free_slot_by_name(world: World) -> None:
    world.submit("svc/a", *tasks("s", 9))
    world.start("svc/a", *tasks("s", 5))
    world.submit("other", "o")
    world.clock.forward(1)
    look = world.lanes.look("normal", 1)
    assert look.picks == ("o",)
    assert world.lanes.look("normal", 1).picks == ()  # it is handed out once
    world.start("other", "o")
    assert world.use("other") == 1


def test_of_even_shares_the_queue_decides_unless_it_has_nothing(world: World) -> None:
    world.submit("ada", "1", "2")
    world.start("ada", "1")
    world.clock.forward(STUCK_S + 0.1)
    assert world.lanes.look("normal", 1).picks == ()
    assert world.lanes.look("normal", 1, queue_empty=True).picks == ("2",)


def test_owners_with_two_more_than_one_that_waits_owe_a_slot(world: World) -> None:
    """20 slots, filled by a service; one run of another gets the first that comes to its next step."""
    world.submit("svc/a", *tasks("s", 30))
    world.start("svc/a", *tasks("s", 20))
    world.submit("other", "o")
    world.clock.forward(1)
    assert world.lanes.look("normal", 0).owing == {"svc"}
    assert world.lanes.give_back("normal", "svc/a", "s3") == "o"
    assert (world.use("svc"), world.use("other")) == (19, 1)
    assert world.lanes.give_back("normal", "svc/a", "s4") is None  # one was owed
    assert world.lanes.look("normal", 0).owing == frozenset()


def test_giving_back_ends_at_even_shares(world: World) -> None:
    world.submit("svc/a", *tasks("s", 10))
    world.start("svc/a", *tasks("s", 10))
    world.submit("other", *tasks("o", 10))
    world.clock.forward(1)
    given_ = [world.lanes.give_back("normal", "svc/a", f"s{n}") for n in range(10)]
    assert [one for one in given_ if one] == tasks("o", 5)
    assert (world.use("svc"), world.use("other")) == (5, 5)


def test_the_own_tasks_of_an_owner_are_owed_nothing(world: World) -> None:
    world.submit("svc/a", *tasks("s", 10))
    world.start("svc/a", *tasks("s", 5))
    world.clock.forward(1)
    assert world.lanes.look("normal", 0).owing == frozenset()
    assert world.lanes.give_back("normal", "svc/b", "s1") is None


def test_one_that_was_handed_out_and_never_started_holds_no_slot_for_long(world: World) -> None:
    world.submit("svc/a", *tasks("s", 3))
    world.start("svc/a", *tasks("s", 3))
    world.submit("other", "o")
    world.clock.forward(1)
    assert world.lanes.give_back("normal", "svc/a", "s0") == "o"
    world.clock.forward(HAND_S + 1)
    world.lanes.look("normal", 0)
    assert world.use("other") == 0


@pytest.mark.parametrize("by", ["look", "give_back"])
def test_one_that_was_handed_out_and_never_claimed_waits_again_in_its_old_place(world: World, by: str) -> None:
    world.submit("svc/a", *tasks("s", 5))
    world.start("svc/a", *tasks("s", 5))
    world.submit("other", "o0")
    world.clock.forward(1)
    if by == "look":
        assert world.lanes.look("normal", 1).picks == ("o0",)
    else:
        assert world.lanes.give_back("normal", "svc/a", "s0") == "o0"
    world.submit("other", "o1")
    world.clock.forward(HAND_S - 0.1)
    assert world.lanes.give_back("normal", "svc/a", "s1") == "o1", "the other is still handed out"
    world.lanes.leave("o1")
    world.submit("other", "o2")
    world.clock.forward(GRACE_S + 0.01)
    assert world.lanes.look("normal", 0).owing == {"svc"}, "its slot is owed to it again"
    assert world.lanes.give_back("normal", "svc/a", "s2") == "o0", "before one that came later"
    world.clock.forward(HAND_S + 1)
    assert world.lanes.look("normal", 1).picks == ("o0",), "as often as it takes"


@pytest.mark.parametrize("claimed_by", ["start", "renew"])
def test_one_that_was_handed_out_and_claimed_does_not_wait_again_when_its_worker_is_gone(
    world: World, claimed_by: str
) -> None:
    """The row holds its lease then; a worker that could not say that it starts is heard of by its heartbeat."""
    world.submit("svc/a", *tasks("s", 3))
    world.start("svc/a", *tasks("s", 3))
    world.submit("other", "o")
    world.clock.forward(1)
    assert world.lanes.look("normal", 1).picks == ("o",)
    if claimed_by == "start":
        world.start("other", "o")
    else:
        world.gate.renew([("other", "o")], 60)
    world.clock.forward(61)
    assert world.lanes.look("normal", 1, queue_empty=True).picks == ()
    assert (world.use("other"), world.client.hexists("{sluice}:lane:where", "o")) == (0, False)


def test_one_that_was_handed_out_and_ended_does_not_wait_again(world: World) -> None:
    world.submit("svc/a", *tasks("s", 3))
    world.start("svc/a", *tasks("s", 3))
    world.submit("other", "o")
    world.clock.forward(1)
    assert world.lanes.look("normal", 1).picks == ("o",)
    world.gate.settle("other", "o", DAY, 0, 0)  # cancelled
    world.clock.forward(HAND_S + 1)
    assert world.lanes.look("normal", 1, queue_empty=True).due == 0


def test_a_run_whose_worker_is_gone_counts_no_longer(world: World) -> None:
    world.submit("ada", "1", "2")
    world.start("ada", "1", "2")
    world.clock.forward(50)
    world.gate.renew([("ada", "1")], 60)
    world.clock.forward(11)
    world.lanes.look("normal", 0)
    assert world.use("ada") == 1


def test_a_task_that_was_given_back_waits_until_it_is_due(world: World) -> None:
    world.submit("ada", "1", running=3)
    world.start("ada", "1", running=3)
    world.lanes.waits("normal", "ada", "1", delay_s=30, slot_s=900)
    assert world.use("ada") == 0
    world.clock.forward(29)
    assert world.lanes.look("normal", 1).due == 0
    world.clock.forward(2)
    assert world.lanes.look("normal", 1).due == 1
    world.gate.settle("ada", "1", DAY, 0, 0)
    world.lanes.waits("normal", "ada", "1", delay_s=0, slot_s=900)  # a late worker
    world.clock.forward(1)
    assert world.lanes.look("normal", 1).due == 0


def test_a_parked_task_does_not_wait_in_its_lane(world: World) -> None:
    world.submit("ada", "1", "2", running=1)
    world.start("ada", "1", running=1)
    world.clock.forward(1)
    assert world.lanes.look("normal", 5).due == 0
    assert not world.gate.take_slot("ada", "2", 1, 60, lane="normal", starts=True)
    world.gate.settle("ada", "1", DAY, 0, 0)
    assert world.gate.take_slot("ada", "2", 1, 60, lane="normal")  # unparked: it has a message now
    world.clock.forward(1)
    assert world.lanes.look("normal", 5).due == 1


@pytest.mark.parametrize("cap", [1, 2])
def test_whoever_tries_to_unpark_it_too_does_not_make_its_lane_forget_a_task(world: World, cap: int) -> None:
    """Two runs of a user end at once; both list the same parked tasks, and one is quicker."""
    world.submit("ada", "1", running=1)
    world.submit("ada", "2", running=1)
    world.start("ada", "1", running=1)
    world.gate.settle("ada", "1", DAY, 0, 0)
    assert world.gate.take_slot("ada", "2", 1, 60)
    assert world.gate.take_slot("ada", "2", 0, 0, lane="normal")  # the quicker one has unparked it
    assert world.gate.take_slot("ada", "2", cap, 60)
    world.clock.forward(1)
    assert world.lanes.look("normal", 5).due == 1
    world.start("ada", "2", running=cap)
    assert world.gate.take_slot("ada", "2", cap, 60), "the other one's list is older still"
    assert world.use("ada") == 1
    world.clock.forward(61)  # all leases are over, and somebody else has the slot
    world.submit("ada", *tasks("a", cap), running=cap)
    assert not world.gate.take_slot("ada", "2", cap, 60)
    assert world.use("ada") == 1


def test_a_paused_lane_hands_out_nothing(world: World) -> None:
    world.submit("svc/a", *tasks("s", 3))
    world.start("svc/a", *tasks("s", 3))
    world.submit("other", "o")
    world.clock.forward(1)
    world.lanes.pause({"normal": 180})
    look = world.lanes.look("normal", 1)
    assert look.paused
    assert look.picks == ()
    assert world.lanes.is_paused("normal")
    assert not world.lanes.is_paused("high")
    world.clock.forward(181)  # nobody said so again
    assert not world.lanes.is_paused("normal")
    world.lanes.pause({"normal": 180})
    world.lanes.pause({})
    assert not world.lanes.look("normal", 0).paused


def test_a_lanes_limit_counts_runs(world: World) -> None:
    world.submit("svc/a", *tasks("s", 4))
    world.start("svc/a", *tasks("s", 3))
    assert world.lanes.look("normal", 5).room is None
    world.lanes.limit({"normal": 4})
    assert world.lanes.look("normal", 5).room == 1
    world.start("svc/a", "s3")
    world.submit("other", "o")
    world.clock.forward(1)
    look = world.lanes.look("normal", 5)
    assert (look.room, look.picks, look.owing) == (0, (), {"svc"})
    assert 0 < world.client.ttl(names.LANE_SLOTS) <= LIMIT_KEPT_S


def test_environments_that_take_no_more_are_known_for_a_moment(world: World) -> None:
    lanes = world.lanes
    assert lanes.draining() == {}
    lanes.drains("normal", "one", 49)
    lanes.drains("normal", "two", 3)
    lanes.drains("high", "one", 0)
    assert lanes.draining() == {"normal": Draining(2, 52), "high": Draining(1, 0)}
    world.clock.forward(DRAINING_SAID_S)
    lanes.drains("normal", "two", 4)  # one has ended, or is just slow
    assert lanes.draining()["normal"] == Draining(2, 53)
    world.clock.forward(0.01)
    assert lanes.draining() == {"normal": Draining(1, 4)}
    world.clock.forward(DRAINING_KEPT_S)
    lanes.drains("normal", "two", 5)
    assert lanes.draining() == {"normal": Draining(1, 5)}
    assert world.client.hkeys(names.LANE_DRAINING) == ["normal two"], "who ended long ago is forgotten"
    assert 0 < world.client.ttl(names.LANE_DRAINING) <= DRAINING_KEPT_S


def test_tasks_past_their_deadline_are_told_until_they_have_ended(world: World) -> None:
    one = ask("1", FREE, user="ada")
    g = world.gate
    at = world.clock.at / 1e6
    assert g.admit(type(one)(one.user, "1", DAY, 1, 1, FREE, "normal", at + 5)).admitted
    assert world.lanes.look("normal", 0).late == ()
    world.clock.forward(5)
    assert world.lanes.look("normal", 0).late == ("1",)
    assert world.lanes.look("high", 0).late == ()  # somebody sees to it
    world.clock.forward(10)
    assert world.lanes.look("high", 0).late == ("1",)
    g.settle("ada", "1", DAY, 0, 0)
    world.clock.forward(10)
    assert world.lanes.look("normal", 0).late == ()


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["submit", "start", "settle", "wait", "leave", "give", "look", "time", "unpark"]),
        st.integers(0, 11),
    ),
    max_size=50,
)


@given(moves=MOVES)
@hypothesis_settings(
    max_examples=examples(60, usual=20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_books_agree_with_each_other(any_valkey: Any, moves: list[tuple[str, int]]) -> None:
    any_valkey.flushall()
    world = World(any_valkey)
    owners = ("a", "svc/1", "svc/2")
    for word, n in moves:
        task, user = f"t{n}", owners[n % 3]
        if word == "submit":
            world.gate.admit(ask(task, FREE, user=user))
        elif word == "start":
            world.gate.take_slot(user, task, 0, 60, lane="normal", starts=True)
        elif word == "settle":
            world.gate.settle(user, task, DAY, 0, 0)
        elif word == "wait":
            world.lanes.waits("normal", user, task, delay_s=1, slot_s=60)
        elif word == "leave":
            world.lanes.leave(task)
        elif word == "unpark":
            before = any_valkey.hget("{sluice}:lane:where", task)
            world.gate.take_slot(user, task, 3, 60)
            assert any_valkey.hget("{sluice}:lane:where", task) == before
        elif word == "give":
            world.lanes.give_back("normal", user, task)
        elif word == "look":
            world.lanes.look("normal", 2)
        else:
            world.clock.forward(20)
        where = any_valkey.hgetall("{sluice}:lane:where")
        waiting = {tuple(m.split(" ")[i] for i in (1, 3)) for m in any_valkey.zrange("{sluice}:lane:waiting", 0, -1)}
        running = {tuple(m.split(" ")) for m in any_valkey.zrange("{sluice}:lane:normal:running", 0, -1)}
        assert {(w.split(" ")[-1], t) for t, w in where.items() if w[0] == "w"} == waiting
        assert {(w.split(" ")[-1], t) for t, w in where.items() if w[0] == "r"} == running
        assert {t[1:] for t in where if t[0] == "@"} <= {t for _, t in running}, "only who runs was handed out"
        queue = dict(any_valkey.zrange("{sluice}:lane:normal:queue", 0, -1, withscores=True))
        assert queue.keys() == {owner for owner, _ in waiting}
        use = dict(any_valkey.zrange("{sluice}:lane:normal:use", 0, -1, withscores=True))
        assert use == {o: sum(1 for owner, _ in running if owner == o) for o in {owner for owner, _ in running}}
