"""The limits' Lua scripts, read once."""

from functools import cache
from pathlib import Path

from shared.valkey import Script

_FOLDER = Path(__file__).parent / "lua"


@cache
def script(name: str) -> Script:
    """Return the script ``lua/<name>.lua`` with ``lua/common.lua`` in front."""
    return Script(_FOLDER / "common.lua", _FOLDER / f"{name}.lua")
