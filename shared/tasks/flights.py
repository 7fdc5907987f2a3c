"""Calls that were under way when a worker died: what it noted of them in Valkey, and who charges them.

A worker notes what its calls read and wrote so far, some times a second. Who takes its run over, or ends it, charges
what the run's row does not say yet: each call whose step is not recorded, and each that was cut and whose charge had
not been written. Nobody charges twice: a note is taken once, with what the row said then; it counts again only while
the row still says the same, which means that its taker died before it could write the charge.
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from shared.limits.names import flight_key
from shared.limits.scripts import script
from shared.logs import get_logger
from shared.tasks import checkpoints
from shared.tasks.model import Task, Usage, dumps
from shared.valkey import RedisError

KEPT_MS = 3_600_000
"""How long a note outlives its worker; its run is taken over within a lease, or when what prevents that is over."""

_log = get_logger("flights")


class Noted(NamedTuple):
    """What is noted of a call."""

    step: str
    nth: int
    use: Usage
    cut: bool
    """It is over and brought no reply; its charge is written with whatever is written of the run next."""


def written(task: Task) -> list[int]:
    """Return what its row says that a task used, as far as this worker knows."""
    open_in = sum(use.input_tokens for use in task.unwritten)
    open_out = sum(use.output_tokens for use in task.unwritten)
    open_money = sum(use.micro_usd for use in task.unwritten)
    return [task.input_tokens - open_in, task.output_tokens - open_out, task.micro_usd - open_money]


def text_of(task: Task, calls: Iterable[Noted]) -> str:
    """Return the note of a task's calls; empty if there are none."""
    shown = [[one.step, one.nth, one.cut, *_figures(one.use), one.use.day, one.use.model] for one in calls]
    return dumps({"row": written(task), "calls": shown}) if shown else ""


def _figures(use: Usage) -> list[int]:
    return [use.input_tokens, use.output_tokens, use.micro_usd]


def note(texts: Mapping[tuple[str, int], str]) -> None:
    """Note, for each task and claim (``lease_no``), which calls are under way.

    Raises:
        RedisError: Valkey is away.
    """
    keys = [flight_key(*one) for one in texts]
    script("flight_note")(keys, [KEPT_MS, *texts.values()])


def withdraw(task: Task) -> dict[tuple[str, int], Usage]:
    """Take back this worker's note, as it charges its calls itself; returns what another has charged of them already.

    By their steps. Who takes the run over from now on finds nothing to charge.

    Raises:
        RedisError: Valkey is away.
    """
    text = script("flight_withdraw")([flight_key(task.task_id, task.lease_no)], [KEPT_MS])
    return {(one.step, one.nth): one.use for one in _read(text)[1]} if text else {}


def recover(task: Task, lease_no: int) -> list[Usage]:
    """Return what is to be charged for calls under way in a claim that lapsed; the caller charges and writes it.

    Nothing is known without Valkey, or an hour later.
    """
    row = dumps(written(task))
    leases = range(lease_no, max(0, lease_no - 1 - task.crashes), -1)
    if not leases:
        return []
    try:
        answer = script("flight_take")([flight_key(task.task_id, one) for one in leases], [row, KEPT_MS])
    except RedisError as error:
        _log.warning("lost calls not known", extra={"task_id": task.task_id, "error": str(error)})
        return []
    calls: list[tuple[int, Noted]] = []
    for n, lease in enumerate(leases):
        text, was = answer[2 * n], answer[2 * n + 1]
        if not text:
            continue
        base, noted = _read(text)
        untouched = was == row if was else base == row
        for one in noted:
            # A claim before the last one: only if nothing was written since its note was taken, or made.
            if untouched if n or was or one.cut else True:
                calls.append((lease, one))
    if not calls:
        return []
    recorded = checkpoints.load(task.task_id)
    found = [one.use for lease, one in calls if not _is_charged(recorded.get((one.step, one.nth)), lease)]
    if found:
        _log.warning("lost calls charged", extra={"task_id": task.task_id, "calls": len(found)})
    return found


def _is_charged(step: checkpoints.Step | None, lease_no: int) -> bool:
    """Tell whether what is recorded of a call's step stands for the call that was noted in a claim.

    A step that failed in a claim before may have been done again since, by another call.
    """
    return step is not None and (not step.failed or step.lease_no >= lease_no)


def _read(text: str) -> tuple[str, list[Noted]]:
    found = json.loads(text)
    calls = [
        Noted(step, nth, Usage(read, wrote, money, day, model), cut)
        for step, nth, cut, read, wrote, money, day, model in found["calls"]
    ]
    return dumps(found["row"]), calls


def excess(use: Usage, charged: Usage | None) -> Usage:
    """Return what of a call's use another has not charged."""
    if charged is None:
        return use
    read = max(0, use.input_tokens - charged.input_tokens)
    wrote = max(0, use.output_tokens - charged.output_tokens)
    return Usage(read, wrote, max(0, use.micro_usd - charged.micro_usd), use.day, use.model)
