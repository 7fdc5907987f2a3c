"""Which system a command means: the one that is given, else the project's local one."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from sluice.cli.console import AWAY, err
from sluice.client import Client
from sluice.project import Local, ProjectError, root_of


def local() -> Local:
    """Return the project that the command runs in.

    Raises:
        ProjectError: there is none here.
    """
    root = root_of(Path.cwd())
    if root is None:
        raise ProjectError("no pyproject.toml here, or above, has [tool.sluice]: `sluice init NAME` makes a project")
    return Local(root)


def client(user: str = "demo") -> Client:
    """Return a client of the system that the command means.

    ``SLUICE_URL`` and ``SLUICE_KEY`` name one; else it is the local one, with the key of a seeded user.

    Raises:
        typer.Exit: there is none.
    """
    url, key = os.environ.get("SLUICE_URL"), os.environ.get("SLUICE_KEY")
    if url:
        return Client(url, key)
    found = local().outputs
    if found is None:
        err.print("[red]error:[/] the local system is not up: run `sluice up`, or set SLUICE_URL and SLUICE_KEY")
        raise typer.Exit(AWAY)
    keys = found["api_keys"]
    if user not in keys:
        raise ProjectError(f"there is no seeded user {user!r}; there are {', '.join(keys)}")
    return Client(found["api_url"], key or keys[user])
