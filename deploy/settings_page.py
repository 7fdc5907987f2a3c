"""Writes docs/settings.md from the code's settings and the template's parameters. ``make settings-page`` runs it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from deploy.bundle import ROOT
from deploy.stack import read_template
from shared.settings import POOL_PROFILES, Settings

PAGE = ROOT / "docs" / "settings.md"

INTRO = """# Settings

Which settings are there, what are their defaults, and what values may they have? `make settings-page` makes this page
from `shared/settings.py` and `template.yaml`. A test fails while the page is out of date.

A deployment sets **parameters**: `sam deploy --parameter-overrides LeaseSeconds=30 …`, locally
`make deploy PARAMS="LeaseSeconds=30"`. The template hands them to the functions as environment **variables**. Each
environment (one running copy of a function) reads them once and checks them before anything runs. A wrong one fails
at the first request and names itself. An empty variable counts as unset.

Some rules concern several settings. `HeartbeatSeconds` is at most half of `LeaseSeconds`, `BatchSize` is at most
`RunsPerEnvironment`, and the lanes' concurrency adds up to `MaxReplicas`. `python -m deploy.preflight` checks all
such rules before a deployment. The functions check those that concern them. The [glossary](glossary.md) explains
words such as *lease* and *lane*.
"""


def page() -> str:
    """Return the page's text."""
    parameters: dict[str, dict[str, Any]] = read_template(ROOT / "template.yaml")["Parameters"]
    settings = {item.name: item for item in fields(Settings)}
    lines = [INTRO, "## Parameters", "", "| parameter | default | allowed | |", "|---|---|---|---|"]
    for name, one in parameters.items():
        lines.append(f"| `{name}` | {_shown(one['Default'])} | {_allowed(one)} | {_text(one['Description'])} |")
    lines += [
        "",
        "## Variables",
        "",
        "The bounds are those of the code. A parameter may have narrower ones. Where no parameter is named, ",
    ]
    lines[-1] += "the template sets the variable from its own resources."
    lines += ["", "| variable | default | within | parameter | |", "|---|---|---|---|---|"]
    for name, item in settings.items():
        parameter = "".join(word.capitalize() for word in name.split("_"))
        given = f"`{parameter}`" if parameter in parameters else ""
        lines.append(
            f"| `{name.upper()}` | {_shown(item.default)} | {_within(item.metadata)} | {given} "
            f"| {_text(item.metadata['doc'])} |"
        )
    lines += ["", "## Connection pools", "", "| `PoolProfile` | most connections | kept alive |", "|---|---|---|"]
    lines += [f"| `{name}` | {most} | {kept} |" for name, (most, kept) in POOL_PROFILES.items()]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`" if text else "empty"


def _text(text: str) -> str:
    return text.replace("|", "\\|")


def _allowed(parameter: dict[str, Any]) -> str:
    if "AllowedValues" in parameter:
        return ", ".join(f"`{value}`" for value in parameter["AllowedValues"])
    if "AllowedPattern" in parameter:
        return f"`{_text(parameter['AllowedPattern'])}`"
    return _range(parameter.get("MinValue"), parameter.get("MaxValue"))


def _within(metadata: Any) -> str:
    if metadata["one_of"]:
        return ", ".join(f"`{value}`" for value in metadata["one_of"])
    return _range(metadata["low"], metadata["high"])


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    return f"{'' if low is None else low} … {'' if high is None else high}".strip()


if __name__ == "__main__":
    PAGE.write_text(page())
