"""Judges runs that wait and runs that have children, and whether each run ended as is right for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.faults import habits
from functions.worker.run.waits import TAKEN
from shared.tasks import ceilings, checkpoints, events, family, inbox, table
from shared.tasks.items import attribute, plain, read_task, row_key
from shared.tasks.model import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from benchmarks.faults.kinds import Run
    from shared.tasks.checkpoints import Step
    from shared.tasks.events import Event
    from shared.tasks.family import Group
    from shared.tasks.model import Task

EXAMPLES = 5
PROVIDER_FAULTS = frozenset({"429", "500", "garbage", "hang"})


@dataclass
class Judge:
    """What the runs of a campaign came to; lists hold what went wrong, for a person to look at."""

    by_kind: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    ended_wrongly: list[str] = field(default_factory=list)
    woken_twice: list[str] = field(default_factory=list)
    signals_wrong: list[str] = field(default_factory=list)
    signals_taken: int = 0
    trees: int = 0
    children: Counter[str] = field(default_factory=Counter)
    orphaned: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    over_ceiling: list[str] = field(default_factory=list)
    stopped_by_ceiling: int = 0
    ceiling_used: list[float] = field(default_factory=list)
    habits_met: Counter[str] = field(default_factory=Counter)
    habits_wrong: list[str] = field(default_factory=list)
    habit_calls: int = 0
    other_faults: int = 0
    longest_wait: float = 0.0
    """From a task's row to its first claim, children included, seconds."""

    def saw(self, task: Task) -> None:
        """Note how long a task waited for its first worker."""
        self.longest_wait = max(self.longest_wait, (task.started_at or task.created) - task.created)

    @property
    def wrong(self) -> list[str]:
        """All that went wrong."""
        return [
            *self.ended_wrongly, *self.woken_twice, *self.signals_wrong, *self.orphaned, *self.miscounted,
            *self.over_ceiling, *self.habits_wrong,
        ]  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """Return it for people."""
        faults = self.habit_calls + self.other_faults
        return {
            "runs_by_kind": dict(self.by_kind),
            "ended_wrongly": len(self.ended_wrongly),
            "waits": dict(self.waits),
            "woken_twice": len(self.woken_twice),
            "signals_taken": self.signals_taken,
            "signals_lost_or_taken_twice": len(self.signals_wrong),
            "trees": self.trees,
            "children": dict(self.children),
            "children_orphaned": len(self.orphaned),
            "children_not_counted_once": len(self.miscounted),
            "trees_over_their_ceiling": len(self.over_ceiling),
            "trees_stopped_by_their_ceiling": self.stopped_by_ceiling,
            "most_of_a_ceiling_used_ratio": round(max(self.ceiling_used, default=0.0), 3),
            "habits_known": len(habits.NAMES),
            "habits_met": len(self.habits_met),
            "habits_answered_wrongly": len(self.habits_wrong),
            "habit_calls": self.habit_calls,
            "habits_of_provider_faults_ratio": round(self.habit_calls / faults, 3) if faults else None,
            "longest_wait_for_a_worker_s": round(self.longest_wait, 1),
            "branch_examples": self.wrong[:EXAMPLES],
        }


def children_of(runs: Mapping[str, Run]) -> dict[str, str]:
    """Return the children that were started, by the key that the simulator counts their calls by; ``runs``: by task."""
    found = {}
    for task_id, run in runs.items():
        if run.does == "map":
            for group in family.groups(task_id):
                for n, child in enumerate(_rows(family.ids(task_id, group))):
                    if child is not None:
                        found[f"{run.key}.{n}"] = child.task_id
    return found


def judge(runs: Mapping[str, Run], calls: Mapping[str, list[dict[str, Any]]]) -> Judge:
    """Look at every run; ``calls`` are the provider's, by key."""
    verdict = Judge()
    for task_id, run in runs.items():
        page = events.read(task_id, 0)
        task, made = page.task, calls.get(run.key, [])
        check_end(verdict, run, task)
        if run.habit:
            check_habit(verdict, run, task, made)
        check_waits(verdict, task, page.events)
        if run.does in ("signal", "approve"):
            posted = [one.id for one in inbox.load(task_id)]
            check_signals(verdict, task, list(checkpoints.load(task_id).values()), posted)
        if run.does == "map":
            _tree(verdict, run, task)
    for call in (call for made in calls.values() for call in made):
        verdict.other_faults += call["fault"] in PROVIDER_FAULTS
    return verdict


def _tree(verdict: Judge, run: Run, parent: Task) -> None:
    steps = list(checkpoints.load(parent.task_id).values())
    members = [parent]
    verdict.trees += 1
    for group in family.groups(parent.task_id):
        children = dict(enumerate(_rows(family.ids(parent.task_id, group))))
        check_children(verdict, run, parent, children, joined=joined_ends(parent.task_id, group), steps=steps)
        there = [child for child in children.values() if child is not None]
        for child in there:
            verdict.saw(child)
        members += there
    check_ceiling(verdict, members)


def _rows(ids: Iterable[str]) -> list[Task | None]:
    wanted = list(ids)
    found = {task.task_id: task for task in map(read_task, table.get_many([row_key(one) for one in wanted]))}
    return [found.get(one) for one in wanted]


def joined_ends(parent_id: str, group: Group) -> int:
    """Return how many ends the children of a group have counted."""
    found = table.query(
        KeyConditionExpression="pk = :pk AND begins_with(sk, :prefix)",
        ExpressionAttributeValues={
            ":pk": attribute(f"TASK#{parent_id}"), ":prefix": attribute(f"{family.JOIN}{group.key}#"),
        },
        ConsistentRead=True,
    )  # fmt: skip
    return sum(int(plain(row["done"])) for row in found)


def how(task: Task) -> str:
    """Return how a task ended: its status, or the code of its failure."""
    return str((task.error or {}).get("code")) if task.status is Status.FAILED else str(task.status)


def check_end(verdict: Judge, run: Run, task: Task) -> None:
    """A run ends as is right for what it does and meets."""
    verdict.by_kind[run.does] += 1
    verdict.saw(task)
    waited = run.habit is not None and habits.RIGHT[run.habit] in habits.NOBODYS_FAULT and task.crashes
    if how(task) not in run.ends | ({"complete"} if waited else set()):
        verdict.ended_wrongly.append(f"{task.task_id}: {run.does} {run.habit or ''} ended as {how(task)}")


def check_habit(verdict: Judge, run: Run, task: Task, calls: Collection[dict[str, Any]]) -> None:
    """What stays is not asked again, but by a worker that took the run over from a dead one; what passes is."""
    right = habits.RIGHT[str(run.habit)]
    met = [call for call in calls if call["fault"] == f"habit {run.habit}"]
    verdict.habit_calls += len(met)
    if not met and run.habit in habits.NOT_ALWAYS and calls:
        return
    if not met:
        verdict.habits_wrong.append(f"{task.task_id}: never met {run.habit}")
        return
    verdict.habits_met[str(run.habit)] += 1
    later = sum(call["n"] > met[-1]["n"] for call in calls)
    if right == habits.RETRIED and not later:
        verdict.habits_wrong.append(f"{task.task_id}: {run.habit} was not tried again")
    if right in habits.NOBODYS_FAULT and task.crashes:
        return  # it may have probed
    if right not in (habits.TAKEN, habits.RETRIED) and (later or len(met) > 1 + task.crashes):
        verdict.habits_wrong.append(f"{task.task_id}: {run.habit} was tried again, {len(met) + later} times")


def check_waits(verdict: Judge, task: Task, log: Iterable[Event]) -> None:
    """A run is suspended once for each wait: one that was woken for nothing is suspended for the same wait again.

    ``since`` tells a wait from the next of its name: it stays through every replay.
    """
    told = Counter(
        (one["kind"], one["name"], one["since"])
        for event in log
        if event.type == "waiting"
        for one in event.data["for"]
    )
    for wait, times in told.items():
        verdict.waits[wait[0]] += 1
        if times > 1:
            verdict.woken_twice.append(f"{task.task_id}: suspended {times} times for {wait}")


def check_signals(verdict: Judge, task: Task, steps: Iterable[Step], posted: Collection[str]) -> None:
    """Each signal that was accepted is there once, and taken by one wait; of a complete run all of them are."""
    taken = Counter(step.value[TAKEN] for step in steps if isinstance(step.value, dict) and step.value.get(TAKEN))
    verdict.signals_taken += taken.total()
    for signal, times in taken.items():
        if times > 1 or signal not in posted:
            verdict.signals_wrong.append(f"{task.task_id}: signal {signal} taken {times} times")
    left = set(posted) - set(taken)
    if (task.status is Status.COMPLETE and left) or task.signals != len(posted):
        verdict.signals_wrong.append(f"{task.task_id}: {task.signals} accepted, {len(posted)} there, {left} not taken")


def check_children(
    verdict: Judge, run: Run, parent: Task, children: Mapping[int, Task | None], *, joined: int, steps: Iterable[Step]
) -> None:
    """Every child ended, before a parent that is complete, and is counted once: in the group, in the parent's step."""
    there = [child for child in children.values() if child is not None]
    whole = parent.status is Status.COMPLETE
    if whole and len(there) < len(children):
        verdict.orphaned.append(f"{parent.task_id}: {len(there)} of {len(children)} children were started")
    for n, child in children.items():
        if child is None:  # its parent ended before it was written
            continue
        verdict.children[str(child.status)] += 1
        if not child.status.terminal:
            verdict.orphaned.append(f"{child.task_id}: is {child.status}, its parent {parent.status}")
        elif whole and (child.ended_at or 0.0) > (parent.ended_at or 0.0):
            verdict.orphaned.append(f"{child.task_id}: outlived its parent")
        wanted = {"invalid_value", "invalid_request"} if n < run.bad_children else run.child_ends
        if child.status.terminal and how(child) not in wanted | ({"cancelled"} if not whole else set()):
            verdict.ended_wrongly.append(f"{child.task_id}: child {n} of {run.does} ended as {how(child)}")
    ended = sum(child.status.terminal for child in there)
    if joined != ended:
        verdict.miscounted.append(f"{parent.task_id}: {joined} ends counted of {ended}")
    told = Counter(
        (one["task_id"], one["status"])
        for step in steps
        if isinstance(step.value, list)
        for one in step.value
        if isinstance(one, dict) and "task_id" in one
    )
    if (whole or told) and told != Counter((child.task_id, str(child.status)) for child in there):
        verdict.miscounted.append(f"{parent.task_id}: its step tells {dict(told)}")


def check_ceiling(verdict: Judge, members: Collection[Task]) -> None:
    """What a tree cost, calls of dead workers included, is within the ceiling of its root, the first member."""
    root = next(iter(members))
    ceiling = ceilings.own(root)
    if not ceiling:
        return
    cost = sum(task.paid.micro_usd for task in members)
    verdict.ceiling_used.append(cost / ceiling)
    verdict.stopped_by_ceiling += any(how(task) == "insufficient_quota" for task in members)
    if cost > ceiling:
        verdict.over_ceiling.append(f"{root.task_id}: cost {cost} of {ceiling} micro-USD")
