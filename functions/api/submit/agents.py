"""Which agents there are, as far as the API can know: its bundle holds none of their code."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_LISTED = Path(__file__).parents[1] / "agents.txt"
"""Written into the bundle."""
_AGENTS = Path(__file__).parents[2] / "worker" / "agents"
"""Where a checkout has them."""


@cache
def agents() -> frozenset[str] | None:
    """Return the agents that workers have, or None when that is not known."""
    if _LISTED.is_file():
        return frozenset(_LISTED.read_text().split())
    if _AGENTS.is_dir():
        return frozenset(path.stem for path in _AGENTS.glob("*.py") if not path.stem.startswith("_"))
    return None
