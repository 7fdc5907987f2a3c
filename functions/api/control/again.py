"""A run once more: with the same input from its beginning (retry), or from one of its steps, perhaps otherwise (fork).

Either is a new task, admitted, charged and ended as any. The first one stays as it is: it has ended, and ends once.
"""

import json
from typing import Any

from functions.api.contract.problem import Problem
from functions.api.control import prefix
from functions.api.dialect.content import inline
from functions.api.door.identity import Caller
from functions.api.submit.submission import Receipt, Submission
from functions.api.submit.taking import submit
from shared.clock import SKEW_SECONDS
from shared.errors import NotFound
from shared.limits import keys, tiers
from shared.limits.tiers import LANES
from shared.tasks import partitions, store, stored_chats
from shared.tasks.model import Task

OF_ITS_OWN = frozenset(
    {"retry_of", "fork_of", "redriven_from", "history_before", "copied", "traceparent", "trace_link"}
)
"""Parameters that a task does not hand on."""


def retry(caller: Caller, source: Task, *, idempotency: store.Idempotency | None, trace: str | None) -> Receipt:
    """Run an ended task's input once more. Steps that it was itself begun with belong to its input.

    Raises:
        Problem: 409, it has not ended; else as any submit, with nothing written or charged.
    """
    check_ended(source)
    params = _params(source) | {"retry_of": source.task_id}
    return _run(caller, source, store.message_of(source), source.model, params, _given(source), idempotency, trace)


def fork(
    caller: Caller,
    source: Task,
    *,
    after: int | tuple[str, int | None],
    message: str | None,
    model: str | None,
    idempotency: store.Idempotency | None,
    trace: str | None,
) -> Receipt:
    """Go on from an ended task's steps up to one of them, perhaps with another message or model.

    Raises:
        Problem: 409, it has not ended; of ``after`` see `prefix.read`; else as any submit, with nothing written.
    """
    check_ended(source)
    rows = prefix.read(source, after)
    params = _params(source) | {"fork_of": source.task_id}
    if source.session_id and source.started_at is not None and source.ended_at is not None:
        params["history_before"] = min(source.started_at + SKEW_SECONDS, source.ended_at)
    if message is not None:
        params.pop("input_json", None)
    changed = (message is not None) or (model is not None and model != source.model)
    text = store.message_of(source) if message is None else message
    return _run(caller, source, text, model or source.model, params, rows, idempotency, trace, changed=changed)


def owner_of(task: Task) -> Caller:
    """Return a task's owner as a caller, for an operator who acts in their place: their limits hold.

    A key that is gone leaves the limits of the task's tier, with the ceilings that it was admitted under.
    """
    try:
        info = keys.named(task.key_id)
        limits = tiers.resolve(info.tier, info.limits)
    except NotFound:
        limits = tiers.of_task(task)
    return Caller(task.user, task.user.partition("/")[0], task.key_id, limits)


def check_ended(task: Task) -> None:
    """Make sure that a task has ended.

    Raises:
        Problem: 409, it has not.
    """
    if not task.status.terminal:
        raise Problem(409, "not_ended", f"the task is {task.status}: wait for its end, or cancel it first", "task_id")


def _params(source: Task) -> dict[str, Any]:
    return {name: value for name, value in source.params.items() if name not in OF_ITS_OWN}


def _given(source: Task) -> list[dict[str, Any]]:
    return prefix.read(source, 0) if "copied" in source.params else []


def _run(
    caller: Caller,
    source: Task,
    message: str,
    model: str,
    params: dict[str, Any],
    rows: list[dict[str, Any]],
    idempotency: store.Idempotency | None,
    trace: str | None,
    *,
    changed: bool = False,
) -> Receipt:
    begins = source.session_id == source.task_id
    copied_to: list[str] = []

    def beside(task: Task) -> None:
        if rows:
            copied_to.append(task.task_id)
            prefix.write(rows, task.task_id, any_input=changed)
        if stored_chats.is_stored(task):
            stored_chats.note(task)

    wanted = Submission(
        message=message,
        agent=source.agent,
        session_id=None if begins else source.session_id or None,
        begins_session=begins,
        model=model,
        priority=source.lane if source.lane in LANES else None,
        params=params | ({"copied": len(rows)} if rows else {}),
        inline=inline(json.loads(message)) if params.get("input_json") else [],
        beforehand=beside,
    )
    whose = Caller(source.user, caller.key_user, caller.key_id, caller.limits)
    receipt = submit(whose, wanted, idempotency=idempotency, trace=trace)
    if receipt.repeat and copied_to:  # another request with the same key was quicker
        partitions.delete(f"TASK#{copied_to[0]}")
    return receipt
