"""What the policy is told at a tick."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.scaling.ceiling import Provider


@dataclass(frozen=True, slots=True)
class LaneReadings:
    """One lane, measured now; None where it could not be read."""

    visible: int | None = None
    """Waiting tasks that a poller may take."""
    in_flight: int | None = None
    """Tasks being run."""
    delayed: int | None = None
    """Tasks waiting for a later time (retries, deferrals): published, but no reason to scale."""
    current: int | None = None
    """The ``MaximumConcurrency`` set now."""
    draining: int = 0
    """Environments that take no more tasks, and end with those that they have."""
    closed: int = 0
    """Their free slots, which no task can have."""

    @property
    def load(self) -> int | None:
        """Tasks that wait or run; None where one of both is unknown."""
        return None if self.visible is None or self.in_flight is None else self.visible + self.in_flight


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything measured at one tick."""

    lanes: Mapping[str, LaneReadings]
    provider: Provider = field(default_factory=Provider)
