"""Commands about runs: run, watch, list, result, cancel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from sluice.cli.console import FAILED, err, out, show_json, told
from sluice.cli.where import client

if TYPE_CHECKING:
    from sluice.client import Client, Event, Run

Json = Annotated[bool, typer.Option("--json", help="Print JSON, one value a line.")]
As = Annotated[str, typer.Option("--as", metavar="USER", help="A seeded user of the local system.")]
TaskId = Annotated[str, typer.Argument(help="The run's id.")]


def run(
    agent: Annotated[str, typer.Argument(help="The agent's name.")],
    message: Annotated[str, typer.Argument(help="What you ask it.")],
    session: Annotated[str | None, typer.Option(help="A conversation to go on with.")] = None,
    model: Annotated[str | None, typer.Option(help="Another model than the default.")] = None,
    field: Annotated[list[str] | None, typer.Option(help="Any other field of POST /agent: NAME=JSON.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow it; print its id.")] = False,
    user: As = "demo",
    as_json: Json = False,
) -> None:
    """Submit a message and follow the run to its end; 0 when it completes, 1 when it fails."""
    fields = _fields(field or [])
    with told(as_json), client(user) as api:
        submitted = api.submit(message, agent=agent, session_id=session, model=model, **fields)
        if detach:
            show_json({"task_id": submitted.task_id, "status": submitted.status}) if as_json else out.print(
                submitted.task_id
            )
            return
        _follow(api, submitted.task_id, 0, as_json)


def watch(
    task_id: TaskId,
    after: Annotated[int, typer.Option(help="Begin behind this event.")] = 0,
    user: As = "demo",
    as_json: Json = False,
) -> None:
    """Follow a run to its end, from its beginning; 0 when it completes, 1 when it fails."""
    with told(as_json), client(user) as api:
        _follow(api, task_id, after, as_json)


def result(
    task_id: TaskId,
    wait: Annotated[float, typer.Option(help="Seconds to wait for its end.")] = 0,
    user: As = "demo",
    as_json: Json = False,
) -> None:
    """Show a run as it is."""
    with told(as_json), client(user) as api:
        found = api.result(task_id, wait_s=wait)
        if as_json:
            show_json(found.raw)
        else:
            _summary(found, with_text=True)


def cancel(task_id: TaskId, user: As = "demo", as_json: Json = False) -> None:
    """Ask for a run's end."""
    with told(as_json), client(user) as api:
        found = api.cancel(task_id)
        show_json(found.raw) if as_json else out.print(f"{found.task_id}  {found.status}")


def list_(
    status: Annotated[str | None, typer.Option(help="Only runs of this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    user: As = "demo",
    as_json: Json = False,
) -> None:
    """List your runs, newest first."""
    with told(as_json), client(user) as api:
        found = api.page(status=status, limit=limit)
        if as_json:
            show_json({"tasks": [one.raw for one in found.runs], "next_cursor": found.cursor})
            return
        columns = ("status", "agent", "model", "created")
        table = Table(Column("run", no_wrap=True, min_width=37), *columns, box=None, pad_edge=False)
        for one in found.runs:
            created = str(one.raw.get("created_at", ""))[5:16].replace("T", " ")  # all of it fits 80 columns so
            table.add_row(one.task_id, one.status, *(str(one.raw.get(k, "")) for k in ("agent", "model")), created)
        out.print(table)


def _fields(given: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals:
            raise typer.BadParameter(f"--field is NAME=JSON, not {each!r}")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def _follow(api: Client, task_id: str, after: int, as_json: bool) -> None:
    if not as_json:
        err.print(f"[dim]{task_id}[/]")
    text = ""
    try:
        for event in api.follow(task_id, after=after):
            if as_json:
                show_json({"seq": event.seq, "type": event.type, "at": event.at, "data": event.data})
            else:
                text = _show(event, text)
                _advise(task_id, event)
    except KeyboardInterrupt:
        err.print(f"\nthe run goes on: `sluice watch {task_id}` follows it again, `sluice cancel {task_id}` ends it")
        raise
    found = api.result(task_id)
    if as_json:
        show_json(found.raw)
    else:
        if text:
            out.print()
        _summary(found, with_text=text != found.response)
    if found.status != "complete":
        raise typer.Exit(FAILED)


def _show(event: Event, text: str) -> str:
    """Print an event; returns the model's text that the cursor stands behind."""
    if event.type == "token":
        piece = str(event.data.get("text", ""))
        out.print(escape(piece), end="")
        return text + piece
    if event.type in ("complete", "failed", "cancelled", "tool_arguments"):
        return text
    if event.type == "step" and "error" not in event.data:
        return text
    if text:
        out.print()
    about = json.dumps(event.data, ensure_ascii=False)
    err.print(f"[dim]{event.type:<12} {escape(about if len(about) < 100 else about[:99] + '…')}[/]")
    return ""


def _advise(task_id: str, event: Event) -> None:
    """Say how to answer what a run waits for."""
    for one in event.data.get("for") or () if event.type == "waiting" else ():
        if one["kind"] == "approval":
            raised = " --raise-usd …" if "budget" in one else ""
            err.print(f"             sluice allow {task_id} {one['fingerprint']}{raised}, or sluice deny", markup=False)
        elif one["kind"] == "signal":
            err.print(f"             sluice signal {task_id} {one['name']} JSON", markup=False)


def _why(found: Run) -> str:
    """Say what a run that has not ended waits for, where the API does."""
    waits = [f"{one['kind']} {one.get('tool') or one.get('name') or ''}" for one in found.raw.get("waiting_for") or []]
    why = ", ".join(waits) or found.raw.get("reason")
    return f" ({str(why).strip()})" if why and found.status in ("queued", "waiting") else ""


def _summary(found: Run, *, with_text: bool) -> None:
    if found.response is not None and with_text:
        out.print(escape(found.response))
    usage = found.usage or {}
    cost = f", {usage['total_tokens']} tokens, USD {usage['cost_usd']:.6f}" if "total_tokens" in usage else ""
    colour = {"complete": "green", "failed": "red"}.get(found.status, "yellow")
    err.print(f"[{colour}]{found.status}[/]{escape(_why(found))}{cost}")
    if found.error:
        err.print(f"[red]{escape(str(found.error.get('code')))}[/]: {escape(str(found.error.get('message')))}")
