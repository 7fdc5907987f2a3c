"""Admission: a user's runs up to the cap go into their lane; further ones are parked until one of them ends."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.capacity_model.result import Result
    from benchmarks.capacity_model.scenario import Tier
    from benchmarks.capacity_model.workload import Load


class Entrance:
    """Who may queue, and who waits for another run of the same user to end."""

    def __init__(self, tiers: Sequence[Tier], load: Load, result: Result, send: Callable[[float, int], None]) -> None:
        """Take the tiers' caps, the load, where to count, and what puts a run into its lane."""
        self.load, self.result, self.send = load, result, send
        self.cap_of = [tier.running for tier in tiers]
        self.slots: dict[int, int] = {}
        self.parking: dict[int, deque[int]] = {}
        self.parked = 0
        self.open = 0
        """Runs that have not ended."""

    def arrive(self, now: float, run: int) -> None:
        """Admit a run: queue it, or park it while its user is at the cap."""
        self.open += 1
        cap = self.cap_of[self.load.tier[run]]
        if cap:
            user = self.load.user[run]
            used = self.slots.get(user, 0)
            if used >= cap:
                self.parking.setdefault(user, deque()).append(run)
                self.parked += 1
                self.result.parked += 1
                return
            self.slots[user] = used + 1
        self.send(now, run)

    def settle(self, now: float, run: int) -> None:
        """End a run; its slot goes to the user's next parked run."""
        self.open -= 1
        self.result.ended[run] = now
        if not self.cap_of[self.load.tier[run]]:
            return
        user = self.load.user[run]
        waiting = self.parking.get(user)
        if waiting:
            self.parked -= 1
            self.send(now, waiting.popleft())
            if not waiting:
                del self.parking[user]
        elif self.slots[user] == 1:
            del self.slots[user]
        else:
            self.slots[user] -= 1
