"""Judges a campaign from what is stored: rows, event logs, the simulator's call log, the workers' logs."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.tasks import checkpoints, events
from shared.tasks.model import Status

if TYPE_CHECKING:
    import httpx2

    from benchmarks.faults.inflict import Inflictor
    from shared.tasks.events import Event


@dataclass
class Verdict:
    """What a campaign came to."""

    statuses: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    ended_twice: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    calls_completed: int = 0
    in_flight_repeats: int = 0
    takeovers: int = 0
    continuations: int = 0
    deferrals: int = 0
    recoveries: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Return it for people."""
        recovered = sorted(self.recoveries)
        return {
            "ended": dict(self.statuses),
            "errors": dict(self.errors),
            "lost": len(self.lost),
            "ended_twice": len(self.ended_twice),
            "sequence_gaps": len(self.gaps),
            "completed_steps_repeated": len(self.repeated),
            "examples": (self.lost + self.ended_twice + self.gaps + self.repeated)[:5],
            "model_calls": self.calls,
            "model_calls_completed": self.calls_completed,
            "calls_in_flight_at_a_kill_made_again": self.in_flight_repeats,
            "takeovers": self.takeovers,
            "deferrals": self.deferrals,
            "recoveries_measured": len(recovered),
            "recovery_median_s": round(recovered[len(recovered) // 2], 1) if recovered else None,
            "worst_recovery_s": round(recovered[-1], 1) if recovered else None,
        }


def verify(ids: list[str], live: set[str], sim: httpx2.Client, prefix: str, inflictor: Inflictor) -> Verdict:
    """Look at every task and every model call."""
    verdict = Verdict(lost=sorted(live))
    steps_at: dict[str, dict[int, float]] = {}
    resumed_at: dict[str, list[float]] = {}
    for n, task_id in enumerate(ids):
        page = events.read(task_id, 0)
        task = page.task
        verdict.statuses[str(task.status)] += 1
        verdict.takeovers += task.crashes
        verdict.deferrals += task.deferrals
        if task.error:
            verdict.errors[str(task.error.get("code"))] += 1
        ends = [event for event in page.events if event.type in events.TERMINAL_EVENTS]
        if len(ends) != 1 or ends[0].type != task.status or ends[0] is not page.events[-1]:
            verdict.ended_twice.append(task_id)
        if [event.seq for event in page.events] != list(range(1, task.last_seq + 1)):
            verdict.gaps.append(task_id)
        if task.status is Status.COMPLETE and task.calls != sum(
            1 for name, _ in checkpoints.load(task_id) if name == "model"
        ):
            verdict.repeated.append(f"{task_id}: {task.calls} calls charged")
        _check_tools(verdict, task_id, page.events)
        resumed_at[task_id] = [
            event.at
            for event in page.events
            if event.type == "resumed" or event.data.get("reason") == "quarantine"  # taken over, to run alone later
        ]
        steps_at[f"{prefix}-{n}"] = {
            int(event.data["n"]): event.at
            for event in page.events
            if event.type == "step" and event.data.get("step") == "model"
        }
    _check_calls(verdict, sim, steps_at)
    _measure_recovery(verdict, inflictor, resumed_at)
    return verdict


def _check_tools(verdict: Verdict, task_id: str, log: list[Event]) -> None:
    """A step is recorded once, and what is recorded is not called again."""
    recorded: set[tuple[Any, Any]] = set()
    for event in log:
        if event.type == "step":
            key = (event.data.get("step"), event.data.get("n"))
            if key in recorded:
                verdict.repeated.append(f"{task_id}: {key} recorded twice")
            recorded.add(key)
        elif event.type == "tool_call" and (event.data.get("tool"), event.data.get("n")) in recorded:
            verdict.repeated.append(f"{task_id}: {event.data.get('tool')} called again")


def _check_calls(verdict: Verdict, sim: httpx2.Client, steps_at: dict[str, dict[int, float]]) -> None:
    """A completed model call may be made again only if it had not been recorded: it was in flight at a kill."""
    by_key: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    after = 0
    while True:
        page = sim.get("/calls", params={"after": after, "limit": 20_000}).json()
        if not page["calls"]:
            break
        for call in page["calls"]:
            if call["key"] in steps_at:
                by_key[call["key"]].append(call)
        after = page["calls"][-1]["n"]
    for key, calls in by_key.items():
        verdict.calls += len(calls)
        order: dict[str, int] = {}
        for call in calls:
            order.setdefault(call["request"], len(order) + 1)
        finished: dict[str, float] = {}
        for call in calls:
            recorded_at = steps_at[key].get(order[call["request"]])
            if recorded_at is not None and call["started"] > recorded_at + 0.5:
                verdict.repeated.append(f"{key}: model call {order[call['request']]} made after it was recorded")
            elif call["completed"] and call["request"] in finished:
                verdict.in_flight_repeats += 1
            if call["completed"]:
                verdict.calls_completed += 1
                finished[call["request"]] = call["started"]


def _measure_recovery(verdict: Verdict, inflictor: Inflictor, resumed_at: dict[str, list[float]]) -> None:
    """From a worker's death to the first event of the worker that took its run over (or sent it into quarantine).

    Left out are takeovers while the whole system was paused or Valkey was being restarted.
    """
    disturbed = [(at - 20, at + 20) for name, at in inflictor.events if "paused" in name or "lost" in name]
    for task_id, killed_at in inflictor.victims:
        later = [at for at in resumed_at.get(task_id, []) if at > killed_at]
        if later and not any(begin <= killed_at <= end for begin, end in disturbed):
            verdict.recoveries.append(later[0] - killed_at)
