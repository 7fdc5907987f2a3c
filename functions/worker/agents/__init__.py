"""Agents: one file each, ``async def run(ctx) -> AgentResult``. A file put here is an agent of its name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, cast

from shared.errors import NotFound

if TYPE_CHECKING:
    from sluice import Agent


@cache
def names() -> tuple[str, ...]:
    """Return the names of all agents."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_")))


def load(name: str) -> Agent:
    """Import an agent on first use.

    Raises:
        NotFound: there is none of that name.
    """
    if name not in names():
        raise NotFound(f"this worker has no agent {name!r}")
    return cast("Agent", importlib.import_module(f"{__name__}.{name}"))
