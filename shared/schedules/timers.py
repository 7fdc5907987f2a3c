"""What brings a firing at its time: a delayed message. The row is the truth; a message is a hint that may be lost.

SQS hides a message for 15 minutes at most. What is further away stands in the ``due`` index until the sweeper sends its
message. A message carries the instant, so that one of an earlier plan is told from the present one's.
"""

import math
from dataclasses import dataclass

from shared import aws
from shared.clock import now
from shared.schedules.model import Schedule
from shared.settings import settings
from shared.tasks import lanes

REACH_SECONDS = 840.0
"""How long before its time a firing's message is sent: several sweeps before SQS's longest delay is too short."""
REPAIR_SECONDS = 30.0
"""How long after its time the sweeper leaves a firing to its message."""


@dataclass(frozen=True, slots=True)
class Firing:
    """What a message carries."""

    user: str
    schedule_id: str
    instant: float


def within_reach(schedule: Schedule) -> bool:
    """Whether the next firing's message can be sent now."""
    return schedule.fire_at - now() <= lanes.MAX_DELAY_SECONDS


def due_at(schedule: Schedule) -> float:
    """Return when the sweeper should look at a schedule, once a message that is within reach has been sent."""
    if schedule.next_at is None:
        return 0.0
    if within_reach(schedule):
        return max(now(), schedule.fire_at) + REPAIR_SECONDS
    return schedule.fire_at - REACH_SECONDS


def send(schedule: Schedule, *, delay_s: float | None = None) -> None:
    """Send the message of a schedule's next firing; it comes up to a second early, never late."""
    delay = schedule.fire_at - now() if delay_s is None else delay_s
    value = {"user": schedule.user, "schedule_id": schedule.schedule_id, "instant": schedule.next_at}
    asked = lanes.message(value, user=schedule.user, delay_s=math.floor(delay))
    with lanes.calling():
        aws.sqs().send_message(QueueUrl=settings().queue_url_firings, **asked)


def parse(body: str) -> Firing:
    """Read a message.

    Raises:
        BadMessage: it is none of ours.
    """
    user, schedule_id, instant = lanes.values(body, "a firing's message", user=str, schedule_id=str, instant=float)
    return Firing(user, schedule_id, instant)
