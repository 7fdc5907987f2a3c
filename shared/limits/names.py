"""Names of the limits' Valkey keys. Keys of one script share a hash tag: a cluster keeps them together."""

from typing import NamedTuple

_TAG = "{sluice}"

INGRESS = f"{_TAG}:ingress"
"""String: theoretical arrival time (µs) of the ingress bucket."""
OPEN = f"{_TAG}:open"
"""Sorted set of all open tasks: member -> when the sweeper should look at it (µs)."""

OWNERS = f"{_TAG}:open:owners"
"""Sorted set: owner -> how many open tasks it has."""
INGRESS_OWNERS = f"{_TAG}:ingress:owners"
"""Sorted set: owner -> theoretical arrival time (µs) of its own part of the ingress bucket."""
INGRESS_WANTS = f"{_TAG}:ingress:wants"
"""Sorted set: owner below its share that was refused -> until when that is kept in mind (µs)."""
DEADLINES = f"{_TAG}:deadlines"
"""Sorted set: open task with a ``timeout_s`` -> when it must have ended (µs)."""
ALERTS = f"{_TAG}:alerts"
"""Sorted set: ``day whose`` -> when its use was seen to come to a threshold (µs), until somebody has looked."""
ALERTS_LOOKED = f"{_TAG}:alerts:looked"
"""String: the day and the last user that the sweeper looked at for alerts; empty when it has looked at all."""
PAUSED = f"{_TAG}:paused"
"""Hash: paused lane -> until when that is believed (µs); renewed every minute by the scaler."""
LANE_SLOTS = f"{_TAG}:lane:slots"
"""Hash: lane -> how many runs it may have at once, as the scaler last said."""
LANE_DRAINING = f"{_TAG}:lane:draining"
"""Hash: ``lane id`` of an environment that takes no more work, or soon will not -> ``said at (µs):free slots``."""
LANES = tuple(
    f"{_TAG}:lane:{name}"
    for name in (
        "where",
        "waiting",
        "high:queue",
        "high:use",
        "high:running",
        "normal:queue",
        "normal:use",
        "normal:running",
    )
)
"""Who waits and who runs in the lanes; see ``lua/common.lua``."""

PROVIDER_RPM = "{sluice:provider}:rpm"
PROVIDER_TPM = "{sluice:provider}:tpm"
PROVIDER_WAITING = "{sluice:provider}:waiting"
"""Sorted set: owner -> the last place that is promised to it in the provider's budget (µs)."""
BREAKER_INDEX = "{sluice:breaker}:index"
"""Sorted set of breakers that have seen a failure: name -> when (µs)."""
BREAKER_OWNERS = "{sluice:breaker}:owners"
"""The same of owners' own: ``owner name`` -> when (µs). An owner holds no space."""


class UserKeys(NamedTuple):
    """Keys of one user."""

    log: str
    """Sorted set: task -> time of admission (µs), the rolling window."""
    entries: str
    """Hash: open task -> ``tokens:micro_usd:flags``, its reservation."""
    slots: str
    """Sorted set: task -> when its running slot lapses (µs)."""


def user_keys(user: str) -> UserKeys:
    """Return the keys of one user."""
    base = f"{_TAG}:user:{user}"
    return UserKeys(f"{base}:log", f"{base}:open", f"{base}:slots")


def spend_key(user: str, day: str) -> str:
    """Return the hash of a user's use and reservations of one UTC day."""
    return f"{_TAG}:spend:{day}:user:{user}"


def key_name(user: str) -> str:
    """Name all that a trusted service's key spends, its users' together; no user can be called so."""
    return f"{user.partition('/')[0]}/*"


def spend_all_key(day: str) -> str:
    """Return the same for all users together."""
    return f"{_TAG}:spend:{day}:all"


def session_key(user: str, session_id: str) -> str:
    """Return the hash of a session's line: who is in it, the last ones, in order."""
    return f"{_TAG}:session:{user}:{session_id}"


def flight_key(task_id: str, lease_no: int) -> str:
    """Return the hash of the calls under way in one claim of a run: ``note``, and ``taken`` by who took it over."""
    return f"{{sluice:flight}}:{task_id}:{lease_no}"


def cancel_key(task_id: str, lease_no: int) -> str:
    """Return the mark that says to the worker of one claim of a run that it was cancelled."""
    return f"{{sluice:flight}}:cancel:{task_id}:{lease_no}"


def done_key(task_id: str) -> str:
    """Return the marker of a task that was settled a short while ago."""
    return f"{_TAG}:done:{task_id}"


def member(user: str, task_id: str, day: str) -> str:
    """Name an open task in ``OPEN``. The user comes last: it is the only part that may hold a space."""
    return f"{day} {task_id} {user}"


def parse_member(text: str) -> tuple[str, str, str]:
    """Return (user, task_id, day) of a member."""
    day, task_id, user = text.split(" ", 2)
    return user, task_id, day


def recount_key(shard: int) -> str:
    """Return the marker that says: the live tasks of this shard are all counted. It is lost with the counters."""
    return f"{_TAG}:recounted:{shard}"


def breaker_key(name: str, owner: str = "") -> str:
    """Return the hash of one breaker: for all owners, or of one owner's own."""
    return f"{{sluice:breaker}}:of:{owner} {name}" if owner else f"{{sluice:breaker}}:state:{name}"


def provider_place_key(place: str, holder: str | None = None) -> str:
    """Return the key of a place that is promised to a call in a provider's budget: ``at:how often before``.

    ``holder``: of whoever brought a key of their own along.
    """
    tag = "sluice:provider" if holder is None else f"sluice:own:{holder}"
    return f"{{{tag}}}:place:{place}"


def own_provider_keys(holder: str) -> tuple[str, str, str]:
    """Return the places of `PROVIDER_RPM` and its like for the key of a provider that a user brought along."""
    tag = f"{{sluice:own:{holder}}}"
    return f"{tag}:rpm", f"{tag}:tpm", f"{tag}:waiting"


def provider_window_key(minute: int) -> str:
    """Return the hash of calls and refusals in one minute since the epoch."""
    return f"{{sluice:provider}}:window:{minute}"


class HoldKeys(NamedTuple):
    """Keys of the requests that one function holds."""

    holds: str
    """Sorted set: ``owner id`` -> when its lease lapses (µs)."""
    owners: str
    """Hash: owner -> how many it holds."""
    wants: str
    """Sorted set: owner that was refused one -> until when that is kept in mind (µs)."""


def hold_keys(place: str) -> HoldKeys:
    """Return the keys of one function's held requests."""
    base = f"{{sluice:holds:{place}}}"
    return HoldKeys(f"{base}:holds", f"{base}:owners", f"{base}:wants")
