"""Items and messages as JSON files, and back: bytes as base64, and times moved to the day on which they are read."""

from __future__ import annotations

import base64
import json
import re
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from shared.clock import iso
from shared.tasks.model import ITEM_VERSION

FOLDER = Path(__file__).parent
AGE_SECONDS = 10.0
CURRENT = FOLDER / f"v{ITEM_VERSION}"
_LONG_AGO = 1_500_000_000
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_EPOCH = re.compile(r"(?<=[:,\[])1[5-9]\d{8}(?:\.\d+)?(?=[,}\]])")
"""A time as JSON text holds it; no other number of the recordings is as large."""


def versions() -> list[Path]:
    """Return the folders of every version that was recorded."""
    return sorted(path for path in FOLDER.glob("v*") if path.is_dir())


def save(folder: Path, name: str, value: Any) -> None:
    """Write one recording."""
    folder.mkdir(exist_ok=True)
    text = json.dumps(value, indent=1, sort_keys=True, default=lambda data: {"base64": base64.b64encode(data).decode()})
    (folder / f"{name}.json").write_text(text + "\n")


def load(folder: Path, name: str) -> Any:
    """Read one recording, as if it had been made a little while ago: leases that were held have lapsed."""
    late = time.time() - AGE_SECONDS - float(json.loads((folder / "recorded.json").read_text())["at"])
    return _moved(json.loads((folder / f"{name}.json").read_text()), late)


def _moved(value: Any, late: float) -> Any:
    if isinstance(value, dict):
        if set(value) == {"base64"}:
            return base64.b64decode(value["base64"])
        if set(value) == {"N"}:
            return {"N": _later(value["N"], late)}
        return {name: _moved(each, late) for name, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, late) for each in value]
    if isinstance(value, str):
        value = _ISO.sub(lambda found: _iso_later(found[0], late), value)
        return _EPOCH.sub(lambda found: _later(found[0], late), value)
    return value


def _later(text: str, late: float) -> str:
    number = float(text)
    if number < _LONG_AGO:
        return text
    return f"{number + late:.6f}" if "." in text else str(int(number + late))


def _iso_later(text: str, late: float) -> str:
    at = datetime.fromisoformat(text) + timedelta(seconds=late)
    return iso(at.timestamp())
