"""Places in the provider's budget are promised: a run is deferred to its own, about once, and owners take turns."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared import valkey
from shared.limits.provider import PROMISES, ProviderBudget
from shared.settings import Settings
from tests.unit.limits.helpers import Clock

MODEL = "gpt-4o-mini"
EARLY_S = 2.5


@dataclass
class Runs:
    """Runs that come back for their places as the queue brings them: up to a second late."""

    budget: ProviderBudget
    clock: Clock
    tokens: int = 1
    deferrals: dict[str, int] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)

    def go(self, arrivals: list[tuple[float, str, str]], seed: int = 0) -> None:
        """Run (second, owner, place) to their starts."""
        chance, begin = random.Random(seed), self.clock.at
        heapq.heapify(arrivals)
        while arrivals:
            at, owner, place = heapq.heappop(arrivals)
            self.clock.at = max(self.clock.at, begin + round(at * 1e6))
            grant = self.budget.acquire(MODEL, self.tokens, place=place, owner=owner)
            now_s = (self.clock.at - begin) / 1e6
            if grant.taken:
                self.started[place] = now_s + grant.wait_s
            else:
                self.deferrals[place] = self.deferrals.get(place, 0) + 1
                heapq.heappush(arrivals, (now_s + max(1.0, grant.wait_s - EARLY_S) + chance.random(), owner, place))


@pytest.fixture(params=["plain", "cluster"])
def runs(request: pytest.FixtureRequest) -> Iterator[Runs]:
    client: Any = valkey.connect(
        request.getfixturevalue("valkey_url" if request.param == "plain" else "valkey_cluster_url")
    )
    client.flushall()
    clock = Clock()
    yield Runs(ProviderBudget(config=Settings(provider_rpm=60), on=client, now_us=clock), clock)
    client.close()


def fullest_minute(starts: list[float]) -> int:
    ordered = sorted(starts)
    return max(sum(1 for at in ordered if begin <= at < begin + 60) for begin in ordered)


def test_two_hundred_runs_at_sixty_a_minute_are_deferred_about_once_each(runs: Runs) -> None:
    runs.go([(n * 0.01, "ann", f"run{n}") for n in range(200)])
    assert len(runs.started) == 200
    assert max(runs.deferrals.values()) <= PROMISES
    assert sum(runs.deferrals.values()) <= 200 * 1.1
    assert fullest_minute(list(runs.started.values())) <= 60
    assert max(runs.started.values()) <= 200 / 55 * 60 + 20  # nothing of the budget is left unused


def test_another_owners_first_call_does_not_wait_behind_a_flood(runs: Runs) -> None:
    flood = [(n * 0.01, "mallory", f"run{n}") for n in range(200)]
    runs.go([*flood, (30.5, "bob", "bobs")])
    assert runs.started["bobs"] - 30.5 <= 5  # as long as is waited for in memory
    assert max(runs.deferrals.values()) <= PROMISES
    assert fullest_minute(list(runs.started.values())) <= 61


def test_owners_that_wait_take_turns(runs: Runs) -> None:
    first = [(n * 0.01, "ann", f"a{n}") for n in range(60)]
    second = [(3 + n * 0.01, "bob", f"b{n}") for n in range(30)]
    runs.go([*first, *second])
    within = [at for place, at in runs.started.items() if place.startswith("b") and at <= 45]
    assert len(within) >= 12  # of about 45 places; behind ann's it would have got none
    assert max(runs.deferrals.values()) <= PROMISES


def test_who_comes_too_early_is_told_the_same_time_again(runs: Runs) -> None:
    for n in range(20):
        runs.budget.acquire(MODEL, 1, place=f"p{n}", owner="ann")
    promised = runs.budget.acquire(MODEL, 1, place="mine", owner="ann")
    assert not promised.taken
    runs.clock.forward(1)
    again = runs.budget.acquire(MODEL, 1, place="mine", owner="ann")
    assert (again.taken, round(again.wait_s + 1, 3)) == (False, round(promised.wait_s, 3))


def test_a_call_without_a_place_is_promised_nothing(runs: Runs) -> None:
    for _ in range(30):
        last = runs.budget.acquire(MODEL, 1)
    assert not last.taken
    assert runs.budget.acquire(MODEL, 1).wait_s == last.wait_s
