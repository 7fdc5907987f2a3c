"""Whatever becomes of runs' calls, what is charged is what the provider says that it was used for, or a little more.

Random cuts, cancels, time limits, retries, changes of day and ceilings; the simulator says what each call consumed.
"""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from functions.worker.model import leave
from shared import clock
from shared.limits import prices
from shared.tasks import days, settle, spend, store
from shared.tasks.model import Task
from tests.examples import examples

from .conftest import World

DAY_S = 86_400
WORDS = ("the", "cat", "sat", "and", "ate", "its", "hat", "for", "tea", "now")
"""Of three letters: a token by anybody's count."""
FAULTS = ("none", "truncate", "garbage", "drop", "error_event", "500", "429", "reset", "truncate,none", "500,drop,none")
MODEL = "gpt-4o-mini"
CHUNK_TOKENS = 64
"""More than one chunk of a stream holds."""
STOPPED_S = 4.0
"""How long the model writes for a run that is stopped meanwhile."""
LATE_S = 0.5
"""So long after the model a busy machine may see what it wrote."""
COUNTED = iter(range(1, 10**9))

RUN = st.fixed_dictionaries(
    {
        "words": st.integers(150, 600),
        "fault": st.sampled_from(FAULTS),
        "latency": st.sampled_from([0.05, 0.4]),
        "timeout_s": st.sampled_from([None, None, 1.0]),
        "cancel_after": st.sampled_from([None, None, None, 0.5]),
        "max_cost_usd": st.sampled_from([None, None, 0.0005, 0.002]),
    }
)


def is_stopped(run: dict[str, Any]) -> bool:
    return run["timeout_s"] is not None or run["cancel_after"] is not None


def submit(world: World, user: str, run: dict[str, Any]) -> tuple[Task, str]:
    """Submit a run whose model repeats what it is told."""
    key = f"{user}-{next(COUNTED)}"
    text = " ".join(WORDS[n % len(WORDS)] for n in range(run["words"]))
    ttft = 0.25 if run["fault"] == "reset" else 0.02  # sooner it looks like a connection that was dead before
    latency = (
        STOPPED_S if is_stopped(run) else run["latency"]
    )  # at a thousand tokens a second nobody knows what is on its way
    if run["fault"] == "reset":
        latency = max(latency, 0.4)  # a call takes no longer to its first byte than it takes as a whole
    directives = f"[[sim key={key} echo fail={run['fault']} latency={latency} ttft={ttft}]]"
    params = {name: run[name] for name in ("timeout_s", "max_cost_usd") if run[name] is not None}
    params["max_output_tokens"] = 1_000
    task = world.submit(f"{directives} {text}", user=user, model=MODEL, params=params)
    if run["cancel_after"] is not None:
        timer = threading.Timer(run["cancel_after"], settle.cancel, (task.task_id, user))
        timer.daemon = True
        timer.start()
    return task, key


def consumed(world: World, key: str) -> int:
    """Return what the calls of a key cost at the provider, micro-USD."""
    calls = world.sim.get("/calls", params={"key": key}).json()["calls"]
    read = sum(call["consumed"][0] for call in calls)
    written = sum(call["consumed"][1] for call in calls)
    return prices.cost_micro_usd(MODEL, read, written)


@pytest.mark.usefixtures("world")
@settings(
    max_examples=examples(8, usual=4),
    deadline=None,
    derandomize=True,  # the same examples each time; without this line other seeds are tried
    phases=(Phase.explicit, Phase.generate),  # to shrink an example takes minutes, and it is small
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(runs=st.lists(RUN, min_size=2, max_size=4), midnight=st.sampled_from([None, 1, 2, 3]))
def test_charges_are_what_was_consumed_or_a_little_more(
    world: World, monkeypatch: pytest.MonkeyPatch, runs: list[dict[str, Any]], midnight: int | None
) -> None:
    user = f"u{next(COUNTED)}"
    calls = iter(range(10**6))
    first, second = clock.day(time.time()), clock.day(time.time() + DAY_S)

    def day(_at: float) -> str:
        return first if midnight is None or next(calls) < midnight else second

    monkeypatch.setattr(leave, "clock", SimpleNamespace(now=time.time, day=day))
    submitted = [submit(world, user, run) for run in runs]
    give_up = time.monotonic() + 60
    while not all(store.get(task.task_id).status.terminal for task, _ in submitted) and time.monotonic() < give_up:
        world.work()
        time.sleep(0.1)
    rows = [store.get(task.task_id) for task, _ in submitted]
    assert all(row.status.terminal for row in rows), [(row.status, row.reason) for row in rows]
    for row, (_, key), run in zip(rows, submitted, runs, strict=True):
        truth = consumed(world, key)
        late = prices.cost_micro_usd(MODEL, 0, round(run["words"] / STOPPED_S * LATE_S)) if is_stopped(run) else 0
        assert row.micro_usd >= truth * 0.98 - late, (run, row.status, row.error)
        assert row.micro_usd <= truth * 1.5 + 1, (run, row.status, row.error)
        if run["max_cost_usd"] is not None:
            most = run["max_cost_usd"] * 1_000_000
            assert truth <= most + prices.cost_micro_usd(MODEL, 0, CHUNK_TOKENS)
            assert row.micro_usd <= most + prices.cost_micro_usd(MODEL, 0, CHUNK_TOKENS)
    for each in (first, second):
        of_rows = [days.by_day(row).get(each, (0, 0)) for row in rows]
        assert spend.load(user, each) == (sum(one[0] for one in of_rows), sum(one[1] for one in of_rows))
