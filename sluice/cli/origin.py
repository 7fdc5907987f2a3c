"""Where this Sluice was installed from, so that a new project says truly how to install it again (PEP 610).

On PyPI the name ``sluice`` is another project's: a bare name is never written where it would be looked up there.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

import sluice

WHEELS = "wheels"
"""Folder of a new project for the wheel, where Sluice came as a file."""


class Origin(NamedTuple):
    """What `pip install` takes, and the file that goes into the project for it, if any."""

    requirement: str
    wheel: Path | None = None


def origin(told: dict[str, Any] | None) -> Origin:
    """Read what the installer noted; None where it came from an index of the user's own."""
    url = str((told or {}).get("url", ""))
    if told and "vcs_info" in told:
        vcs = told["vcs_info"]
        return Origin(f"sluice @ {vcs['vcs']}+{url}@{vcs['commit_id']}")
    path = Path(unquote(urlparse(url).path)) if url.startswith("file:") else None
    if path is not None and path.is_file():
        return Origin(f"{WHEELS}/{path.name}", path)
    return Origin(f"sluice @ {url}" if url else f"sluice=={sluice.__version__}")


def noted() -> dict[str, Any] | None:
    """Return what the installer noted of this Sluice."""
    try:
        text = importlib.metadata.distribution("sluice").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return {"url": Path(sluice.__file__).resolve().parent.parent.as_uri()}
    found: dict[str, Any] | None = json.loads(text) if text else None
    return found
