"""A chain of responses: the turns that lead to one, whole. Two responses that go on from the same one share no turn.

A session holds the turns of all branches. Each turn of a response names the one before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from shared.tasks import sessions
from shared.tasks.sessions import ConversationTooLong

if TYPE_CHECKING:
    from shared.tasks.sessions import Turn

CHAIN_TURNS = 500
"""Most turns of a session that are read for a chain."""
_MORE = "begin a new conversation with what matters of it, or compact it"
DOES_NOT_FIT = f"longer than the model reads: {_MORE}; with truncation=auto the oldest is left out"


class Chain(NamedTuple):
    """What a response goes on from."""

    last: str | None
    """The task of the response before; None: whatever its conversation holds."""
    whole: bool
    """Whether all of it must be seen."""


def asked_for(params: dict[str, Any]) -> Chain | None:
    """Return the chain that a task's client goes on from; None where there is none."""
    if params.get("dialect") != "responses":
        return None
    before = str(params.get("previous_response_id") or "").removeprefix(sessions.RESPONSE_PREFIX)
    if not before and not params.get("conversation"):
        return None
    return Chain(before or None, (params.get("echo") or {}).get("truncation") != "auto")


def read(user: str, session_id: str, *, last: str | None, before: float) -> list[Turn]:
    """Return all turns up to that of task ``last``, oldest first; without ``last``, all turns of the session.

    Raises:
        ConversationTooLong: there are more than ``CHAIN_TURNS`` turns, or one of the chain is no longer there.
        DependencyDown: DynamoDB is away.
    """
    turns = sessions.read_all(user, session_id, most=CHAIN_TURNS + 1, before=before)
    if len(turns) > CHAIN_TURNS:
        raise ConversationTooLong(f"a conversation of more than {CHAIN_TURNS} turns: {_MORE}")
    return turns if last is None else _leading_to(turns, session_id, last)


def _leading_to(turns: list[Turn], session_id: str, last: str) -> list[Turn]:
    place = {turn.task_id: n for n, turn in enumerate(turns)}
    chain: list[Turn] = []
    wanted: str | None = last
    while wanted is not None:
        n = place.get(wanted)
        if n is None:
            raise ConversationTooLong(f"the turn of {wanted} is no longer kept: {_MORE}")
        turn = turns[n]
        chain.append(turn)
        del place[wanted]
        if turn.after is not None or turn.task_id == session_id:
            wanted = turn.after
        else:  # it was written before turns named theirs, or follows ones that no response made
            wanted = turns[n - 1].task_id if n else None
    return chain[::-1]
