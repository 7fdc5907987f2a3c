"""Which system a command means: the one that is given, else the project's local one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.project import Local, NoSystemError, ProjectError, root_of

if TYPE_CHECKING:
    from sluice.client import Client

PATIENCE_SECONDS = 15.0
"""How long a command tries again what fails on the way: somebody waits for its answer."""


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
        NoSystemError: it is not up.
        ProjectError: there is no project here, no such user, or the address is none.
    """
    url, key = os.environ.get("SLUICE_URL"), os.environ.get("SLUICE_KEY")
    if url:
        return _client(url, key)
    found = local().outputs
    if found is None:
        raise NoSystemError("the local system is not up: run `sluice up`, or set SLUICE_URL and SLUICE_KEY")
    keys = found["api_keys"]
    if user not in keys:
        raise ProjectError(f"there is no seeded user {user!r}; there are {', '.join(keys)}")
    return _client(found["api_url"], key or keys[user])


def _client(url: str, key: str | None) -> Client:
    from sluice.client import Client

    try:
        return Client(url, key, patience_s=PATIENCE_SECONDS)
    except ValueError as error:
        raise ProjectError(f"{error} (SLUICE_URL is {url!r})") from error
