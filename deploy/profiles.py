"""The profiles of samconfig.toml: parameters that fit together, for a small, a team's and a large deployment."""

from __future__ import annotations

import tomllib

from deploy.bundle import ROOT

NAMES = ("small", "team", "large")


def read(name: str) -> dict[str, str]:
    """Return a profile's parameters.

    Raises:
        KeyError: there is no such profile.
    """
    found = tomllib.loads((ROOT / "samconfig.toml").read_text())
    if name not in NAMES or name not in found:
        raise KeyError(f"no such profile: {name}; there are {', '.join(NAMES)}")
    listed: list[str] = found[name]["deploy"]["parameters"]["parameter_overrides"]
    return dict(pair.split("=", 1) for pair in listed)
