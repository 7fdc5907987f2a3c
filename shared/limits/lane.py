"""Who waits and who runs in a lane, so that its slots are shared among owners (`shares`), long runs included.

SQS holds the messages, and a queue's order is good enough while slots come free by themselves. Valkey knows besides
which owner has how many runs under way, and which tasks wait in vain. An environment looks twice a second:

- a task that nobody has taken for `GRACE_S` has a slot free somewhere else, or none at all: `Look.due` tells an
  environment with a free slot to ask the queue, although its time for that is over;
- a task whose owner has less than others is handed out by name (`Look.picks`): its message may stand behind hundreds.
  It comes before messages that were received for the same slot, which go back;
- when no slot is free, owners that hold two more than one that waits *owe* a slot (`Look.owing`): their next run that
  begins a step gives its slot back, to the very task that waits (`Lane.give_back`);
- a paused lane hands out nothing.

All of it may be lost: then the queue's order and the pollers decide, as before.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.limits import names
from shared.limits.scripts import OnValkey, script
from shared.limits.shares import owner_of

GRACE_S = 0.25
"""A task that waits for longer is taken by nobody: a poller that could have it would have it by now."""
STUCK_S = 2.0
"""A task that waits for longer, while the queue has nothing, is handed out whosever it is: its message is nowhere."""
HAND_S = 10.0
"""So long a task that was handed out counts as running; then it waits again, in its old place, unless it is claimed."""


@dataclass(frozen=True, slots=True)
class Look:
    """What an environment is to do."""

    paused: bool = False
    room: int | None = None
    """How many more runs the lane may have; None: as many as there are slots."""
    due: int = 0
    """Owners of tasks that wait, and that nobody has taken."""
    picks: tuple[str, ...] = ()
    """Tasks to take now, without a message."""
    owing: frozenset[str] = frozenset()
    """Owners whose runs are to give slots back."""
    late: tuple[str, ...] = ()
    """Open tasks whose ``timeout_s`` is over."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Who has runs under way in a lane."""

    owners: tuple[tuple[str, int], ...]
    """Owners and how many runs each has, the most first."""
    running: int
    """Of all owners."""
    slots: int | None
    """How many runs the lane may have at once, as the scaler last said; None: it has not."""


@dataclass(frozen=True, slots=True)
class Draining:
    """Environments of a lane that take no more work: they end with the runs that they have."""

    environments: int = 0
    free: int = 0
    """Slots of theirs that are free, and out of reach."""


class Lanes(OnValkey):
    """The lanes of this environment's Valkey. Every method raises `RedisError` when it is away."""

    def look(self, lane: str, free: int, *, held: int = 0, queue_empty: bool = False) -> Look:
        """Look at a lane, with so many slots free here, and so many messages ``held`` that would fill them.

        ``queue_empty``: it had nothing when it was last asked.
        """
        stuck_s = STUCK_S if queue_empty else 1e9
        args = [self._now(), lane, free, *(round(s * 1_000_000) for s in (GRACE_S, stuck_s, HAND_S)), held]
        keys = [names.PAUSED, names.LANE_SLOTS, names.DEADLINES, *names.LANES]
        paused, room, due, picks, owing, late = script("look_at_lane")(keys, args, on=self._on)
        return Look(bool(paused), None if room < 0 else room, due, tuple(picks), frozenset(owing), tuple(late))

    def give_back(self, lane: str, user: str, task_id: str) -> str | None:
        """Give a run's slot back, if its owner owes one; returns the task that is to have it."""
        args = [self._now(), lane, owner_of(user), task_id, round(GRACE_S * 1_000_000), round(HAND_S * 1_000_000)]
        return script("give_back")([*names.LANES], args, on=self._on) or None

    def waits(self, lane: str, user: str, task_id: str, delay_s: float, slot_s: float) -> None:
        """Note that a task that ran waits again, from ``delay_s`` on, with its user's slot for ``slot_s`` (0: none)."""
        keys = [names.user_keys(user).slots, names.done_key(task_id), *names.LANES]
        args = [self._now(), task_id, round(slot_s * 1_000_000), lane, owner_of(user), round(delay_s * 1_000_000)]
        script("wait")(keys, args, on=self._on)

    def leave(self, task_id: str) -> None:
        """Forget a task: it neither waits nor runs, as far as anybody knows here."""
        script("leave_lane")([*names.LANES], [task_id], on=self._on)

    def drains(self, lane: str, environment: str, free: int) -> None:
        """Note that an environment takes no more work, or soon will not, with so many slots free; to be said again."""
        args = [self._now(), f"{lane} {environment}", free, DRAINING_KEPT_S]
        script("drain")([names.LANE_DRAINING], args, on=self._on)

    def draining(self) -> dict[str, Draining]:
        """Return the environments that said so a moment ago, by lane; forgets those that said it long ago."""
        found: dict[str, str] = self._server().hgetall(names.LANE_DRAINING)
        if not found:
            return {}
        now = self._now_us() if self._now_us else self._time()
        lanes, old = dict[str, Draining](), list[str]()
        for field, said in found.items():
            since, _, free = said.partition(":")
            age_s = (now - int(since)) / 1e6
            if age_s > DRAINING_SAID_S:
                old += [field] * (age_s > DRAINING_KEPT_S)
                continue
            lane = field.partition(" ")[0]
            known = lanes.get(lane, Draining())
            lanes[lane] = Draining(known.environments + 1, known.free + int(free))
        if old:
            self._server().hdel(names.LANE_DRAINING, *old)
        return lanes

    def pause(self, lanes: Mapping[str, float]) -> None:
        """Say which lanes are paused, and for how many seconds that is believed; all others are not."""
        server = self._server()
        at = self._now_us() if self._now_us else self._time()
        server.delete(names.PAUSED)
        if lanes:
            server.hset(names.PAUSED, mapping={lane: at + round(s * 1_000_000) for lane, s in lanes.items()})

    def is_paused(self, lane: str) -> bool:
        """Tell whether a lane is paused."""
        until = self._server().hget(names.PAUSED, lane)
        return until is not None and int(until) > (self._now_us() if self._now_us else self._time())

    def owners(self, lane: str, most: int) -> Owners:
        """Return who has the most runs under way in a lane. What lapsed a moment ago may still count."""
        _, _, *parts = names.LANES
        _, use, running = parts[:3] if lane == "high" else parts[3:]
        found: tuple[list[tuple[str, float]], int, str | None] = (
            self._server()
            .pipeline(transaction=False)
            .zrevrange(use, 0, most - 1, withscores=True)
            .zcard(running)
            .hget(names.LANE_SLOTS, lane)
            .execute()
        )
        owners, total, slots = found
        counted = tuple((owner, round(runs)) for owner, runs in owners if runs >= 1)
        return Owners(counted, total, int(slots) if slots and int(slots) > 0 else None)

    def limit(self, slots: Mapping[str, int]) -> None:
        """Set how many runs each lane may have at once."""
        self._server().hset(names.LANE_SLOTS, mapping=dict(slots))
        self._server().expire(names.LANE_SLOTS, LIMIT_KEPT_S)

    def _time(self) -> int:
        seconds, micros = self._server().time()
        return int(seconds) * 1_000_000 + int(micros)


DRAINING_SAID_S, DRAINING_KEPT_S = 3.0, 60
"""How long an environment is believed that it drains, which it says twice a second, and when it is forgotten."""
LIMIT_KEPT_S = 600
"""A limit that the scaler has not renewed for so long binds nobody."""
