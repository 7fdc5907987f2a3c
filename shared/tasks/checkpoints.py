"""Recorded steps: what a run has finished, so that no retry, takeover or continuation does it again.

A step that failed is recorded, too, once its run has gone on all the same: what it did next may hang on that.

A step is keyed by its name and how often the name was used before in the run; a fingerprint of its input tells a
replay that the code or the input changed shape. A step, its events and its cost are one item, a record of the run's
log, which only the holder of the lease can put (`shared.tasks.records`); the row learns of it with its next write.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.clock import now
from shared.tasks import blobs, days, events, records
from shared.tasks.items import Attributes, attribute, plain
from shared.tasks.model import Task, Usage, dumps

ANY_INPUT = "*"
"""In place of a fingerprint: the step stands for its name, whatever it is asked with."""


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step: ``value`` is any JSON."""

    name: str
    nth: int
    fingerprint: str
    value: Any
    copied: bool = False
    """Another run did it, and paid for it: this one was begun with it."""
    failed: bool = False
    """It came to nothing, and its run went on: ``value`` says what it raised."""
    loose: bool = False
    """Recorded after a failure that is tried again: what came of that, a report say, may be other now, or nothing."""
    lease_no: int = field(default=0, compare=False)
    """In which claim of its run it was recorded, as far as that is known."""

    @property
    def key(self) -> tuple[str, int]:
        """What identifies it within a run."""
        return self.name, self.nth


def fingerprint(value: Any) -> str:
    """Digest a step's input; equal JSON gives equal digests whatever the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(task_id: str) -> dict[tuple[str, int], Step]:
    """Read all recorded steps of a task, in the order in which they were recorded."""
    copied: list[tuple[int, Step]] = []
    steps: dict[tuple[str, int], Step] = {}
    results: dict[tuple[str, int], Step] = {}
    for row in records.items(task_id, COPIED_FAILURE):
        if row["sk"]["S"].startswith((COPIED_FAILURE, COPIED)):
            value = json.loads(blobs.unpack(row))
            about = plain(row["name"]), plain(row["nth"]), plain(row["fingerprint"])
            failed = row["sk"]["S"].startswith(COPIED_FAILURE)
            step = Step(*about, value, "copied" in row, failed, "loose" in row)
            copied.append((plain(row["copied"]) if "copied" in row else 0, step))
        elif row["sk"]["S"].startswith(records.PREFIX):
            steps |= _in_order(copied)  # their keys come before those of records
            for step in _told(records.content(row), steps, results, lambda step: replace(step, loose=True)):
                steps[step.key] = replace(step, lease_no=plain(row["lease"]) if "lease" in row else 0)
    return steps | _in_order(copied)


def _in_order(copied: list[tuple[int, Step]]) -> dict[tuple[str, int], Step]:
    """Take out what was copied, in the order in which it was recorded."""
    found = {step.key: step for _, step in sorted(copied, key=lambda one: one[0])}
    copied.clear()
    return found


def _told[T](
    content: dict[str, Any],
    known: dict[tuple[str, int], T],
    results: dict[tuple[str, int], T],
    loosened: Callable[[T], T],
) -> Iterator[Step]:
    """Yield what a record says of a step: whoever takes it puts it behind all that is ``known``.

    Takes out of ``known``, which is in order, the failures that it says are to be tried again; what was recorded after
    the first of them is loosened. ``results`` keeps those of steps that were cancelled while they were recorded: paid
    for, they are there again if that is to be tried again.
    """
    for name in ("step", "failure"):
        if found := content.get(name):
            key = found["name"], found["nth"]
            known.pop(key, None)
            yield Step(*key, found["fingerprint"], found["value"], failed=name == "failure")
            if name == "step":
                results[key] = known[key]
    for event in content["events"]:
        if event["type"] in ("retry", "deferred"):
            again = {(name, nth) for name, nth in event["data"].get(AGAIN, ())}
            first = next((place for place, key in enumerate(known) if key in again), len(known))
            for key in [*known][first:]:
                if key not in again:
                    known[key] = loosened(known[key])
                elif key in results:
                    known[key] = loosened(results[key])
                else:
                    del known[key]


COPIED = "CKPT#"
"""How the keys of steps begin that have an item of their own: copied ones, and what versions before 0.2 wrote."""
COPIED_FAILURE = "CKPF#"
"""The same for failures: none that a version which knows of none takes for a step."""
AGAIN = "again"
"""In a ``retry`` or ``deferred`` event: the failed steps that are not kept, by name and use."""


def rows(task_id: str) -> list[Attributes]:
    """Return all recorded steps of a task as items of their own."""
    found: dict[tuple[str, int], Attributes] = {}
    results: dict[tuple[str, int], Attributes] = {}
    for row in records.items(task_id, COPIED_FAILURE):
        if row["sk"]["S"].startswith((COPIED_FAILURE, COPIED)):
            found[plain(row["name"]), plain(row["nth"])] = row
        elif row["sk"]["S"].startswith(records.PREFIX):
            for step in _told(records.content(row), found, results, lambda row: row | {"loose": attribute(True)}):
                found[step.key] = {
                    "pk": row["pk"],
                    "sk": {"S": f"{COPIED_FAILURE if step.failed else COPIED}{step.name}#{step.nth:04d}"},
                    **{name: attribute(getattr(step, name)) for name in ("name", "nth", "fingerprint")},
                    **blobs.pack(dumps(step.value), f"tasks/{task_id}/steps/{step.name}/{step.nth}"),
                    "v": row["v"],
                }
    return [*found.values()]


def record(
    task: Task,
    step: Step,
    log: Sequence[events.Event],
    *,
    use: Usage | None = None,
    model_used: str | None = None,
    raised: dict[str, int] | None = None,
) -> None:
    """Record a finished step, or one that failed, with its events and cost, all or nothing, and note it in ``task``.

    ``raised`` is what ceilings are raised by from now on, if the step did that: once, like the step.

    Raises:
        LeaseLost: the task is no longer ours; nothing was written.
        Contended, DependencyDown: nothing was written; try again.
        TooLarge: the value fits nowhere.
    """
    at = now()
    aborted = len(task.unwritten)
    batch = events.numbered(task.last_seq, log or [events.Event("step", at, {"step": step.name, "n": step.nth})])
    state = records.state(task, use) | ({"model_used": model_used} if model_used else {})
    if raised is not None:
        state["raised"] = raised
    started_at = task.started_at or task.run_started
    told = {"name": step.name, "nth": step.nth, "fingerprint": step.fingerprint, "value": step.value}
    if step.loose:
        told["loose"] = True
    op = records.put_op(
        task,
        batch,
        expires=events.expires(at),
        **{"failure" if step.failed else "step": told},
        state=state | ({"started_at": started_at} if started_at else {}),
    )
    records.write(op)
    task.started_at = started_at or at
    if not (step.failed or step.loose):  # else its run may come to it for ever, at no attempt
        task.attempt, task.last_error = 0, None
    del task.unwritten[:aborted]
    if use:
        days.count(task, use)
        task.calls += 1
    if model_used:
        task.model_used = model_used
    if raised is not None:
        task.raised = raised
    task.last_seq += len(batch)  # last: see `records.progress`


def append_events(task: Task, log: Sequence[events.Event]) -> None:
    """Append events of a running task, under its lease.

    Raises:
        LeaseLost, Contended, DependencyDown: nothing was written.
    """
    if not log:
        return
    op, last = events.append_op(task, log, expires=events.expires(now()))
    records.write(op)
    task.started_at = task.started_at or task.run_started or now()
    task.last_seq = last
