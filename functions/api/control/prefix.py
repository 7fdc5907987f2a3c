"""The recorded beginning of a run, copied to a new task: what the one run paid for, the other replays.

Steps stand in the order in which they were recorded: those that a run was itself given come first, as they came, then
its own, by the number of their event. So every beginning is a state that the run was really in, just as a worker that
took it over there would have found it.
"""

from collections.abc import Sequence

from functions.api.contract.problem import Problem, invalid
from shared.clock import now
from shared.tasks import blobs, checkpoints, events, partitions
from shared.tasks.items import Attributes, attribute, plain
from shared.tasks.model import Task

MOST_STEPS = 1_000
"""Most steps that are copied; more would take longer than an answer may."""
UNSEEN = 2**62
"""Stands behind all events: a step whose own has expired is in no beginning."""
NOT_COPIED = frozenset({"pk", "sk", "ttl", "fingerprint", "copied", "text", "z", "s3", "plain"})
"""Attributes of a step that its copy has of its own."""

Place = tuple[int, int]
"""Where a step stands: (0, its number among the copied ones) or (1, the number of its event)."""


def read(task: Task, after: int | tuple[str, int | None]) -> list[Attributes]:
    """Return the steps of an ended task up to an event's number, or to a step (name, nth; None: its last use).

    The steps that it was itself given are always among the first kind. 0 means these alone.

    Raises:
        Problem: 422, there is no such event or step; 409, the run ended with a step up to there, whose result stands in
            its answer only; 413, they are too many.
        NotFound: the task is gone.
    """
    log = events.read(task.task_id, 0).events
    told = [event for event in log if _key(event) is not None]
    # One that failed first and was done later stands where it was done.
    seen = {_key(event): event.seq for event in told if "error" in event.data}
    seen |= {_key(event): event.seq for event in reversed(told) if "error" not in event.data}
    rows = [(_place(row, seen), row) for row in checkpoints.rows(task.task_id)]
    kept = {_name(row) for _, row in rows}
    unkept = {key: event.seq for event in log if (key := _key(event)) and "call" in event.data and key not in kept}
    if isinstance(after, int):
        if after > task.last_seq:
            raise invalid(f"the task has {task.last_seq} events", "after", code="unknown_step")
        last: Place = (1, after)
    else:
        last = _find(after, {_name(row): place for place, row in rows} | {key: (1, seq) for key, seq in unkept.items()})
    if any((1, seq) <= last for seq in unkept.values()):
        why = "the run ended with that step, so its result was not kept for others: fork after an earlier one"
        raise Problem(409, "step_not_kept", why, "after")
    found = [row for place, row in sorted(rows, key=lambda one: one[0]) if place <= last]
    if len(found) > MOST_STEPS:
        raise Problem(413, "too_many_steps", f"{len(found)} steps are over the limit of {MOST_STEPS}", "after")
    return found


def write(rows: Sequence[Attributes], task_id: str, *, any_input: bool) -> None:
    """Give steps to a task that is not written yet. Its row comes after them: no worker sees a part.

    With ``any_input`` they stand for their names whatever the run's input is now.

    Raises:
        Gone: a large value of one is no longer there.
        DependencyDown: DynamoDB or S3 is away; what was written expires.
    """
    expires = attribute(int(events.expires(now())))
    copies = [
        {name: value for name, value in row.items() if name not in NOT_COPIED}
        | _value(row, task_id)
        | {
            "pk": {"S": f"TASK#{task_id}"},
            "sk": row["sk"],
            "ttl": expires,
            "copied": attribute(number),
            "fingerprint": attribute(checkpoints.ANY_INPUT) if any_input else row["fingerprint"],
        }
        for number, row in enumerate(rows, 1)
    ]
    partitions.put(copies)


def _key(event: events.Event) -> tuple[str, int] | None:
    """Return the step that an event tells of. Agents may write events of that type, too, which tell of none."""
    name, nth = event.data.get("step"), event.data.get("n")
    if event.type != "step" or not isinstance(name, str) or not isinstance(nth, int):
        return None
    return name, nth


def _name(row: Attributes) -> tuple[str, int]:
    return plain(row["name"]), plain(row["nth"])


def _place(row: Attributes, seen: dict[tuple[str, int] | None, int]) -> Place:
    if "copied" in row:
        return 0, plain(row["copied"])
    return 1, seen.get(_name(row), UNSEEN)


def _find(wanted: tuple[str, int | None], places: dict[tuple[str, int], Place]) -> Place:
    name, nth = wanted
    uses = [n for each, n in places if each == name]
    if not uses or (nth is not None and nth not in uses):
        known = ", ".join(sorted({each for each, _ in places})[:20]) or "none"
        what = name if nth is None else f"{name} #{nth}"
        raise invalid(f"the run recorded no step {what}; there are: {known}", "after", code="unknown_step")
    return places[name, max(uses) if nth is None else nth]


def _value(row: Attributes, task_id: str) -> Attributes:
    """Return a step's value as its copy holds it: an object in S3 is copied, as it goes with its own task."""
    if "s3" not in row:
        return {name: row[name] for name in ("text", "z") if name in row}
    return blobs.pack(blobs.unpack(row), f"tasks/{task_id}/steps/{plain(row['name'])}/{plain(row['nth'])}")
