"""Which ports the local system uses, and what it runs on; with `deploy.nearby`, which says how to talk to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from deploy.nearby import (
    COMMAND,
    CREDENTIALS,
    REGION,
    LocalError,
    architecture,
    bundle_platform,
    only_local_aws,
    outputs,
    state_dir,
    use,
    use_aws,
)
from deploy.paths import SYSTEM

__all__ = [
    "COMMAND",
    "CREDENTIALS",
    "REGION",
    "ROOT",
    "LocalError",
    "Port",
    "architecture",
    "bundle_platform",
    "only_local_aws",
    "outputs",
    "state_dir",
    "use",
    "use_aws",
    "write_private",
]
ROOT = SYSTEM
API_ID = "51a1ce00"
WS_ID = "51a1ce01"


@dataclass(frozen=True, slots=True)
class Port:
    """A port and the variable that sets it."""

    variable: str
    default: int

    @property
    def number(self) -> int:
        """The port to use."""
        text = os.environ.get(self.variable, "")
        if not text:
            return self.default
        if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 65_536:
            raise LocalError(f"{self.variable} must be a port number, not {text!r}")
        return int(text)


AWS_PORT = Port("AWS_PORT", 4566)
REDIS_PORT = Port("REDIS_PORT", 6399)
LLM_PORT = Port("LLM_PORT", 8399)
STREAM_PORT = Port("STREAM_PORT", 8401)
PORTS = {"aws": AWS_PORT, "valkey": REDIS_PORT, "llm": LLM_PORT, "streaming": STREAM_PORT}
"""Each part's port."""


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whatever it was before."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
