"""Commands about runs that wait: signal, approvals, allow, deny."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from sluice.cli.console import out, show_json, told
from sluice.cli.runs import As, Json, TaskId
from sluice.cli.where import client

Fingerprint = Annotated[str, typer.Argument(help="Of what is asked, as `sluice approvals` shows it.")]


def signal(
    task_id: TaskId,
    name: Annotated[str, typer.Argument(help="What the run waits for.")],
    payload: Annotated[str | None, typer.Argument(help="JSON, or a text.")] = None,
    user: As = "demo",
    as_json: Json = False,
) -> None:
    """Send a run the signal that it waits for, or will."""
    with told(as_json), client(user) as api:
        _show(api.signal(task_id, name, None if payload is None else _json(payload)), as_json)


def approvals(user: As = "demo", as_json: Json = False) -> None:
    """List what your runs wait to be allowed: calls of tools, and budget."""
    with told(as_json), client(user) as api:
        found = api.approvals()
        if as_json:
            show_json({"approvals": found})
            return
        # Both are typed again, in `allow`: neither may be cut where the window is narrow.
        whose, which = Column("run", no_wrap=True, min_width=37), Column("fingerprint", no_wrap=True, min_width=16)
        table = Table(whose, which, "asks for", "cost so far", box=None, pad_edge=False)
        for one in found:
            table.add_row(one["task_id"], one["fingerprint"], escape(_asked(one)), f"USD {one['cost_usd']:.6f}")
        out.print(table)


def allow(
    task_id: TaskId,
    fingerprint: Fingerprint,
    arguments: Annotated[str | None, typer.Option(help="Other arguments to make the call with, as JSON.")] = None,
    raise_usd: Annotated[float | None, typer.Option(help="By how much to raise the run's ceiling.")] = None,
    user: As = "demo",
    as_json: Json = False,
) -> None:
    """Allow the call, or the budget, that a run waits for."""
    given = None if arguments is None else _json(arguments)
    if given is not None and not isinstance(given, dict):
        raise typer.BadParameter("--arguments is a JSON object")
    with told(as_json), client(user) as api:
        _show(api.allow(task_id, fingerprint, arguments=given, raise_usd=raise_usd), as_json)


def deny(
    task_id: TaskId,
    fingerprint: Fingerprint,
    reason: Annotated[str | None, typer.Option(help="Why; the model is told.")] = None,
    user: As = "demo",
    as_json: Json = False,
) -> None:
    """Deny the call, or the budget, that a run waits for."""
    with told(as_json), client(user) as api:
        _show(api.deny(task_id, fingerprint, reason=reason), as_json)


def _asked(one: dict[str, Any]) -> str:
    if (budget := one.get("budget")) is not None:
        return f"{budget['limit']}: {budget['ceiling']} {budget['unit']}, the next call up to {budget['next']}"
    return f"{one['tool']} {json.dumps(one.get('arguments'), ensure_ascii=False)}"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _show(answer: dict[str, Any], as_json: bool) -> None:
    show_json(answer) if as_json else out.print(f"{answer['task_id']}  {answer['status']}")
