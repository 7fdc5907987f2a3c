"""Schedules: runs that begin by the clock."""

import uuid
from operator import attrgetter
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Path, Query
from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse

from functions.api.contract.problem import Problem, invalid
from functions.api.contract.requests import AgentRequest, Strict, UserId
from functions.api.description.note import described
from functions.api.door.body import RawBody, parse
from functions.api.door.identity import AnyCaller, Caller, Subject
from functions.api.submit.allowed import allowed
from functions.api.submit.submission import wanted_of
from shared import wire
from shared.clock import now
from shared.errors import Conflict, Contended, DependencyDown
from shared.limits import keys
from shared.logs import get_logger
from shared.schedules import store, timers
from shared.schedules.model import Schedule, key_of
from shared.settings import settings
from shared.tasks import listing
from shared.tasks.model import dumps
from shared.traceparent import INCOMING

router = APIRouter(prefix="/schedules", tags=["schedules"])

RUN_BYTES = 300_000
"""Largest ``run``, as JSON: a row of DynamoDB holds 400 KB."""
JITTER_SECONDS = 3_600
CATCH_UP_SECONDS = 82_800
"""Longest catch-up window, less than an ``Idempotency-Key`` lives: no firing is made twice."""
FURTHEST_SECONDS = 10 * 366 * 86_400
"""How far away ``at`` may be."""
PAGE = 100
OFTEN = "too_frequent"

log = get_logger("api")

_TIMES = attrgetter("cron", "at", "timezone", "status")
"""What says when a schedule's instants are; a jitter moves none of them."""

ScheduleId = Annotated[str, Path(description="`sch_…`")]
Name = Annotated[str, Field(min_length=1, max_length=100, description="Yours; shown in lists.")]
Cron = Annotated[str, Field(min_length=1, description="Five fields: minute, hour, day of month, month, weekday.")]
At = Annotated[str, Field(min_length=1, max_length=64, description="Once: a date and time, as 2026-03-29T08:00:00Z.")]
Zone = Annotated[str, Field(min_length=1, max_length=64, description="IANA time zone whose clocks `cron` means.")]
Jitter = Annotated[int, Field(ge=0, le=JITTER_SECONDS, description="Each firing is made up to so many seconds late.")]
Overlap = Literal["skip", "queue", "cancel"]
CatchUp = Annotated[int, Field(ge=0, le=CATCH_UP_SECONDS, description="How late a firing may still be made, s.")]


class ScheduleRequest(Strict):
    """When something is to run, and what: `run` is the body of `POST /agent`."""

    run: AgentRequest
    cron: Cron | None = None
    at: At | None = None
    timezone: Zone = "UTC"
    name: Name | None = None
    paused: bool = False
    jitter_s: Jitter = 0
    overlap: Overlap = "skip"
    catch_up_s: CatchUp = 600
    user_id: UserId | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.cron is None) == (self.at is None):
            raise ValueError("a schedule has either `cron` or `at`")
        return self


class ScheduleChange(Strict):
    """What changes of a schedule; the rest stays."""

    run: AgentRequest | None = None
    cron: Cron | None = None
    at: At | None = None
    timezone: Zone | None = None
    name: Name | None = None
    paused: bool | None = None
    jitter_s: Jitter | None = None
    overlap: Overlap | None = None
    catch_up_s: CatchUp | None = None


_EXAMPLE = {"cron": "0 8 * * mon-fri", "timezone": "Europe/Berlin", "run": {"message": "Sum up the news."}}


@router.post("", status_code=201, summary="Make a schedule")
@described("ScheduleView", 401, 403, 409, 413, 422, takes=ScheduleRequest, example=_EXAMPLE)
def post_schedule(request: Request, caller: AnyCaller, body: RawBody) -> JSONResponse:
    """Have a message submitted by the clock: at each instant of a cron expression, or once."""
    if not settings().queue_url_firings:
        raise invalid("this deployment has no schedules", code="schedules_off")
    asked = parse(ScheduleRequest, body, request.headers.get("content-type"))
    owner = caller.acting_for(asked.user_id)
    run = _run(owner, asked.run)
    values = asked.model_dump(exclude={"run", "user_id", "paused", "at"})
    made = Schedule(
        schedule_id=f"{store.PREFIX}{uuid.uuid4().hex}",
        user=owner.user,
        key=_key(request),
        key_id=owner.key_id,
        created=now(),
        run=run,
        at=_once(asked.at, asked.timezone),
        paused="owner" if asked.paused else "",
        traceparent=INCOMING.get() or "",
        **values,
    )
    made = _planned(made)
    made = store.create(made, owner.limits, due_at=timers.due_at(made))
    _announce(made)
    location = f"{request.scope['root_path']}/schedules/{made.schedule_id}"
    return JSONResponse(made.public(now()), 201, {"Location": location})


@router.get("", summary="List schedules")
@described("ScheduleList", 401, 403, 422)
def list_schedules(
    caller: Subject,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = 20,
    cursor: Annotated[str | None, Query(max_length=2048, description="From `next_cursor`.")] = None,
) -> JSONResponse:
    """List the caller's schedules, in the order of their ids."""
    pk = f"SCHEDULES#{caller.user}"
    found, more = store.page(caller.user, limit=limit, start=listing.read_place(cursor, pk) if cursor else None)
    shown = [one.public(now()) for one in found]
    fit = wire.how_many(shown)
    if fit < len(shown):  # what is to run may be 300 KB each
        more = key_of(caller.user, found[fit - 1].schedule_id)
    return JSONResponse({"schedules": shown[:fit], "next_cursor": listing.write_cursor(more) if more else None})


@router.get("/{schedule_id}", summary="Read a schedule")
@described("ScheduleView", 401, 403, 404, 422)
def get_schedule(caller: Subject, schedule_id: ScheduleId) -> JSONResponse:
    """Return a schedule with its next instants, in UTC, and what became of its latest firing."""
    return JSONResponse(store.load(caller.user, schedule_id).public(now()))


@router.patch("/{schedule_id}", summary="Change a schedule")
@described("ScheduleView", 401, 403, 404, 409, 413, 422, takes=ScheduleChange)
def patch_schedule(request: Request, caller: Subject, schedule_id: ScheduleId, body: RawBody) -> JSONResponse:
    """Change, pause or resume a schedule; from then on it runs under the key that changed it."""
    asked = parse(ScheduleChange, body, request.headers.get("content-type"))
    given = asked.model_fields_set
    for name in given - {"name"}:
        if getattr(asked, name) is None:
            raise invalid("must not be null", name)
    for _ in range(store.WRITE_TRIES):
        found = store.load(caller.user, schedule_id)
        if found.ended:
            raise Conflict("the schedule has ended; make another one")
        changed = _changed(found, caller, asked).changed(
            key=_key(request), key_id=caller.key_id, traceparent=INCOMING.get() or found.traceparent
        )
        if store.write(changed, before=found, due_at=timers.due_at(changed)):
            _announce(changed)
            return JSONResponse(changed.public(now()))
    raise Contended("the schedule is just changing")


@router.delete("/{schedule_id}", summary="Delete a schedule")
@described("ScheduleDeleted", 401, 403, 404, 409, 422)
def delete_schedule(caller: Subject, schedule_id: ScheduleId) -> JSONResponse:
    """Delete a schedule; runs that it began go on."""
    store.delete(caller.user, schedule_id)
    return JSONResponse({"schedule_id": schedule_id, "deleted": True})


def _changed(found: Schedule, caller: Caller, asked: ScheduleChange) -> Schedule:
    given = asked.model_fields_set
    values: dict[str, Any] = {
        name: getattr(asked, name)
        for name in ("cron", "timezone", "name", "jitter_s", "overlap", "catch_up_s")
        if name in given
    }
    if asked.run is not None:
        values["run"] = _run(caller, asked.run)
    if asked.at is not None:
        values["at"], values["cron"] = _once(asked.at, asked.timezone or found.timezone), values.get("cron")
    elif asked.cron is not None:
        values["at"] = None
    if asked.paused is not None:
        values["paused"] = "owner" if asked.paused else ""
    changed = found.changed(**values)
    if changed.cron is not None and changed.at is not None:
        raise invalid("a schedule has either `cron` or `at`", "at")
    planned = changed
    if given & {"cron", "at", "timezone", "jitter_s"} or bool(changed.paused) != bool(found.paused):
        planned = _planned(changed.changed(held=False))
    # Who names the times as they are may do so while one of them is due: that firing stays.
    return changed if _TIMES(changed) == _TIMES(found) else planned


def _planned(schedule: Schedule) -> Schedule:
    """Return a schedule with its next instant, none while it is paused.

    Raises:
        Problem: 422, it would never be fired, or too often.
    """
    from shared.schedules import cron  # here: most requests do without it

    at = now()
    if schedule.cron is not None:
        gap = cron.shortest_gap(schedule.cron, schedule.timezone, at)
        least = settings().schedule_least_seconds
        if gap is not None and gap < least:
            raise invalid(f"a schedule is fired every {least} s at most", "cron", code=OFTEN)
        if gap is not None and schedule.jitter_s > gap:
            raise invalid("must not be longer than the time between two firings", "jitter_s")
        schedule = schedule.changed(library=cron.LIBRARY)
    else:
        cron.zone_of(schedule.timezone)
        if schedule.at is None or schedule.at <= at:
            raise invalid("must be in the future", "at")
        if schedule.at > at + FURTHEST_SECONDS:
            raise invalid("must be within ten years", "at")
    return schedule.changed(next_at=None if schedule.paused else schedule.after(at))


def _once(text: str | None, zone: str) -> float | None:
    from shared.schedules import cron

    return None if text is None else cron.instant_of(text, zone)


def _run(owner: Caller, asked: AgentRequest) -> dict[str, Any]:
    """Return what is kept of a ``run``, once it has been held against the owner's tier.

    Raises:
        Problem: 403, 413 or 422, as a submit of it would be answered.
    """
    if asked.user_id is not None:
        raise invalid("a run belongs to the schedule's owner; `user_id` stands beside `run`", "run.user_id")
    run = asked.model_dump(exclude_unset=True)
    if len(dumps(run).encode()) > RUN_BYTES:
        raise Problem(413, "too_large", f"`run` is over the limit of {RUN_BYTES} bytes", "run")
    allowed(owner, wanted_of(asked))
    return run


def _key(request: Request) -> str:
    return keys.digest_of(request.headers["authorization"].partition(" ")[2].strip())


def _announce(schedule: Schedule) -> None:
    """Send the message of a firing that is near; where SQS is away the sweeper does so."""
    if schedule.next_at is None or not timers.within_reach(schedule):
        return
    try:
        timers.send(schedule)
    except DependencyDown:
        log.warning("the sweeper sends a firing", extra={"schedule_id": schedule.schedule_id})
        store.look_later(schedule, now())
