"""What owners are charged is what providers charged: over trees, models, fallbacks and days, by clocks that disagree.

Runs with children ask several models, whose first is sometimes away, while the day changes under them, for some of the
machines sooner than for others. The simulator says what each call consumed of which model. Ceilings of each day and of
each run stand, tight ones and wide ones.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from functions.sweeper import sweep as sweeper
from functions.worker import agents
from functions.worker.environment.environment import Environment
from functions.worker.model import leave
from shared import clock, valkey
from shared.limits import names, prices
from shared.retry import ModelError
from shared.settings import settings as config
from shared.tasks import days, family, spend, store
from shared.tasks.model import Task
from sluice import AgentResult, Context
from tests.examples import examples
from tests.unit.worker.conftest import OneAgent, World

DAY_S = 86_400
MODELS = ("gpt-4o-mini", "gpt-4.1-mini", "gpt-4.1")
FALLBACK = "gpt-4o"
CHUNK_TOKENS = 64
"""More than one chunk of a stream holds: what a cut stream may have cost before it was cut."""
COUNTED = itertools.count(1)

CALL = st.fixed_dictionaries(
    {
        "model": st.sampled_from(MODELS),
        "words": st.integers(20, 120),
        "fail": st.sampled_from(["none", "none", "none", "truncate,none", "drop,none", "500,none"]),
    }
)
TREE = st.fixed_dictionaries(
    {
        "calls": st.lists(CALL, min_size=1, max_size=2),
        "children": st.lists(st.lists(CALL, min_size=1, max_size=2), max_size=2),
        "max_cost_usd": st.sampled_from([None, None, 0.006, 0.003]),
        "owner": st.integers(0, 1),
    }
)


class Trees:
    """The agents: each makes the calls that its message names, and then has its children make theirs."""

    def __init__(self) -> None:
        self.plans: dict[str, dict[str, Any]] = {}

    async def run(self, ctx: Context) -> AgentResult:
        plan = self.plans[ctx.message]
        try:
            for n, call in enumerate(plan["calls"]):
                text = " ".join(["the cat sat and ate"] * (call["words"] // 5))
                said = f"[[sim key={plan['key']}-{ctx.message}-{n} echo fail={call['fail']} latency=0.02]] {text}"
                await ctx.model([{"role": "user", "content": said}], model=call["model"], max_output_tokens=200)
        except ModelError as error:
            if error.code == "insufficient_quota":
                raise
        if plan["children"]:
            await ctx.map("tree", plan["children"], on_error="return")
        return AgentResult("ok")

    def plan(self, key: str, tree: dict[str, Any]) -> str:
        """Note a tree; returns the message that has it grow."""
        name = f"{key}-{len(self.plans)}"
        self.plans[name] = {"key": key, "calls": tree["calls"], "children": []}
        for calls in tree["children"]:
            self.plans[name]["children"].append(self.plan(key, {"calls": calls, "children": []}))
        return name


def consumed(world: World, keys: list[str]) -> Counter[str]:
    """Return what the calls of these keys cost at the provider, micro-USD, by model."""
    found: Counter[str] = Counter()
    for key in keys:
        for call in world.sim.get("/calls", params={"key": key}).json()["calls"]:
            found[call["model"]] += prices.cost_micro_usd(call["model"], *call["consumed"])
    return found


def members(task_id: str) -> list[Task]:
    """Return a tree's runs."""
    found = [store.get(task_id)]
    for group in family.groups(task_id):
        for child in family.ids(task_id, group):
            found += members(child)
    return found


def test_charges_are_what_was_consumed_by_owner_day_and_model(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: Counter[str] = Counter()
    monkeypatch.setenv("FALLBACK_MODELS", FALLBACK)  # children have it, too
    config.cache_clear()

    @settings(
        max_examples=examples(30, usual=6),
        deadline=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(
        trees=st.lists(TREE, min_size=2, max_size=4),
        says_second=st.lists(st.booleans(), min_size=3, max_size=12),
        away=st.lists(st.booleans(), min_size=2, max_size=8),
        cap_micro_usd=st.sampled_from([0, 0, 12_000, 5_000]),
    )
    def charges(trees: list[dict[str, Any]], says_second: list[bool], away: list[bool], cap_micro_usd: int) -> None:
        with monkeypatch.context() as patch:
            happened.update(hold(world, patch, trees, says_second, away, cap_micro_usd))

    charges()
    assert {"child", "fallback", "first day", "second day", "refused"} <= (+happened).keys(), happened


def hold(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    trees: list[dict[str, Any]],
    says_second: list[bool],
    away: list[bool],
    cap_micro_usd: int,
) -> Counter[str]:
    """Let trees grow, and hold what they were charged against what their calls consumed; returns what happened."""
    happened: Counter[str] = Counter()
    grown = Trees()
    monkeypatch.setattr(agents, "load", lambda _name: OneAgent(grown.run))
    monkeypatch.setattr(agents, "names", lambda: ("tree",))
    first, second = clock.day(time.time()), clock.day(time.time() + DAY_S)
    # Midnight comes after some calls, and then every machine's clock says so; before, some say so too soon.
    sayings = itertools.chain(says_second, itertools.repeat(True))
    monkeypatch.setattr(
        leave, "clock", SimpleNamespace(now=time.time, day=lambda _at: second if next(sayings) else first)
    )
    aways, before_call = itertools.cycle(away), Environment.before_call

    async def asked(self: Environment, model: str, owner: str) -> Any:
        permit = await before_call(self, model, owner)
        if model == FALLBACK or permit.probe or not next(aways):  # a probe is to be given back
            return permit
        return replace(permit, allowed=False)

    monkeypatch.setattr(Environment, "before_call", asked)

    number = next(COUNTED)
    caps = {"cap_micro_usd": cap_micro_usd, "reserved_tokens": 0, "reserved_micro_usd": 0}
    roots: list[tuple[str, str, dict[str, Any]]] = []
    for n, tree in enumerate(trees):
        user, key = f"owner{number}-{tree['owner']}", f"k{number}-{n}"
        params: dict[str, Any] = {"max_output_tokens": 200}
        if tree["max_cost_usd"] is not None:
            params["max_cost_usd"] = tree["max_cost_usd"]
        message = grown.plan(key, tree)
        roots.append((world.submit(message, agent="tree", user=user, params=params, **caps).task_id, user, tree))
    until = time.monotonic() + 90
    while not all(row.status.terminal for root, _, _ in roots for row in members(root)):
        assert time.monotonic() < until
        world.work()
        time.sleep(0.1)
    sweeper.sweep(clock.now() + 60)  # a run that failed with its children is looked at once more

    runs = {root: members(root) for root, _, _ in roots}
    chunk = prices.cost_micro_usd(FALLBACK, 0, CHUNK_TOKENS)
    for row in itertools.chain.from_iterable(runs.values()):
        happened["child"] += row.task_id not in runs
        happened["fallback"] += any(FALLBACK in models for models in days.by_model(row).values())
        happened["first day"] += bool(days.by_day(row).get(first, (0, 0))[1])
        happened["second day"] += bool(days.by_day(row).get(second, (0, 0))[1])
        happened["refused"] += (row.error or {}).get("code") == "insufficient_quota"
    for root, _, tree in roots:
        paid = sum(row.micro_usd for row in runs[root])
        if tree["max_cost_usd"] is not None:
            assert paid <= tree["max_cost_usd"] * 1_000_000 + chunk
    for user in {user for _, user, _ in roots}:
        rows = [row for root, whose, _ in roots if whose == user for row in runs[root]]
        messages = [store.message_of(row) for row in rows]
        keys = [f"{grown.plans[m]['key']}-{m}-{n}" for m in messages for n in range(len(grown.plans[m]["calls"]))]
        truth, charged = consumed(world, keys), Counter[str]()
        for row in rows:
            for models in days.by_model(row).values():
                charged.update({model: micro for model, (_, micro) in models.items() if micro})
        for model in truth.keys() | charged.keys():
            assert truth[model] * 0.98 <= charged[model] <= truth[model] * 1.5 + 10, (model, truth, charged)
        for each in (first, second):
            of_rows = [days.by_day(row).get(each, (0, 0)) for row in rows]
            assert spend.load(user, each) == (sum(one[0] for one in of_rows), sum(one[1] for one in of_rows))
            assert not cap_micro_usd or spend.load(user, each)[1] <= cap_micro_usd + chunk
            held = valkey.client().hmget(names.spend_key(user, each), "tr", "mr")
            assert [int(one or 0) for one in held] == [0, 0]
    assert valkey.client().zcard(names.OPEN) == 0
    return happened
