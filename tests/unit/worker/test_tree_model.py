"""A tree of runs under any interleaving of deliveries, repeats, deaths, cancels, sweeps and time is sound.

The machine is the queue, the clock, the tree's owner and the sweeper; the worker, its agents, the children that they
start and their model calls are the real ones. At the end everything is repaired as the queue and the sweeper would, and
the campaign's judge looks at the tree (`benchmarks.faults.branches`).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from benchmarks.faults.branches import Judge, check_ceiling, check_waits, joined_ends
from functions.sweeper import sweep as sweeper
from functions.worker import agents
from shared import clock
from shared.errors import LeaseLost, NotFound
from shared.limits.admission import Gate
from shared.tasks import aftermath, checkpoints, events, family, kin, lanes, settle, spend, store, table, waits
from shared.tasks.items import row_key
from shared.tasks.model import Status, Task
from sluice import AgentResult, ChildFailed, Context
from sluice.testing import account
from tests.examples import examples
from tests.unit.worker.conftest import OneAgent, World

CEILING_USD = 0.0003
"""About what the children's calls cost at worst: some trees are stopped by it."""
ROUNDS = 40
"""Rounds of repair within which every tree must have ended."""


class Accidents:
    """Lets the worker be gone at a place of its code, once, when it is told so; what it wrote before stays."""

    PLACES: ClassVar = {
        "group noted": (family, "begin", True),
        "child not written": (store, "submit", False),
        "child not sent": (lanes, "send", False),
        "suspended": (waits, "suspend", True),
        "ended": (settle, "settle", True),
        "parent not told": (kin, "tell_parent", False),
        "step recorded": (checkpoints, "record", True),
    }
    """Where, and whether the write there still happens."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.armed: str | None = None
        self.happened: Counter[str] = Counter()
        for place, (module, name, written) in self.PLACES.items():
            patch.setattr(module, name, self.gone_at(place, getattr(module, name), written=written))

    def gone_at(self, place: str, real: Callable[..., Any], *, written: bool) -> Callable[..., Any]:
        def stand_in(*args: Any, **kwargs: Any) -> Any:
            if self.armed != place:
                return real(*args, **kwargs)
            if written:
                real(*args, **kwargs)
            self.armed = None
            self.happened[place] += 1
            raise LeaseLost("this worker is gone")

        return stand_in


MOST_ROUNDS = 5
"""Of few examples none may have an accident in it: then there are more."""
DIES_AT = st.one_of(st.none(), st.sampled_from(sorted(Accidents.PLACES)))


class Tree(RuleBasedStateMachine):
    """One parent, its children, and everybody who may touch them."""

    world: ClassVar[World]
    accidents: ClassVar[Accidents]
    gate: ClassVar[Gate]
    ahead: ClassVar[float] = 0.0
    ended_as: ClassVar[Counter[str]] = Counter()
    trees: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).trees += 1
        self.pool: list[dict[str, Any]] = []
        """Messages that were sent; from here on the machine is the queue and delivers as it likes, as often as it
        likes."""
        self.new: list[dict[str, Any]] = []
        self.ends: dict[str, Status] = {}
        self.number = 3
        ceiling = {"max_cost_usd": CEILING_USD}
        self.parent = self.world.submit("go", agent="boss", user=f"user{self.trees}", params=ceiling).task_id

    def teardown(self) -> None:
        """Repair, as the queue and the sweeper do, and judge."""
        for _ in range(ROUNDS):
            if all(task.status.terminal for task in self.members()):
                break
            self.sweep()
            self.collect()
            while self.new:
                self.invoke([self.new.pop(0)])
                self.collect()
            self.pass_time(65.0)
        self.judge()

    # What happens.

    def collect(self) -> None:
        # A run that two workers died with goes on in the lane for such.
        while records := [*self.world.receive(), *self.world.receive("quarantine")]:
            self.new += records
            self.pool += records

    def invoke(self, records: list[dict[str, Any]]) -> None:
        self.world.invoke(records)

    @initialize(dies_at=DIES_AT)
    def begin(self, dies_at: str | None) -> None:
        self.deliver([0], again=False, dies_at=dies_at)

    @rule(picks=st.lists(st.integers(0, 50), min_size=1, max_size=3), again=st.booleans(), dies_at=DIES_AT)
    def deliver(self, picks: list[int], again: bool, dies_at: str | None) -> None:
        """Deliver some messages together; with ``again`` those that may have been delivered long ago.

        The worker may be gone at some place, if any of its runs comes there.
        """
        self.collect()
        source = self.pool if again else self.new
        chosen = {id(one): one for one in (source[pick % len(source)] for pick in picks if source)}
        self.new = [one for one in self.new if id(one) not in chosen]
        self.accidents.armed = dies_at
        if chosen:
            self.invoke(list(chosen.values()))
        self.accidents.armed = None

    @rule(seconds=st.sampled_from([1.0, 21.0, 65.0, 200.0]))
    def pass_time(self, seconds: float) -> None:
        type(self).ahead += seconds
        clock.set_ahead(self.ahead)
        account.pass_time(seconds)

    @rule()
    def sweep(self) -> None:
        sweeper.sweep(clock.now() + 60)

    @rule(dies=st.booleans())
    def cancel_tree(self, dies: bool) -> None:
        """Cancel the parent; who does so may die before it has seen to the children."""
        self.cancel(self.parent, dies=dies)

    @rule(n=st.integers(0, 2), dies=st.booleans())
    def cancel_child(self, n: int, dies: bool) -> None:
        self.cancel(family.child_id(self.parent, "map#1", n), dies=dies)

    def cancel(self, task_id: str, *, dies: bool) -> None:
        try:
            before = store.get(task_id)
        except NotFound:
            return
        after = settle.cancel(task_id, before.user)
        if after.status is Status.CANCELLED and not before.status.terminal and not dies:
            aftermath.finished(self.gate, after)

    # What must hold.

    def members(self) -> list[Task]:
        """Return the parent and those of its children that there are."""
        found = [store.get(self.parent)]
        for group in family.groups(self.parent):
            for child_id in family.ids(self.parent, group):
                if table.get(row_key(child_id)) is not None:
                    found.append(store.get(child_id))
        return found

    @invariant()
    def holds(self) -> None:
        parent, *children = self.members()
        verdict = Judge()
        check_ceiling(verdict, [parent, *children])
        check_waits(verdict, parent, events.read(self.parent, 0).events)
        assert verdict.wrong == []
        for task in (parent, *children):
            if task.status.terminal:
                assert self.ends.setdefault(task.task_id, task.status) is task.status  # it ends once
        if parent.status is Status.COMPLETE:
            assert len(children) == self.number
            assert all(child.status.terminal for child in children)

    def judge(self) -> None:
        self.holds()
        parent, *children = self.members()
        assert [task for task in (parent, *children) if not task.status.terminal] == []  # nobody is orphaned
        for group in family.groups(self.parent):
            assert joined_ends(self.parent, group) == len(children)
        told = [one for one in events.read(self.parent, 0).events if one.type == "waiting"]
        assert len(told) <= 1
        if parent.status is Status.COMPLETE:
            step = checkpoints.load(self.parent)["map", 1]
            assert [one["task_id"] for one in step.value] == family.ids(self.parent, next(family.groups(self.parent)))
            assert {one["task_id"]: one["status"] for one in step.value} == {
                child.task_id: str(child.status) for child in children
            }
        cost = sum(task.paid.micro_usd for task in (parent, *children))  # what lost workers used up, too
        days = {clock.day(parent.created), clock.day(clock.now())}  # of an hour at most
        assert sum(spend.load(parent.user, day)[1] for day in days) == cost
        self.ended_as.update([str(parent.status), *(f"child {child.status}" for child in children)])


class Boss:
    """The agents of the tree: a parent with three children, one call each, one of which fails for good."""

    @staticmethod
    async def boss(ctx: Context) -> AgentResult:
        messages = [f"[[sim words=5]] {n}" for n in range(2)] + ["[[sim fail=400]] bad"]
        found = await ctx.map("kid", messages, at_once=2, on_error="return", max_output_tokens=20)
        return AgentResult(str(sum(isinstance(one, ChildFailed) for one in found)))

    @staticmethod
    async def kid(ctx: Context) -> AgentResult:
        reply = await ctx.model(ctx.asked())
        return AgentResult(reply.content)


@pytest.fixture
def tree(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Tree]]:
    runs = {"boss": Boss.boss, "kid": Boss.kid}
    monkeypatch.setattr(agents, "load", lambda name: OneAgent(runs[name]))
    monkeypatch.setattr(agents, "names", lambda: tuple(runs))
    Tree.world, Tree.accidents, Tree.gate = world, Accidents(monkeypatch), Gate(spend.load)
    Tree.ahead, Tree.ended_as, Tree.trees = 0.0, Counter(), 0
    yield Tree
    clock.set_ahead(0.0)


def test_any_interleaving_of_a_trees_life_keeps_the_invariants(tree: type[Tree]) -> None:
    for _ in range(MOST_ROUNDS):
        run_state_machine_as_test(
            tree,
            settings=hypothesis_settings(
                phases=[Phase.explicit, Phase.generate],
                max_examples=examples(8, usual=4),
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if tree.accidents.happened:
            break
    assert tree.trees >= examples(8, usual=4)
    assert tree.accidents.happened
    assert tree.ended_as["complete"] + tree.ended_as["cancelled"] + tree.ended_as["failed"] == tree.trees
