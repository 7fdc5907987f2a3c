"""Judges a campaign from what is stored and what the provider saw: rows, event logs, checkpoints, the call log."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.tasks import checkpoints, events
from shared.tasks.model import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx2

    from benchmarks.faults.watch import Victim
    from shared.tasks.events import Event
    from shared.tasks.model import Task

EXAMPLES = 5


@dataclass
class Verdict:
    """What a campaign came to; lists hold what went wrong, for a person to look at."""

    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    ended_twice: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    model_calls: int = 0
    calls_completed: int = 0
    calls_repeated_in_flight: int = 0

    @property
    def broken(self) -> bool:
        """Whether a promise was broken."""
        return bool(self.lost or self.ended_twice or self.gaps or self.repeated)

    def figures(self) -> dict[str, Any]:
        """Return it for people."""
        return {
            "ended": dict(self.statuses),
            "errors": dict(self.errors),
            "lost": len(self.lost),
            "ended_twice": len(self.ended_twice),
            "gaps_in_seq": len(self.gaps),
            "completed_steps_repeated": len(self.repeated),
            "examples": (self.lost + self.ended_twice + self.gaps + self.repeated)[:EXAMPLES],
            "takeovers": self.totals["crashes"],
            "deferrals": self.totals["deferrals"],
            "in_quarantine": self.totals["quarantine"],
            "model_calls": self.model_calls,
            "model_calls_completed": self.calls_completed,
            "model_calls_completed_but_in_flight_at_a_crash": self.calls_repeated_in_flight,
        }


def verify(ids: dict[str, str], sim: httpx2.Client) -> Verdict:
    """Look at every task and every model call; ``ids`` maps the simulator's keys to tasks."""
    verdict = Verdict()
    recorded: dict[str, dict[int, float]] = {}
    for key, task_id in ids.items():
        page = events.read(task_id, 0)
        _check_end(verdict, page.task, page.events)
        steps = checkpoints.load(task_id)
        _check_steps(verdict, page.task, page.events, set(steps))
        recorded[key] = {
            int(event.data["n"]): event.at
            for event in page.events
            if event.type == "step" and event.data.get("step") == "model"
        }
    _check_calls(verdict, calls_of(sim, recorded), recorded)
    return verdict


def _check_end(verdict: Verdict, task: Task, log: list[Event]) -> None:
    verdict.statuses[str(task.status)] += 1
    verdict.totals["crashes"] += task.crashes
    verdict.totals["deferrals"] += task.deferrals
    verdict.totals["calls"] += task.calls
    verdict.totals["quarantine"] += task.lane == "quarantine"
    if task.error:
        verdict.errors[str(task.error.get("code"))] += 1
    if not task.status.terminal:
        verdict.lost.append(task.task_id)
        return
    ends = [event for event in log if event.type in events.TERMINAL_EVENTS]
    if len(ends) != 1 or ends[0].type != task.status or ends[0] is not log[-1]:
        verdict.ended_twice.append(f"{task.task_id}: {[event.type for event in ends]}")
    if [event.seq for event in log] != list(range(1, task.last_seq + 1)):
        verdict.gaps.append(f"{task.task_id}: {len(log)} of {task.last_seq}")


def _check_steps(verdict: Verdict, task: Task, log: list[Event], steps: set[tuple[str, int]]) -> None:
    """A step is recorded once, charged once, and its tool is not called again afterwards.

    The model call that a run ends with is written in the same transaction as its end, and has no record of its own.
    """
    done: set[tuple[Any, Any]] = set()
    for event in log:
        if event.type == "step":
            step = (event.data.get("step"), event.data.get("n"))
            if step in done:
                verdict.repeated.append(f"{task.task_id}: {step} recorded twice")
            done.add(step)
        elif event.type == "tool_call" and (event.data.get("tool"), event.data.get("n")) in done:
            verdict.repeated.append(f"{task.task_id}: {event.data.get('tool')} called again")
    if task.status is Status.COMPLETE and task.calls != sum(name == "model" for name, _ in done):
        verdict.repeated.append(f"{task.task_id}: {task.calls} calls charged")
    with_end: set[tuple[Any, Any]] = set()
    if [event.type for event in log[-2:]] == ["step", "complete"] and log[-2].data.get("step") == "model":
        with_end = {("model", log[-2].data.get("n"))}
    if done != steps | with_end:
        verdict.repeated.append(f"{task.task_id}: steps told {sorted(done)}, recorded {sorted(steps)}")


def calls_of(sim: httpx2.Client, keys: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Read the simulator's log: the calls of each key, in their order."""
    wanted = set(keys)
    by_key: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    after = 0
    while True:
        page = sim.get("/calls", params={"after": after, "limit": 10_000}).json()
        for call in page["calls"]:
            if call["key"] in wanted:
                by_key[call["key"]].append(call)
        if not page["calls"]:
            return by_key
        after = page["calls"][-1]["n"]


def _check_calls(
    verdict: Verdict, by_key: dict[str, list[dict[str, Any]]], recorded: dict[str, dict[int, float]]
) -> None:
    """No call may start once its reply is recorded.

    The event of a step is timed before it is stored, and it is stored only while its worker holds the lease. So a call
    that started after that time is a repetition, and an earlier second one was in flight when its worker died.
    """
    for key, calls in by_key.items():
        verdict.model_calls += len(calls)
        order: dict[str, int] = {}  # the n-th conversation of a run is that of its n-th model step
        completed: set[str] = set()
        for call in calls:
            nth = order.setdefault(call["request"], len(order) + 1)
            at = recorded[key].get(nth)
            if at is not None and call["started"] > at:
                verdict.repeated.append(f"{key}: model call {nth} made after its reply was recorded")
            if call["completed"]:
                verdict.calls_completed += 1
                if not str(call.get("fault")).startswith("habit"):  # some of these are no reply
                    verdict.calls_repeated_in_flight += call["request"] in completed
                    completed.add(call["request"])


def recovery(victims: list[Victim], events: list[tuple[str, float, float]], bound_s: float) -> dict[str, Any]:
    """Say how soon the runs of killed workers were taken over.

    Left out are those that met a pause of the whole system, in which nothing can be taken over.
    """
    pauses = [(began, ended) for name, began, ended in events if "stopped" in name]

    def paused(victim: Victim) -> bool:
        return any(began - bound_s < victim.killed_at < ended for began, ended in pauses)

    counted = [victim for victim in victims if not paused(victim)]
    took = sorted(victim.took for victim in counted if victim.took is not None)
    return {
        "recoveries_measured": len(took),
        "recoveries_while_paused_left_out": len(victims) - len(counted),
        "never_taken_over": sum(victim.took is None for victim in victims),
        "recovery_median_s": round(took[len(took) // 2], 1) if took else None,
        "recovery_p95_s": round(took[int(len(took) * 0.95)], 1) if took else None,
        "worst_recovery_s": round(took[-1], 1) if took else None,
        "worst_recovery_bound_s": bound_s,
        "recoveries_over_bound": sum(one > bound_s for one in took),
    }
