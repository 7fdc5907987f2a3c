"""Schedules in the table: one partition for a user's schedules and their number, which is limited."""

from typing import Any

from shared.clock import now
from shared.errors import Conflict, Contended, NotFound
from shared.limits.shares import owner_of
from shared.limits.tiers import Limits
from shared.schedules import telling
from shared.schedules.model import Schedule, key_of, partition, read, row_of
from shared.tasks import events, numbered, sessions, table
from shared.tasks.conditions import If
from shared.tasks.items import Attributes, attribute
from shared.tasks.ranges import under

PREFIX = "sch_"
ID_CHARACTERS = 36
WRITE_TRIES = 4
"""Times that a schedule is read and written anew when it is fired or changed meanwhile."""
OF_SERVICE = "SCHEDULES-OF#"
"""How the partition begins of the item that counts the schedules of all users of a service."""


class TooMany(Conflict):
    """The user has as many schedules as one may."""

    code = "too_many_schedules"


def _numbers(schedule: Schedule, by: int, most: int = 0, of_service: int = 0) -> list[dict[str, Any]]:
    """Make the Updates that count a schedule: among its user's, and among all of the service that acts for the user."""
    ops = [numbered.count_op(partition(schedule.user), by, most=most)]
    if schedule.counted_for:
        ops.append(numbered.count_op(f"{OF_SERVICE}{schedule.counted_for}", by, most=of_service))
    return ops


def create(schedule: Schedule, limits: Limits, *, due_at: float) -> Schedule:
    """Write a new schedule, of a user with these limits; returns it.

    Raises:
        TooMany: the user, or the service that acts for the user, has as many that have not ended as the tier allows.
        Contended, DependencyDown: nothing was written.
    """
    most, of_service = limits.schedules, limits.key_schedules
    if of_service is not None:
        schedule = schedule.changed(counted_for=owner_of(schedule.user))
    if most == 0 or of_service == 0:
        raise TooMany(f"the tier {limits.tier} has no schedules here")
    row = table.put_op(row_of(schedule, due_at=due_at), condition="attribute_not_exists(pk)")
    try:
        table.transact([row, *_numbers(schedule, 1, most, of_service or 0)])
    except table.ConditionFailed as refusal:
        if 0 in refusal.items:
            raise Contended("the schedule exists") from None
        full = f"a user of the tier {limits.tier} may have {most} schedules"
        if 1 not in refusal.items:
            full = f"the users of this service may have {of_service} schedules together"
        raise TooMany(f"{full}, and there are as many already; delete one") from None
    return schedule


def load(user: str, schedule_id: str) -> Schedule:
    """Read a schedule.

    Raises:
        NotFound: the user has none of that id.
    """
    named = schedule_id.isascii() and schedule_id.startswith(PREFIX) and len(schedule_id) <= ID_CHARACTERS
    row = table.get(key_of(user, schedule_id)) if named else None
    if row is None:
        raise NotFound("no such schedule")
    return read(row)


def page(user: str, *, limit: int, start: Attributes | None = None) -> tuple[list[Schedule], Attributes | None]:
    """Return some of a user's schedules by id, and where to go on."""
    asked = under(partition(user), begins=PREFIX, after=start, ConsistentRead=True, Limit=limit)
    found = table.query_page(**asked)
    return [read(row) for row in found["Items"]], found.get("LastEvaluatedKey")


def write(schedule: Schedule, *, before: Schedule, due_at: float, news: telling.News | None = None) -> bool:
    """Write a schedule over what it was; False, with nothing written, if it has been fired or changed meanwhile.

    ``news`` is what its owner is to be told of, written with it. A schedule that ends makes room for another, and is
    kept for as long as an ended task.

    Raises:
        Contended, DependencyDown: nothing is known to be written.
    """
    row = row_of(schedule, due_at=due_at)
    when = If(same={"last": before.last, "spec": row_of(before, due_at=0)["spec"]["S"]})
    if before.next_at is None:
        when["condition"] = "attribute_not_exists(#next_at)"
    else:
        when["same"]["next_at"] = float(before.next_at)
    ends = schedule.ended and not before.ended
    if schedule.ended:
        row["ttl"] = attribute(int(events.expires(now())))
    op = table.put_op(row, **when)
    try:
        ops = [op, *(_numbers(schedule, -1) if ends else ()), *([telling.put_op(news)] if news else ())]
        if len(ops) == 1:
            return table.placed(op)
        table.transact(ops)
    except table.ConditionFailed:
        return False
    return True


def look_later(schedule: Schedule, due_at: float, *, held: bool = False) -> None:
    """Note when the sweeper should look at a schedule next; nothing if it has been fired or changed meanwhile.

    Raises:
        Contended, DependencyDown: the sweeper looks once more, which does no harm.
    """
    table.change(
        key_of(schedule.user, schedule.schedule_id),
        sets={"due_at": float(due_at)} | ({"held": True} if held else {}),
        same={"next_at": float(schedule.next_at or 0)},
    )


def delete(user: str, schedule_id: str) -> None:
    """Delete a schedule; runs that it began go on. It ends first, which makes room for another once and for all.

    Raises:
        NotFound: there is none of that id.
        Contended, DependencyDown: it may have ended, and is not deleted.
    """
    for _ in range(WRITE_TRIES):
        found = load(user, schedule_id)
        if found.ended or write(found.changed(ended=True, next_at=None, held=False), before=found, due_at=0):
            sessions.delete_items([key_of(user, schedule_id)])
            return
    raise Contended("the schedule is just changing")
