"""An answer to what a run asks before it does it: a call of a tool, or more budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.api.contract.problem import Problem, invalid
from functions.api.door.gate import gate
from shared.errors import Conflict, IdempotencyMismatch, NotFound
from shared.tasks import approvals, audit, ceilings, inbox, waking
from shared.tasks.model import Task

if TYPE_CHECKING:
    from functions.api.contract.requests import ApprovalAnswer
    from functions.api.door.identity import Caller

_RAISES = {"usd": "raise_usd", "tokens": "raise_tokens"}


def answer(caller: Caller, task: Task, fingerprint: str, given: ApprovalAnswer, *, operator: bool) -> inbox.Receipt:
    """Answer for a task's owner, or for an ``operator``, whose answer is audited; wakes the task if it waits for this.

    Raises:
        NotFound: the task asks for nothing of this fingerprint.
        Conflict: it has ended, or was answered otherwise before.
        Problem: 403 or 422: the answer is not one to what is asked, or not the caller's to give.
        Contended, DependencyDown: try again.
    """
    try:
        if task.status.terminal:
            raise Conflict(f"the task has ended: it is {task.status}")
        asked = approvals.find(task, fingerprint)
    except (Conflict, NotFound):
        if (repeat := _given_before(caller, task, fingerprint, given)) is not None:
            return repeat
        raise
    more = asked.more or {}
    payload: dict[str, Any] = {"decision": given.decision, "user": caller.user}
    if given.reason is not None:
        payload["reason"] = given.reason
    if (budget := more.get("budget")) is not None:
        payload |= _of_budget(budget, given, operator=operator)
    elif operator:
        raise Problem(403, "owner_only", "whether a tool is called is its owner's to say", "fingerprint")
    else:
        payload |= _of_call(more, given)
    if operator:
        audit.note(caller.key_user, caller.key_id, f"answer {given.decision}", task.task_id, task.user)
    try:
        key = str(asked.nth)
        receipt = inbox.post(task.task_id, asked.name, payload, key=key, by=caller.key_id, early=False, seen=task)
    except IdempotencyMismatch as error:
        raise Conflict("this was answered otherwise before") from error
    if receipt.woken:
        waking.send(gate(), receipt.task)
    return receipt


def _given_before(caller: Caller, task: Task, fingerprint: str, given: ApprovalAnswer) -> inbox.Receipt | None:
    """Return the receipt of the same answer, which was taken before; None where there was none.

    A client whose first request got no answer sends it again, when the run may have gone on long ago.

    Raises:
        Conflict: it was answered otherwise.
    """
    taken = inbox.load(task.task_id, approvals.name_of(fingerprint))
    for one in taken:
        if one.payload | {"limit": None} == _words(caller, given) | {"limit": None}:
            return inbox.Receipt(task, one.id, repeat=True)
    if taken:
        raise Conflict("this was answered otherwise before")
    return None


def _words(caller: Caller, given: ApprovalAnswer) -> dict[str, Any]:
    """Return an answer as it is stored, but for the limit that it raises."""
    by = given.raise_tokens if given.raise_usd is None else _micro(given.raise_usd)
    said = {"reason": given.reason, "arguments": given.arguments, "raise": by}
    about = {name: value for name, value in said.items() if value is not None}
    return {"decision": given.decision, "user": caller.user} | about


def _micro(usd: float) -> int:
    return max(1, round(usd * 1_000_000))


def _of_call(more: dict[str, Any], given: ApprovalAnswer) -> dict[str, Any]:
    for name in _RAISES.values():
        if getattr(given, name) is not None:
            raise invalid("this asks for a call, and for no budget", name)
    if given.arguments is None:
        return {}
    if not more.get("editable"):
        raise invalid("the arguments of this call cannot be changed", "arguments")
    return {"arguments": given.arguments}


def _of_budget(budget: dict[str, Any], given: ApprovalAnswer, *, operator: bool) -> dict[str, Any]:
    if given.arguments is not None:
        raise invalid("this asks for budget, and for no call", "arguments")
    limit, unit = budget["limit"], budget["unit"]
    field = _RAISES[unit]
    other = next(name for name in _RAISES.values() if name != field)
    if getattr(given, other) is not None:
        raise invalid(f"the ceiling {limit} counts {unit}: use {field}", other)
    by = getattr(given, field)
    if given.decision != approvals.ALLOW:
        return {"limit": limit}
    if by is None:
        if limit == ceilings.OWN:
            raise invalid("say by how much the ceiling is raised", field)
        return {"limit": limit}  # it tries again: another run may have left room meanwhile
    if limit in ceilings.FIXED:
        raise invalid(f"the ceiling {limit} holds for everybody: no answer to one run raises it", field)
    if limit != ceilings.OWN and not operator:
        raise Problem(403, "operator_only", f"the ceiling {limit} is an operator's to raise", field)
    amount = _micro(by) if unit == "usd" else int(by)
    return {"limit": limit, "raise": amount}
