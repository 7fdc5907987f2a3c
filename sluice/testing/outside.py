"""What comes to a run from outside: signals, and answers to what it asks. They go through the API's own door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from functions.api.contract.problem import Problem
from functions.api.contract.requests import ApprovalAnswer
from functions.api.control import answering, signalling
from functions.api.door.gate import gate
from shared.tasks import approvals, store

if TYPE_CHECKING:
    from functions.api.door.identity import Caller
    from shared.tasks.model import Task


class _Owner(NamedTuple):
    """Who sends it; the API's own `Caller` comes with a web framework, which the environment of tests has not."""

    user: str
    key_id: str


def signal(run: str, name: str, payload: Any) -> None:
    """Send a run a signal, as its owner does."""
    task = store.get(run)
    gate.cache_clear()  # another test had another server
    try:
        signalling.send(_owner(task), task, name, payload, None)
    except Problem as problem:
        raise ValueError(problem.message) from problem


def asked(run: str) -> list[dict[str, Any]]:
    """Return what a run waits to be allowed, as its owner sees it."""
    return approvals.pending(store.get(run))


def answer(run: str, fingerprint: str | None, words: dict[str, Any]) -> None:
    """Answer what a run waits to be allowed: the one thing, where no ``fingerprint`` says which."""
    task = store.get(run)
    if fingerprint is None:
        waiting = [one["fingerprint"] for one in asked(run)]
        if len(waiting) != 1:
            raise ValueError(f"the run waits to be allowed {len(waiting)} things, not one: {', '.join(waiting)}")
        (fingerprint,) = waiting
    gate.cache_clear()
    given = ApprovalAnswer.model_validate(words)
    try:
        answering.answer(_owner(task), task, fingerprint, given, operator=False)
    except Problem as problem:
        raise ValueError(problem.message) from problem


def _owner(task: Task) -> Caller:
    return cast("Caller", _Owner(task.user, task.key_id))
