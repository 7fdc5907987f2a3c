"""Where the policy's state lives between ticks: one Valkey key, with this environment's memory behind it.

One key for all lanes, because they are decided together. Without Valkey the scaler goes on with what it
remembers itself; a fresh environment without either starts from the sizes set now, which costs a
stabilization window.
"""

from dataclasses import dataclass

from shared import valkey
from shared.logs import get_logger
from shared.scaling import memory
from shared.scaling.policy import State
from shared.settings import settings

KEY = "{sluice:scaler}:state"
"""String: the state as JSON."""
KEPT_SECONDS = 3600
"""Older state says nothing: every window and period is shorter."""


@dataclass(slots=True)
class Memory:
    """The state of the policy."""

    last: State | None = None

    def load(self) -> State | None:
        """Return the latest state known, from Valkey or from here."""
        if not settings().redis_url:
            return self.last
        try:
            stored = memory.load(valkey.client().get(KEY))
        except valkey.RedisError as error:
            get_logger("scaler").warning("state not read", extra={"cause": str(error)})
            return self.last
        if stored is None or (self.last is not None and self.last.at > stored.at):
            return self.last
        return stored

    def save(self, state: State) -> None:
        """Keep a state here and, if it answers, in Valkey."""
        self.last = state
        if not settings().redis_url:
            return
        try:
            valkey.client().set(KEY, memory.dump(state), ex=KEPT_SECONDS)
        except valkey.RedisError as error:
            get_logger("scaler").warning("state not stored", extra={"cause": str(error)})
