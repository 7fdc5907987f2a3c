"""Clients that open streams and vanish: on AWS nobody stops what they left, so it is bounded, for each and in all.

Nothing tells the function that its client has gone. What is tried here is therefore the function's own side: streams
that nobody reads any more go on until their longest life, hold their owner's places until then, and give them back.
What an hour of it costs is simulated with the real script of places, and is what docs/streaming.md says at most.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from deploy import stack
from functions.api.live import following
from localstack.environ import ROOT
from shared import valkey
from shared.limits.holds import Holds, room
from shared.settings import settings
from tests.unit.api.conftest import Api
from tests.unit.limits.helpers import Clock

PAGE = Path(ROOT / "docs/streaming.md").read_text()
TEMPLATE = stack.read_template(ROOT / "template.yaml")["Parameters"]
LEASE_S = 5.0
STEP_S = 2.0
"""How often a stream renews its place (`live.HOLD_SECONDS`)."""
HOUR_S = 3600.0
PART = 4
"""Of an hour such a part is tried, longer than any stream lives; all of it is alike."""
USD_PER_GB_S = 0.0000133334
"""Lambda on arm64, us-east-1, first tier: https://aws.amazon.com/lambda/pricing/."""
USD_PER_REQUEST = 0.20 / 1_000_000


def default(name: str) -> float:
    """Return a parameter's default."""
    return float(TEMPLATE[name]["Default"])


def figure(what: str) -> float:
    """Return the amount that the page gives for something, USD."""
    (found,) = re.findall(rf"{what}[^|]*\| USD ([0-9.]+) ", PAGE)
    return float(found)


class Vanishing:
    """Owners who open a stream whenever they are let, and leave it at once. Times in seconds."""

    def __init__(self, client: Any, life_s: float, capacity: int) -> None:
        self.clock = Clock()
        self.holds = Holds("streams", capacity, on=client, now_us=self.clock)
        self.life_s = life_s
        self.open: dict[str, tuple[str, float]] = {}
        """Streams that go on: whose, and until when."""
        self.opened = 0
        self.most: dict[str, int] = {}
        self.stream_seconds = 0.0
        self.longest = 0.0
        self._began: dict[str, float] = {}
        self._at = 0.0

    def step(self, owners: dict[str, int]) -> None:
        """Go on by `STEP_S`: each owner tries to open so many; what is open renews its place or ends."""
        for owner, tries in owners.items():
            for _ in range(tries):
                self.opened += 1
                name = f"{self.opened}"
                if self.holds.take(owner, name, ttl_s=LEASE_S):
                    self.open[name] = owner, self._at + self.life_s
                    self._began[name] = self._at
        for owner in owners:
            mine = sum(whose == owner for whose, _ in self.open.values())
            self.most[owner] = max(self.most.get(owner, 0), mine)
        self.stream_seconds += len(self.open) * STEP_S
        self._at += STEP_S
        self.clock.forward(STEP_S)
        for name, (owner, until) in list(self.open.items()):
            over = self._at >= until
            if over:
                self.holds.release(owner, name)
            if over or not self.holds.renew(owner, name, ttl_s=LEASE_S):
                self.longest = max(self.longest, self._at - self._began[name])
                del self.open[name]


def test_each_owners_vanished_streams_are_bounded_and_an_hour_of_them_costs_what_the_page_says(
    redis_settings: str,
) -> None:
    """On a plain server only: below are both kinds, and this asks it thousands of times."""
    assert redis_settings
    capacity = room(int(default("StreamingConcurrency")))
    there = Vanishing(valkey.client(), default("StreamSeconds"), capacity)
    for _ in range(round(HOUR_S / PART / STEP_S)):
        there.step({"demo": 3})
    assert there.most == {"demo": capacity}, "all places, and not one more"
    assert there.longest == default("StreamSeconds")
    gb_seconds = PART * there.stream_seconds * default("StreamingMemory") / 1024
    usd = gb_seconds * USD_PER_GB_S + PART * there.opened * USD_PER_REQUEST
    assert usd <= figure("vanished streams of all owners, an hour")
    assert usd > 0.9 * figure("vanished streams of all owners, an hour"), "the page does not say far too much"


def test_nothing_costs_more_than_all_of_the_functions_concurrency() -> None:
    """Whatever clients do: refused requests run in the places that streams leave free, a moment each."""
    gb_seconds = default("StreamingConcurrency") * HOUR_S * default("StreamingMemory") / 1024
    stated = figure("all executions busy, an hour")
    assert math.isclose(stated, gb_seconds * USD_PER_GB_S, abs_tol=0.005)
    one = figure("one stream, an hour")
    assert math.isclose(one, HOUR_S * default("StreamingMemory") / 1024 * USD_PER_GB_S, abs_tol=0.0005)


def test_whoever_vanishes_keeps_nobody_else_from_a_stream(any_valkey: Any) -> None:
    capacity = 6
    there = Vanishing(any_valkey, 840.0, capacity)
    for _ in range(10):
        there.step({"demo": 3})
    assert there.most["demo"] == capacity
    for _ in range(12):
        there.step({"demo": 3, "other": 1})
    owners = [owner for owner, _ in there.open.values()]
    assert owners.count("other") == capacity // 2
    assert owners.count("demo") == capacity // 2


@pytest.mark.parametrize(
    ("seconds", "left_s", "life"), [(840, None, 840), (60, None, 60), (840, 300, 295), (840, 3, 0)]
)
def test_a_stream_lives_as_long_as_it_may_and_as_its_function_can(
    monkeypatch: pytest.MonkeyPatch, seconds: int, left_s: int | None, life: float
) -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return round((left_s or 0) * 1000)

    class Asked:
        scope = {} if left_s is None else {"aws.context": Context()}

    monkeypatch.setenv("STREAM_SECONDS", str(seconds))
    settings.cache_clear()
    try:
        assert following.life(Asked()) == life  # type: ignore[arg-type]
    finally:
        settings.cache_clear()


@pytest.mark.parametrize("path", ["/result/{}/stream", "/v1/responses/resp_{}?stream=true"])
def test_both_kinds_of_stream_end_with_their_longest_life(api: Api, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("STREAM_SECONDS", "1.2")
    settings.cache_clear()
    task_id = api.submit().json()["task_id"]
    answer = api.client.get(path.format(task_id), headers=api.head())
    assert answer.status_code == 200
    *_, last = [part for part in answer.text.split("\n\n") if part]
    assert "event: again" in last or '"stream_timeout"' in last


def test_an_owners_streams_of_every_kind_count_together(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six executions three may hold: at the fourth the door is busy, whichever it is."""
    monkeypatch.setenv("API_RESERVED_CONCURRENCY", "6")
    settings.cache_clear()
    holds = Holds("api", room(6))
    task_id = api.submit().json()["task_id"]
    for n in range(room(6)):
        assert holds.take("demo", f"vanished-{n}", ttl_s=60)
    stream = api.client.get(f"/result/{task_id}/stream", headers=api.head())
    assert (stream.status_code, "event: busy" in stream.text) == (200, True)
    response = api.client.get(f"/v1/responses/resp_{task_id}?stream=true", headers=api.head())
    assert (response.status_code, response.json()["error"]["code"]) == (429, "too_many_streams")
    holds.release("demo", "vanished-0")
    monkeypatch.setenv("STREAM_SECONDS", "1")
    settings.cache_clear()
    assert "event: again" in api.client.get(f"/result/{task_id}/stream", headers=api.head()).text
