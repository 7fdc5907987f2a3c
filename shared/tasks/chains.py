"""A chain of responses: the turns that lead to one, whole. Two responses that go on from the same one share no turn.

A session holds the turns of all branches. Each turn of a response names the one before it.
"""

from typing import Any, NamedTuple

from shared.errors import NotFound
from shared.tasks import sessions, store, turn_pages
from shared.tasks.sessions import ConversationTooLong, Turn, TurnGone

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


def read(user: str, session_id: str, *, last: str | None, before: float, whole: bool = True) -> list[Turn]:
    """Return all turns up to that of task ``last``, oldest first; without ``last``, all turns of the session.

    Of more than ``CHAIN_TURNS`` the newest come, if they need not come ``whole``.

    Raises:
        ConversationTooLong: there are more, or one of the chain is no longer there.
    """
    if last is None:
        turns = sessions.read_all(user, session_id, most=CHAIN_TURNS + 1, before=before)
    else:
        turns = _Back(user, session_id, before).chain(last)
    if len(turns) > CHAIN_TURNS and whole:
        raise ConversationTooLong(f"a conversation of more than {CHAIN_TURNS} turns: {_MORE}")
    return turns[-CHAIN_TURNS:]


class _Back:
    """A way back through a session, from a turn to the one that it goes on from.

    The turns of other branches lie between, thousands of them where many responses go on from one. So pages are read
    only as long as they hold turns of the chain; else the task of the wanted one says where it is.
    """

    def __init__(self, user: str, session_id: str, before: float) -> None:
        self._user = user
        self._session_id = session_id
        self._before = before
        self._read: dict[str, Turn] = {}
        """What was read, newest first."""
        self._oldest: Turn | None = None
        self._more = True

    def chain(self, last: str) -> list[Turn]:
        """Return the turns that lead to a task's, oldest first: all, or more than ``CHAIN_TURNS``."""
        found: list[Turn] = []
        wanted: str | None = last
        while wanted is not None and len(found) <= CHAIN_TURNS:
            turn = self._turn(wanted)
            found.append(turn)
            # Else it was written before turns named theirs, or follows ones that no response made.
            named = turn.after is not None or turn.task_id == self._session_id
            wanted = turn.after if named else self._before_it(turn)
        return found[::-1]

    def _turn(self, task_id: str) -> Turn:
        if task_id not in self._read and self._more:
            self._page()
        if task_id not in self._read:
            self._jump(task_id)
        return self._read[task_id]

    def _page(self) -> None:
        older = sessions.page_back(self._user, self._session_id, before=self._before, older_than=self._oldest)
        self._more = len(older) == sessions.LOOP_PAGE
        self._read |= {turn.task_id: turn for turn in reversed(older)}
        self._oldest = older[0] if older else self._oldest

    def _jump(self, task_id: str) -> None:
        try:
            ended_at = store.get(task_id).ended_at
        except NotFound:
            ended_at = None
        turn = turn_pages.find(self._user, self._session_id, task_id, at=ended_at)
        if turn is None:
            raise TurnGone(f"the turn of {task_id} is no longer kept: {_MORE}")
        self._read[task_id] = self._oldest = turn
        self._more = True

    def _before_it(self, turn: Turn) -> str | None:
        place = turn_pages.Place(turn.at, turn.task_id)
        older = next(turn_pages.walk(self._user, self._session_id, newest_first=True, behind=place), None)
        if older is not None:
            self._read.setdefault(older.task_id, older)
        return older.task_id if older is not None else None
