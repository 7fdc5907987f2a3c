"""The rule of sharing: properties of its arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.limits import shares
from tests.examples import examples

WANTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 30), max_size=8)


@given(wants=WANTS, capacity=st.integers(0, 100))
def test_what_is_divided_is_all_there_is_or_all_that_is_wanted(wants: dict[str, int], capacity: int) -> None:
    given_ = shares.divide(wants, capacity)
    assert sum(given_.values()) == min(capacity, sum(wants.values()))
    assert all(0 <= given_[owner] <= want for owner, want in wants.items())


@given(wants=WANTS, capacity=st.integers(0, 100))
def test_who_gets_less_than_it_wants_has_no_less_than_anybody(wants: dict[str, int], capacity: int) -> None:
    given_ = shares.divide(wants, capacity)
    for owner, want in wants.items():
        if given_[owner] < want:
            assert given_[owner] >= max(given_.values()) - 1


@given(wants=WANTS.filter(bool), capacity=st.integers(1, 60))
def test_taking_one_by_one_everybody_reaches_the_fair_share(wants: dict[str, int], capacity: int) -> None:
    """Whoever came first took all there was; the others then get their share, and the whole stays bounded."""
    order = list(wants)
    uses = dict.fromkeys(wants, 0)
    for owner in order:
        while uses[owner] < wants[owner]:
            present = sum(1 for other in order if uses[other] or other == owner)
            if not shares.may_take(uses[owner], sum(uses.values()), present, capacity):
                break
            uses[owner] += 1
        share = shares.fair_share(capacity, sum(1 for other in order if uses[other] or other == owner))
        room = sum(uses.values()) < shares.OVERDRAFT * capacity
        assert uses[owner] >= min(wants[owner], share) or not room
    assert sum(uses.values()) <= shares.OVERDRAFT * capacity


@given(want=st.integers(0, 50), capacity=st.integers(1, 50))
def test_an_owner_alone_may_use_everything_and_no_more(want: int, capacity: int) -> None:
    used = 0
    while used < want and shares.may_take(used, used, 1, capacity):
        used += 1
    assert used == min(want, capacity)


@given(uses=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 40), min_size=2), waits=st.integers(1, 40))
def test_giving_back_ends_at_an_even_division(uses: dict[str, int], waits: int) -> None:
    """One after the other gives back to who waits with least; it ends, and nobody that waits is then two behind."""
    needy = next(iter(uses))
    left, most_moves = waits, sum(uses.values()) + waits
    for _ in range(most_moves):
        givers = [owner for owner in uses if owner != needy and shares.gives_back(uses[owner], uses[needy])]
        if not givers or not left:
            break
        uses[max(givers, key=lambda owner: uses[owner])] -= 1
        uses[needy] += 1
        left -= 1
    assert left == 0 or uses[needy] + 1 >= max(uses.values())


def test_what_came_free_is_for_who_uses_least() -> None:
    assert shares.first(["a", "b", "c"], {"a": 3, "b": 1, "c": 2}) == "b"
    assert shares.first(["a", "new"], {"a": 1}) == "new"
    assert shares.first([], {}) is None


def test_the_users_of_a_service_are_one_owner() -> None:
    assert {shares.owner_of(user) for user in ("svc", "svc/a", "svc/b/c")} == {"svc"}
    assert shares.owner_of("demo") == "demo"


@given(mine=st.integers(0, 50), others=st.integers(0, 80), owners=st.integers(1, 9), capacity=st.integers(1, 50))
@settings(
    max_examples=examples(150, usual=50),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_scripts_divide_as_this_module_does(
    any_valkey: Any, mine: int, others: int, owners: int, capacity: int
) -> None:
    common = (Path(shares.__file__).parent / "lua" / "common.lua").read_text()
    asked = f"return may_take({mine}, {mine + others}, {owners}, {capacity}) and 1 or 0"
    said = any_valkey.eval(f"{common}\n{asked}", 0)
    assert bool(said) == shares.may_take(mine, mine + others, owners, capacity)
