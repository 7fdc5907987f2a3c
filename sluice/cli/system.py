"""Commands about the system: up, down, status, logs, key, check, deploy, operate."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from sluice.cli.console import FAILED, err, out, show_json, told
from sluice.cli.runs import Json
from sluice.cli.where import local
from sluice.project import Local, NoSystemError

KEY_ACTIONS = ("create", "list", "rotate", "revoke", "secret")
FUNCTIONS = ("api", "streaming", "worker", "dead_letter", "sweeper", "scaler", "stream", "webhook")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
Parameters = Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]…", help="Parameters of the template.")]


def up(
    parameters: Parameters = None,
    watch: Annotated[bool, typer.Option("--watch", help="Make edited agents live at once, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Start the whole system on this machine and deploy your agents to it."""
    asked = _parameters(parameters or [])
    with told(as_json):
        here = _ready(as_json)
        live = {"SLUICE_LIVE": str(here.work / "live")} if watch else {}
        if watch:
            _system(here, as_json, "localstack.live", "once")
        _system(here, as_json, "localstack", "up", PARAMS=asked, **live)
        if as_json:
            show_json(here.outputs)
        if watch:
            _system(here, as_json, "localstack.live", "follow", PARAMS=asked, **live)


def down(as_json: Json = False) -> None:
    """Stop what `sluice up` started."""
    with told(as_json):
        here = local()
        if not here.python.exists() and any((here.state / "pids").glob("*")):  # the cache was removed meanwhile
            here.prepare(say=err.print)
        if here.python.exists():
            _system(here, as_json, "localstack", "down")
        elif not as_json:
            out.print("nothing was running")
        if as_json:
            show_json({"up": False})


def status(as_json: Json = False) -> None:
    """Say what runs; 0 when the local system is up."""
    with told(as_json):
        here = local()
        found = here.outputs
        if as_json:
            show_json({"up": found is not None, "api_url": (found or {}).get("api_url")})
        elif here.python.exists():
            _system(here, as_json, "localstack", "status")
        if found is None:
            if not as_json:
                out.print("the local system is not up: run `sluice up`")
            raise typer.Exit(FAILED)


def logs(
    function: Annotated[str | None, typer.Argument(help="worker, api, sweeper …; all of them by default.")] = None,
    run: Annotated[str | None, typer.Option(help="Only lines of this run (a task id), past ones too.")] = None,
    level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR: the least that is shown.")] = "INFO",
    as_json: Json = False,
) -> None:
    """Follow the local system's log from now on, or print one function's. With --json lines stay as they are."""
    if function is not None and function not in FUNCTIONS:
        raise typer.BadParameter(f"one of {', '.join(FUNCTIONS)}", param_hint="FUNCTION")
    if level not in LEVELS:
        raise typer.BadParameter(f"one of {', '.join(LEVELS)}", param_hint="--level")
    asked = [*([function] if function else []), *(["--run", run] if run else []), "--level", level]
    with told(as_json):
        _system(_up(), False, "localstack", "logs", *asked, *(["--json"] if as_json else []))


def key(
    action: Annotated[str, typer.Argument(help="create, list, rotate, revoke, or secret (of its webhooks).")],
    name: Annotated[str | None, typer.Argument(help="A user (create), or a key, its prefix or its id.")] = None,
    tier: Annotated[str, typer.Option(help="free, standard, vip, service, load or operator.")] = "standard",
    limits: Annotated[str, typer.Option(help='Overrides as JSON: {"requests": 5}.')] = "{}",
    as_json: Json = False,
) -> None:
    """Make, list, rotate and revoke API keys of the local system. Of a deployed one: `sluice operate STAGE key`."""
    if action not in KEY_ACTIONS:
        raise typer.BadParameter(f"one of {', '.join(KEY_ACTIONS)}", param_hint="ACTION")
    if (name is None) != (action == "list"):
        raise typer.BadParameter(f"`key {action}` takes {'no name' if action == 'list' else 'a name'}")
    more = ["--tier", tier, "--limits", limits] if action == "create" else []
    with told(as_json):
        flag = ["--json"] if as_json else []
        _system(_up(), False, "localstack", "key", *flag, action, *([name] if name else []), *more)


def check(
    stage: Annotated[str, typer.Argument(help="Hold this stage's parameters against the template, too.")] = "local",
    as_json: Json = False,
) -> None:
    """Say what would go wrong before anything is deployed: missing imports, wrong parameters."""
    with told(as_json):
        here = _ready(as_json)
        _system(here, False, "deploy.project_check", stage, *(["--json"] if as_json else []))


def deploy(
    stage: Annotated[str, typer.Argument(help="A stage of pyproject.toml, as production.")],
    parameters: Parameters = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and build, but deploy nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Build and deploy to AWS, with the credentials and region of this shell."""
    asked = _parameters(parameters or []).split()
    with told(as_json):
        here = _ready(as_json)
        flags = [flag for flag, given in (("--json", as_json), ("--dry-run", dry_run)) if given]
        _system(here, False, "deploy.release", stage, *asked, *flags)


def operate(
    stage: Annotated[str, typer.Argument(help="A stage of pyproject.toml, as production; or local.")],
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND…", help="key …, pause LANE, resume LANE, redrive or recount-costs; each with --help."
        ),
    ],
) -> None:
    """Operate what is deployed: `sluice operate production key create ada`; also pause, resume, redrive."""
    with told(False):
        _system(_ready(False), False, "deploy.operate", "--stage", stage, *words)


def _parameters(given: list[str]) -> str:
    for each in given:
        if "=" not in each or any(character.isspace() for character in each):
            raise typer.BadParameter(f"parameters are NAME=VALUE without spaces, not {each!r}")
    return " ".join(given)


def _ready(as_json: bool) -> Local:
    here = local()
    here.prepare(say=err.print if as_json else out.print)
    return here


def _up() -> Local:
    here = local()
    if here.outputs is None or not here.python.exists():
        raise NoSystemError("the local system is not up: run `sluice up`")
    return here


def _system(here: Local, quiet: bool, module: str, *arguments: str, **environment: str) -> None:
    """Run one of the system's modules; its words go to standard error where ours are JSON.

    Raises:
        typer.Exit: it failed; it has said why.
    """
    sys.stdout.flush()
    command = here.command(module, *arguments)
    given = here.environment(**environment)
    if not quiet:
        done = subprocess.run(command, env=given, check=False)
        if done.returncode:
            raise typer.Exit(done.returncode)
        return
    heard = subprocess.run(command, env=given, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
    if heard.returncode:
        message = heard.stderr.strip().removeprefix("error: ")
        show_json({"error": {"code": "local_system", "message": message}})
        raise typer.Exit(heard.returncode)
    sys.stderr.write(heard.stderr)
