"""Held requests: bounded, shared among owners, forgotten when nobody renews them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared import valkey
from shared.limits.holds import WANT_S, Holds, room
from tests.examples import examples
from tests.unit.limits.helpers import Clock

TTL = 5.0


def holds(client: Any, clock: Clock, capacity: int, place: str = "api") -> Holds:
    return Holds(place, capacity, on=client, now_us=clock)


@pytest.mark.parametrize(("concurrency", "most"), [(0, 0), (1, 0), (2, 1), (5, 3), (10, 6), (1000, 600)])
def test_a_part_of_the_function_stays_free(concurrency: int, most: int) -> None:
    assert room(concurrency) == most


def test_an_owner_alone_may_hold_all_and_no_more(any_valkey: Any) -> None:
    of = holds(any_valkey, Clock(), 3)
    assert [of.take("demo", str(n), ttl_s=TTL) for n in range(5)] == [True, True, True, False, False]
    of.release("demo", "0")
    of.release("demo", "0")
    assert [of.take("demo", str(n), ttl_s=TTL) for n in (7, 8)] == [True, False]


def test_a_place_is_given_back_to_who_comes_later_and_has_less(any_valkey: Any) -> None:
    of = holds(any_valkey, Clock(), 4)
    for n in range(4):
        assert of.take("demo", str(n), ttl_s=TTL)
    assert not of.take("other", "x", ttl_s=TTL)  # now it is known to want one
    kept = [of.renew("demo", str(n), ttl_s=TTL) for n in range(4)]
    assert kept.count(False) == 1  # one, not all
    assert not of.take("demo", "again", ttl_s=TTL)  # which is not for who gave it
    assert of.take("other", "x", ttl_s=TTL)
    assert [of.renew("demo", str(n), ttl_s=TTL) for n in range(4) if kept[n]] == [True, True, True]


def test_owners_with_their_share_keep_it(any_valkey: Any) -> None:
    of = holds(any_valkey, Clock(), 4)
    assert all(of.take(owner, str(n), ttl_s=TTL) for owner in ("a", "b") for n in range(2))
    assert not of.take("a", "more", ttl_s=TTL)
    assert all(of.renew(owner, str(n), ttl_s=TTL) for owner in ("a", "b") for n in range(2))


def test_a_lease_that_nobody_renews_is_free_again(any_valkey: Any) -> None:
    clock = Clock()
    of = holds(any_valkey, clock, 1)
    assert of.take("demo", "dead", ttl_s=TTL)
    clock.forward(TTL - 0.1)
    assert not of.take("other", "x", ttl_s=TTL)
    clock.forward(0.2)
    assert of.take("other", "x", ttl_s=TTL)


def test_a_wish_is_forgotten(any_valkey: Any) -> None:
    clock = Clock()
    of = holds(any_valkey, clock, 2)
    assert of.take("demo", "1", ttl_s=60)
    assert of.take("demo", "2", ttl_s=60)
    assert not of.take("other", "x", ttl_s=60)
    clock.forward(WANT_S + 0.1)
    assert of.renew("demo", "1", ttl_s=60)
    assert of.renew("demo", "2", ttl_s=60)


def test_a_repeat_changes_nothing(any_valkey: Any) -> None:
    of = holds(any_valkey, Clock(), 2)
    assert of.take("demo", "1", ttl_s=TTL)
    assert of.take("demo", "1", ttl_s=TTL)
    assert of.take("other", "1", ttl_s=TTL)


def test_functions_do_not_count_for_each_other(any_valkey: Any) -> None:
    clock = Clock()
    assert holds(any_valkey, clock, 1).take("demo", "1", ttl_s=TTL)
    assert holds(any_valkey, clock, 1, "stream").take("demo", "1", ttl_s=TTL)


def test_less_room_is_met_by_renewals(any_valkey: Any) -> None:
    clock = Clock()
    of = holds(any_valkey, clock, 3)
    assert all(of.take("demo", str(n), ttl_s=TTL) for n in range(3))
    smaller = holds(any_valkey, clock, 1)
    assert [smaller.renew("demo", str(n), ttl_s=TTL) for n in range(3)] == [False, False, True]


def test_without_valkey_requests_are_held() -> None:
    of = Holds("api", 1, on=valkey.connect("redis://127.0.0.1:1"))
    assert of.take("demo", "1", ttl_s=TTL)
    assert of.take("demo", "2", ttl_s=TTL)
    assert of.renew("demo", "2", ttl_s=TTL)


MOVES = st.lists(
    st.tuples(st.sampled_from(["take", "renew", "release", "time"]), st.sampled_from("abc"), st.integers(0, 5)),
    max_size=40,
)


@given(moves=MOVES, capacity=st.integers(1, 6))
@hypothesis_settings(
    max_examples=examples(60, usual=20),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_never_more_than_the_room_and_the_counts_are_right(
    any_valkey: Any, moves: list[tuple[str, str, int]], capacity: int
) -> None:
    any_valkey.flushall()
    clock = Clock()
    of = holds(any_valkey, clock, capacity)
    held: dict[tuple[str, int], int] = {}
    for word, owner, n in moves:
        if word == "time":
            clock.forward(1.3)
        elif word == "release":
            of.release(owner, str(n))
            held.pop((owner, n), None)
        elif (of.take if word == "take" else of.renew)(owner, str(n), ttl_s=TTL):
            held[owner, n] = clock.at + round(TTL * 1_000_000)
        else:
            held.pop((owner, n), None)
        held = {one: until for one, until in held.items() if until > clock.at}
        assert len(held) <= capacity
    of.release("nobody", "0")  # purges what lapsed
    counts = {owner: int(count) for owner, count in any_valkey.hgetall("{sluice:holds:api}:owners").items()}
    assert counts == {o: sum(1 for one in held if one[0] == o) for o in {one[0] for one in held}}
