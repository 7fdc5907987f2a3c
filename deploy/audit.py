"""Audits the pinned packages online: known vulnerabilities (pip-audit) and yanked releases (uv). `make audit`.

What is not answered is not clean: a package that the advisory service does not know, or does not answer for, fails the
audit. Exit code 0: all clean; 1: something was found; 2: the service could not be asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.bundle import ROOT

REQUIREMENTS = ROOT / "requirements"


@dataclass
class Report:
    """What an audit came to."""

    audited: set[str] = field(default_factory=set)
    vulnerable: list[str] = field(default_factory=list)
    unanswered: set[str] = field(default_factory=set)
    yanked: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def code(self) -> int:
        """Return the exit code."""
        if self.vulnerable or self.yanked:
            return 1
        return 2 if self.unanswered or self.failed or not self.audited else 0

    def lines(self) -> list[str]:
        """Say it to people."""
        told = [f"vulnerable: {each}" for each in self.vulnerable] + [f"yanked: {each}" for each in self.yanked]
        told += self.failed
        if self.unanswered:
            told.append(
                f"NOT AUDITED: the advisory service gave no answer for {len(self.unanswered)} packages. It is not "
                "reachable from here, or a mirror stands in its place; audit where it is."
            )
        told.append(f"{len(self.audited)} packages audited, {len(self.vulnerable)} vulnerabilities")
        return told


def take(report: Report, name: str, output: str, errors: str) -> None:
    """Add what pip-audit printed of one requirement file."""
    try:
        found: dict[str, Any] = json.loads(output)
    except ValueError:
        last = errors.strip().splitlines()[-1:] or ["no reason given"]
        report.failed.append(f"{name}: NOT AUDITED, the advisory service could not be asked: {last[0][:200]}")
        return
    for package in found["dependencies"]:
        pinned = f"{package['name']} {package.get('version', '')}".strip()
        if "skip_reason" in package:
            report.unanswered.add(pinned)
            continue
        report.audited.add(pinned)
        for each in package["vulns"]:
            mended = ", ".join(each.get("fix_versions", [])) or "no release yet"
            report.vulnerable.append(f"{name}: {pinned}: {each['id']} (mended in {mended})")


def yanked(errors: str) -> list[str]:
    """Return the warnings of yanked releases among what uv printed."""
    return [line.strip() for line in errors.splitlines() if "yanked" in line]


def audit(pip_audit: str) -> Report:
    """Ask about every requirement file."""
    report = Report()
    for path in sorted(REQUIREMENTS.glob("*.txt")):
        asked = [pip_audit, "--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
        done = _run([*asked, "-r", str(path)])
        take(report, path.name, done.stdout, done.stderr)
        with tempfile.TemporaryDirectory() as empty:
            plan = ["--dry-run", "--no-deps", "--require-hashes", "--python-version", "3.13", "--target", empty]
            done = _run([os.environ.get("UV", "uv"), "pip", "install", *plan, "-r", str(path)])
        report.yanked += [f"{path.name}: {line}" for line in yanked(done.stderr)]
        if done.returncode:
            report.failed.append(f"{path.name}: the index could not be asked for yanked releases")
    return report


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> int:
    """Audit, print, and tell by the exit code."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).exists():
        sys.exit("usage: python -m deploy.audit PATH_OF_PIP_AUDIT")
    report = audit(sys.argv[1])
    print("\n".join(report.lines()))
    return report.code()


if __name__ == "__main__":
    sys.exit(main())
