"""Agents: one file each, ``async def run(ctx) -> AgentResult``.

Those of this folder and those of a user's project come through one door: the bundle says which module is the agent of
which name. Where no bundle was made, the files of this folder are the agents.
"""

import importlib
import json
import os
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import cast

from shared.errors import NotFound
from shared.settings import settings
from sluice import Agent

_LISTED = Path(__file__).parent / "registered.json"
"""Written into the bundle: name -> dotted module."""
LIVE = "LIVE_AGENTS"
"""Local runs: variable that names a folder with agents that are edited while runs go on (`sluice up --watch`)."""

_registered: dict[str, Agent | str] = {}


def register(found: Mapping[str, Agent | str]) -> None:
    """Make more agents known in this process: modules, or their dotted names. They go before the bundle's own."""
    _registered.update(found)
    names.cache_clear()


def unregister(*given: str) -> None:
    """Take back what was registered under these names."""
    for name in given:
        _registered.pop(name, None)
    names.cache_clear()


@cache
def _bundled() -> dict[str, str]:
    if _LISTED.is_file():
        return dict(json.loads(_LISTED.read_text()))
    return {}


@cache
def names() -> tuple[str, ...]:
    """Return the names of all agents."""
    here = () if _bundled() else (found.name for found in pkgutil.iter_modules(__path__))
    return tuple(sorted({name for name in here if not name.startswith("_")} | {*_bundled(), *_registered}))


def load(name: str) -> Agent:
    """Import an agent on first use.

    Raises:
        NotFound: there is none of that name.
    """
    folder = os.environ.get(LIVE)
    if folder and settings().stage == "local":
        from functions.worker.agents import _live

        module = _live.module_of(Path(folder), name)
        if module is not None:
            return cast("Agent", module)
    if name not in names():
        raise NotFound(f"this worker has no agent {name!r}")
    found = _registered.get(name) or _bundled().get(name) or f"{__name__}.{name}"
    return cast("Agent", importlib.import_module(found)) if isinstance(found, str) else found
