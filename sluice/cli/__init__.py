"""The command `sluice`. Exit codes: 0 done, 1 failed, 2 not understood, 3 no system, 4 refused, 130 interrupted."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

import sluice
from sluice.cli import runs, schedules, system, waits
from sluice.cli.console import USAGE, show_json
from sluice.cli.scaffold import init

app = typer.Typer(
    name="sluice",
    help="Runs AI agents for many users at once, on your machine and on AWS.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def _version(asked: bool) -> None:
    if asked:
        print(sluice.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


app.command()(init)
app.command()(system.up)
app.command()(system.down)
app.command()(system.status)
app.command()(system.deploy)
app.command(context_settings={"ignore_unknown_options": True})(system.operate)
app.command()(runs.run)
app.command()(runs.watch)
app.command()(runs.result)
app.command()(runs.cancel)
app.command("list")(runs.list_)
app.command()(waits.signal)
app.command()(waits.approvals)
app.command()(waits.allow)
app.command()(waits.deny)
app.add_typer(schedules.app, name="schedules")
app.command()(system.logs)
app.command()(system.key)
app.command()(system.check)


def main() -> None:
    """Run the command line. With ``--json`` a command that is not understood says so as JSON, too."""
    if "--json" not in sys.argv:
        app()
        return
    try:
        ended = app(standalone_mode=False)
    except TyperException as error:
        say = getattr(error, "format_message", error.__str__)
        show_json({"error": {"code": "usage", "message": say()}})
        ended = USAGE
    sys.exit(ended)
