"""Running slots: how many of a user's tasks may run at once, and which of them do."""

from collections.abc import Sequence
from typing import Any

from shared.limits import names
from shared.limits.scripted import Scripted
from shared.limits.shares import owner_of


class Slots(Scripted):
    """The slots of all users."""

    def take_slot(
        self, user: str, task_id: str, running: int, ttl_s: float, *, lane: str = "", starts: bool = False
    ) -> bool:
        """Take a running slot, or renew the one the task holds; ``running`` is the cap, 0 for none.

        With it goes that the task ``starts``, or that it waits in its ``lane`` with a message. Without a lane, whatever
        is known of the task in any stays.
        True without Valkey: the cap then rests on the number of workers.
        """
        return bool(self._quietly("take_slot", *self._slot(user, task_id, running, ttl_s, lane, starts=starts)) != 0)

    def _slot(
        self, user: str, task_id: str, running: int, ttl_s: float, lane: str, *, starts: bool
    ) -> tuple[list[str], list[Any]]:
        args = [self._now(), task_id, running, round(ttl_s * 1_000_000), lane, owner_of(user)]
        return [names.user_keys(user).slots, *names.LANES], [*args, "start" if starts else "wait"]

    def start_all(self, asked: Sequence[tuple[str, str, int, str]], ttl_s: float) -> list[bool]:
        """Take a slot for each (user, task_id, cap, lane) that starts: what ``take_slot`` does, in one round trip."""
        slots = [self._slot(*one[:3], ttl_s, one[3], starts=True) for one in asked]
        return [reply != 0 for reply in self._quietly_each("take_slot", slots)]

    def renew(self, holders: Sequence[tuple[str, str]], ttl_s: float) -> None:
        """Extend the slots of (user, task_id) pairs, in one round trip; a task that was settled gets none back."""
        if holders:
            keys = [names.user_keys(user).slots for user, _ in holders]
            keys += [names.done_key(task_id) for _, task_id in holders]
            args = [self._now(), round(ttl_s * 1_000_000), len(holders), *(task_id for _, task_id in holders)]
            self._quietly("renew", [*keys, *names.LANES], args)

    def release_slot(self, user: str, task_id: str) -> None:
        """Free the task's slot; without Valkey it lapses by itself."""
        self._quietly("release_slot", [names.user_keys(user).slots, *names.LANES], [task_id])
