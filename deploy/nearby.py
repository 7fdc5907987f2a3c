"""A local system that runs: where it keeps its addresses, and how a process on this machine talks to it.

What starts it is `localstack`; the commands for operators, which serve stacks on AWS, too, know of it only this.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.paths import INSTALLED, WORK

if TYPE_CHECKING:
    from collections.abc import MutableMapping

COMMAND = "sluice" if INSTALLED else "make"
"""What people type."""
REGION = "us-east-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
}


class LocalError(Exception):
    """Something that the person at the keyboard can mend; the message says how."""


def state_dir() -> Path:
    """Return where state is kept: ``SLUICE_STATE``, by default ``.local``."""
    return Path(os.environ.get("SLUICE_STATE") or WORK / ".local").resolve()


def outputs() -> dict[str, Any]:
    """Read the addresses of the running system.

    Raises:
        LocalError: it is not up.
    """
    path = state_dir() / "outputs.json"
    if not path.exists():
        raise LocalError(f"the local system is not up: run `{COMMAND} up`")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def only_local_aws(environment: MutableMapping[str, str]) -> None:
    """Take the developer's own AWS settings (profile, endpoints, sign-on, files) out of an environment."""
    for name in [name for name in environment if name.startswith("AWS_") and name != "AWS_PORT"]:
        del environment[name]
    nothing = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    environment.update(CREDENTIALS | nothing, AWS_EC2_METADATA_DISABLED="true")


def use_aws(endpoint: str) -> None:
    """Make this process' AWS clients those of the local AWS, and no other."""
    only_local_aws(os.environ)
    os.environ["AWS_ENDPOINT_URL"] = endpoint
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name, ""), "127.0.0.1", "localhost"]))


def use(found: dict[str, Any]) -> None:
    """Make this process' AWS clients and Sluice's settings those of the running system."""
    use_aws(found["aws_endpoint_url"])
    os.environ["TABLE_NAME"] = found["table"]
    os.environ["BLOB_BUCKET"] = found["bucket"]
    os.environ["REDIS_URL"] = found["redis_url"]
    for lane in ("high", "normal", "quarantine", "webhook", "firings"):
        os.environ[f"QUEUE_URL_{lane.upper()}"] = found["queues"][lane]
    os.environ["WS_ENDPOINT_URL"] = found["ws_endpoint_url"]
    os.environ["WEBHOOK_SECRET"] = (Path(found["state_dir"]) / "webhook-secret").read_text()
    from shared.settings import settings

    settings.cache_clear()


def architecture() -> str:
    """Return the functions' architecture that runs natively here."""
    return "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"


def bundle_platform() -> str:
    """Return the platform that bundles are built for when they run here, as uv names it."""
    system = "apple-darwin" if platform.system() == "Darwin" else "manylinux2014"
    machine = "aarch64" if architecture() == "arm64" else "x86_64"
    return f"{machine}-{system}"
