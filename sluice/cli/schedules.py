"""Commands about schedules: add, list, pause, resume, rm. `sluice schedules` alone lists them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from sluice.cli.console import out, show_json, told
from sluice.cli.runs import As, Json
from sluice.cli.where import client

app = typer.Typer(help="Runs that begin by the clock: add, list, pause, resume, rm.")

ScheduleId = Annotated[str, typer.Argument(help="As `sluice schedules list` shows it: `sch_…`.")]


@app.callback(invoke_without_command=True)
def _list_by_default(context: typer.Context, user: As = "demo", as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        list_(user, as_json)


@app.command()
def add(
    message: Annotated[str, typer.Argument(help="What is to be submitted each time.")],
    cron: Annotated[str | None, typer.Option(help="Five fields, as '0 8 * * mon-fri'.")] = None,
    at: Annotated[str | None, typer.Option(help="Once: a date and time, as 2026-07-01T08:00:00Z.")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", "--tz", help="Whose clocks count; UTC if none.")] = None,
    name: Annotated[str | None, typer.Option(help="Yours; shown in lists.")] = None,
    agent: Annotated[str | None, typer.Option(help="Name of the agent.")] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    session: Annotated[str | None, typer.Option(help="Conversation that the runs belong to.")] = None,
    webhook: Annotated[str | None, typer.Option(help="Told of the ends of runs, and of firings without one.")] = None,
    overlap: Annotated[str | None, typer.Option(help="While the last run goes on: skip, queue or cancel.")] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Make it paused.")] = False,
    user: As = "demo",
    as_json: Json = False,
) -> None:
    """Have a message submitted by the clock: at each instant of a cron expression, or once."""
    if (cron is None) == (at is None):
        raise typer.BadParameter("give either --cron or --at")
    run = {"message": message, "agent": agent, "model": model, "session_id": session, "webhook_url": webhook}
    fields = {"cron": cron, "at": at, "timezone": timezone, "name": name, "overlap": overlap, "paused": paused or None}
    with told(as_json), client(user) as api:
        _show(api.make_schedule(_given(run), **_given(fields)), as_json)


@app.command("list")
def list_(user: As = "demo", as_json: Json = False) -> None:
    """List your schedules with what comes next."""
    with told(as_json), client(user) as api:
        found = api.schedules()
        if as_json:
            show_json({"schedules": found})
            return
        coming = Column("next (UTC)", no_wrap=True, min_width=16)
        id_ = Column("schedule", no_wrap=True, min_width=36)
        table = Table(id_, "name", "when", coming, "last", box=None, pad_edge=False)
        for one in found:
            when = one.get("cron") or one.get("at") or ""
            last = (one.get("last") or {}).get("outcome", "")
            name = escape(one.get("name") or "")
            table.add_row(one["schedule_id"], name, f"{when} {one['timezone']}", _minute(_coming(one)), last)
        out.print(table)


@app.command()
def pause(schedule_id: ScheduleId, user: As = "demo", as_json: Json = False) -> None:
    """Pause a schedule: it is not fired until it is resumed."""
    with told(as_json), client(user) as api:
        _show(api.change_schedule(schedule_id, paused=True), as_json)


@app.command()
def resume(schedule_id: ScheduleId, user: As = "demo", as_json: Json = False) -> None:
    """Resume a schedule; what it missed is not made up for. From now on it runs under your key."""
    with told(as_json), client(user) as api:
        _show(api.change_schedule(schedule_id, paused=False), as_json)


@app.command()
def rm(schedule_id: ScheduleId, user: As = "demo", as_json: Json = False) -> None:
    """Delete a schedule. Runs that it began go on."""
    with told(as_json), client(user) as api:
        api.delete_schedule(schedule_id)
        if as_json:
            show_json({"schedule_id": schedule_id, "deleted": True})
        else:
            out.print(f"{schedule_id}  deleted")


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _coming(one: dict[str, Any]) -> str:
    return "paused" if one.get("paused") else next(iter(one.get("next") or []), "ended")


def _minute(instant: str) -> str:
    return instant[:16].replace("T", " ")


def _show(one: dict[str, Any], as_json: bool) -> None:
    show_json(one) if as_json else out.print(f"{one['schedule_id']}  {one['status']}  {_coming(one)}")
