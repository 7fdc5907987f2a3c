"""Command line of the local system: ``python -m localstack up|down|deploy|status|logs|key|pause|resume|redrive``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from localstack import deployment
from localstack.environ import LocalError, outputs, use
from localstack.system import FUNCTIONS, PARTS, System

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _up(_: argparse.Namespace) -> None:
    text = os.environ.get("PARAMS")
    asked = deployment.parameters_from(text) if text is not None else {}
    found = System().up(deployment.project_parameters() | asked)
    print(f"\n  API        {found['api_url']}\n  docs       {found['api_url']}/docs\n  dashboard  {found['api_url']}/")
    print(f"  streaming  {found['stream_url']}   (base_url of OpenAI clients: {found['openai_base_url']})")
    print(f"  WebSocket  {found['ws_url']}\n  keys       {found['state_dir']}/outputs.json\n")


def _deploy(_: argparse.Namespace) -> None:
    outputs()  # it must be up
    text = os.environ.get("PARAMS")
    System().up(deployment.parameters_from(text) if text is not None else None)


def _down(_: argparse.Namespace) -> None:
    stopped = System().down()
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def _status(_: argparse.Namespace) -> None:
    system = System()
    for name in PARTS:
        process = system.processes.running(name)
        print(f"{name:10} {f'runs, pid {process.pid}' if process else 'does not run'}")


def _logs(asked: argparse.Namespace) -> None:
    """Follow what the functions print, from now on; of one run also what is there; or print one function's group."""
    from rich.console import Console

    from localstack.logs import Reader, follow, print_lines

    reader = Reader(run=asked.run_id, level=asked.level, raw=asked.json)
    if asked.function:
        print_lines(_group(asked.function), reader, Console())
        return
    files = [System().processes.log(name) for name in ("aws", "streaming")]
    print_lines(follow(files, from_start=asked.run_id is not None), reader, Console())


def _group(function: str) -> Iterator[str]:
    """Yield the lines of a function's log group, as far as it is kept."""
    import boto3

    found = outputs()
    use(found)
    logs: Any = boto3.client("logs")
    config: Any = boto3.client("lambda").get_function_configuration(FunctionName=found["functions"][function])
    try:
        told = logs.filter_log_events(logGroupName=config["LoggingConfig"]["LogGroup"], limit=500)
    except logs.exceptions.ResourceNotFoundException:  # it was not called yet
        return
    for event in told["events"]:
        yield event["message"].rstrip()


def _key(asked: argparse.Namespace) -> None:
    from deploy import keys

    use(outputs())
    keys.run(asked)


def _tell_pauses(client: Any) -> None:
    """Have the scaler tell environments at work, which else learn of it within a minute."""
    for page in client.get_paginator("list_functions").paginate():
        for function in page["Functions"]:
            if "ScalerFunction" in function["FunctionName"]:
                client.invoke(FunctionName=function["FunctionName"], Payload=b'{"only": "pauses"}')


def _mapping(asked: argparse.Namespace, enabled: bool) -> None:
    import boto3

    found = outputs()
    use(found)
    if asked.lane not in found["mappings"]:
        raise LocalError(f"LANE must be one of {', '.join(found['mappings'])}")
    client: Any = boto3.client("lambda")
    client.update_event_source_mapping(UUID=found["mappings"][asked.lane], Enabled=enabled)
    _tell_pauses(client)
    print(f"{asked.lane} is {'running' if enabled else 'paused: its tasks wait, runs under way end'}")


def _redrive(_: argparse.Namespace) -> None:
    from shared.tasks import redrive

    use(outputs())
    done = list(redrive.redrive())
    for old, new in done:
        print(f"{old} runs again as {new}")
    print(f"{len(done)} tasks redriven")
    for message in redrive.unreadable():
        print(f"unreadable message {message['sk']} from {message['queue']}: {message['body'][:80]!r}")


def main() -> int:
    """Run a command; errors that the caller can mend are printed without a traceback."""
    parser = argparse.ArgumentParser(prog="python -m localstack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in {"up": _up, "down": _down, "deploy": _deploy, "status": _status, "redrive": _redrive}.items():
        commands.add_parser(name).set_defaults(run=run)
    logs = commands.add_parser("logs")
    logs.add_argument("function", nargs="?", choices=list(FUNCTIONS))
    logs.add_argument("--json", action="store_true")
    logs.add_argument("--run", dest="run_id", help="only lines of this run, those that are there already, too")
    logs.add_argument("--level", choices=LEVELS, default="INFO")
    logs.set_defaults(run=_logs)
    for name, enabled in {"pause": False, "resume": True}.items():
        lane = commands.add_parser(name)
        lane.add_argument("lane")
        lane.set_defaults(run=lambda asked, enabled=enabled: _mapping(asked, enabled))
    key = commands.add_parser("key")
    if sys.argv[1:2] == ["key"]:  # with it come AWS' clients, which take half of what `down` and `status` do
        from deploy import keys

        keys.add_arguments(key).set_defaults(run=_key)
    asked = parser.parse_args()
    try:
        asked.run(asked)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
