"""Settings that only the API has."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_AGENTS = Path(__file__).parent.parent / "worker" / "agents"


@cache
def cors_origins() -> tuple[str, ...]:
    """Origins whose pages may call the API (``CORS_ORIGINS``, comma-separated; ``*``, the default, is any)."""
    return _names("CORS_ORIGINS") or ("*",)


@cache
def agents() -> frozenset[str] | None:
    """Return the agents that workers have (``AGENTS``, comma-separated), or None when that is not known.

    A bundle holds no worker code, so the deployment says which agents there are; a checkout can look.
    """
    named = _names("AGENTS")
    if named:
        return frozenset(named)
    if _AGENTS.is_dir():
        return frozenset(path.stem for path in _AGENTS.glob("*.py") if not path.stem.startswith("_")) or None
    return None


def _names(variable: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in os.environ.get(variable, "").split(",") if part.strip())
