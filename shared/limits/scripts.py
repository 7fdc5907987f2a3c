"""The limits' Lua scripts, read once, and what all that runs them has in common."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from shared import valkey
from shared.valkey import Script

_FOLDER = Path(__file__).parent / "lua"


@cache
def script(name: str) -> Script:
    """Return the script ``lua/<name>.lua`` with ``lua/common.lua`` in front."""
    return Script(_FOLDER / "common.lua", _FOLDER / f"{name}.lua")


class OnValkey:
    """Whatever keeps its state in this environment's Valkey, by that server's clock."""

    def __init__(self, *, on: Any = None, now_us: Callable[[], int] | None = None) -> None:
        """``on`` is another Valkey client and ``now_us`` another clock, µs, than the environment's (tests)."""
        self._on = on
        self._now_us = now_us

    def _server(self) -> Any:
        return self._on if self._on is not None else valkey.client()

    def _now(self) -> int | str:
        return self._now_us() if self._now_us else ""  # empty: the script asks its server
