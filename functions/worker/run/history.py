"""What a run is asked, and what its session remembers of before: as much as the model's context has room for."""

from typing import Any

from functions.worker.record.persist import persist
from functions.worker.record.steps import Steps
from shared.clock import SKEW_SECONDS, epoch, now
from shared.limits import models
from shared.tasks import chains, conversation, sessions
from shared.tasks.model import Task, dumps

CONTEXT_BYTES_PER_TOKEN = 3
"""Bytes of JSON that a token stands for when history is fitted: 4 in English prose, 3 in many other scripts."""
HISTORY_SHARE = 0.9
"""How much of a model's context is filled: what an agent adds, and estimates that are off, need the rest."""


class Remembered(dict[str, Any]):
    """A message out of the session's memory: no part of a step's fingerprint, as a session may be deleted meanwhile."""


class History:
    """The part of a context that reads the session."""

    task_id: str
    user: str
    session_id: str | None
    model_name: str
    instructions: str | None
    tools: list[dict[str, Any]]
    max_output_tokens: int
    input: list[dict[str, Any]] | None
    message: str
    steps: Steps
    _task: Task

    async def history(self, limit: int = 20) -> list[dict[str, Any]]:
        """Return the session's last ``limit`` turns as chat messages, oldest first; ``asked`` goes right behind them.

        Only turns count that were settled before this run started. Tool calls are there with their answers, and those
        that ``asked`` answers. A run that has no session, or begins one, sees none.

        Where the model's context is known, only as many exchanges come as fit beside the instructions, what is asked
        and the answer: an exchange comes whole or not at all. A tool loop that is still open comes from its question.

        A response that goes on from another, or in a conversation, sees all of it, whatever ``limit`` says; what does
        not fit is an error then, unless its client said ``truncation: auto``.

        Raises:
            ConversationTooLong: an open tool loop has more turns than can be read, or a chain is too long.
        """
        if not self.session_id or self.session_id == self.task_id:
            return []
        # Runs of a session go one after the other: what another machine's clock says was just after, was before.
        before = (self._task.started_at or self._task.run_started or now()) + SKEW_SECONDS
        before = float(self._task.params.get("history_before") or before)  # a fork sees what the other run saw
        chain = chains.asked_for(self._task.params)
        with self.steps.busy():
            if chain is None:
                turns = await persist(sessions.read_whole, self.user, self.session_id, limit=limit, before=before)
            else:
                turns = await persist(
                    chains.read, self.user, self.session_id, last=chain.last, before=before, whole=chain.whole
                )
        if turns:
            self._task.newest_turn = epoch(turns[-1].at)
        asked = self.asked()
        fitting = conversation.fitting([message for turn in turns for message in turn.messages], asked)
        room = self._history_bytes(asked)
        if room is not None:
            all_of_it = fitting
            fitting = conversation.within(fitting, room, open_loop=not conversation.opens(asked[0]) if asked else False)
            if chain is not None and chain.whole and len(fitting) < len(all_of_it):
                raise sessions.ConversationTooLong(chains.DOES_NOT_FIT)
        return [Remembered(message) for message in fitting]

    def _history_bytes(self, asked: list[dict[str, Any]]) -> int | None:
        """Return how much JSON of history the model has room for; None when nobody knows its context."""
        context = models.context_tokens(self.model_name)
        if context is None:
            return None
        beside = len(dumps([self.instructions, self.tools, asked]).encode())
        return max(0, round((context - self.max_output_tokens) * CONTEXT_BYTES_PER_TOKEN * HISTORY_SHARE) - beside)

    def asked(self) -> list[dict[str, Any]]:
        """Return what the client asked as chat messages: its message list, or its message as one."""
        return self.input if self.input is not None else [{"role": "user", "content": self.message}]
