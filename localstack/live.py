"""Makes each saved version of a project's agents live in the local system: `sluice up --watch`.

A version is a folder of its own that holds the agents and what they import, so nobody reads a file that is half
written. What cannot be imported is told, and the version before it stays.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

from deploy import agents, bundle, paths
from deploy.project import Project, ProjectError, load
from localstack import deployment
from localstack.environ import LocalError, bundle_platform
from localstack.system import System

POLL_SECONDS = 0.4
KEPT = 3
"""Versions kept: runs under way may still import from the one before."""

Seen = dict[str, tuple[int, int]]


def look(root: Path) -> Seen:
    """Return the project's files with their times and sizes."""
    found: Seen = {}
    for path in deployment.project_files(root):
        try:
            about = path.stat()
        except OSError:
            continue
        found[str(path)] = (about.st_mtime_ns, about.st_size)
    return found


def publish(project: Project, live: Path) -> dict[str, str]:
    """Write the project as it is now as the newest version; returns its agents.

    Raises:
        ProjectError: its agents import what is nowhere.
    """
    found = agents.gather(project, bundle.packages_of("worker", project))
    folder = live / f"{time.time_ns()}"
    agents.copy(project, found, folder)
    part = live / "version.json.part"
    own = project.agents()
    part.write_text(json.dumps({"folder": str(folder), "agents": own}))
    part.rename(live / "version.json")
    for old in sorted(path for path in live.iterdir() if path.is_dir())[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return own


def _follow(root: Path, live: Path) -> None:
    seen, known = look(root), load(root)
    print(f"watching {known.agents_folder}/; Ctrl-C ends it, and the system stays up", flush=True)
    names = set(known.agents())
    parent = os.getppid()
    while os.getppid() == parent:  # the command that started it may be ended without a word
        time.sleep(POLL_SECONDS)
        now = look(root)
        if now == seen:
            continue
        began = time.monotonic()
        changed = sorted({Path(path) for path in set(now.items()) ^ set(seen.items()) for path in path[:1]})
        seen = now
        try:
            project = load(root)
            found = set(publish(project, live))
            if project != known or found != names:  # the API must know of a new agent, the bundle of a new package
                System().up(project.local.parameters | deployment.parameters_from(os.environ.get("PARAMS", "")))
        except (ProjectError, LocalError) as error:
            print(f"not live: {error}", file=sys.stderr, flush=True)
            continue
        known, names = project, found
        shown = ", ".join(str(path.relative_to(root)) for path in changed)
        print(f"live after {time.monotonic() - began:.1f} s: {shown}", flush=True)


def main() -> int:
    """``once`` writes the first version, ``follow`` one after each change."""
    root = paths.project()
    if root is None:
        print("error: no project", file=sys.stderr)
        return 1
    live = Path(os.environ.get(deployment.LIVE) or paths.WORK / "live")
    live.mkdir(parents=True, exist_ok=True)
    os.environ["BUNDLE_PLATFORM"] = bundle_platform()
    try:
        if sys.argv[1:] == ["once"]:
            publish(load(root), live)
        else:
            _follow(root, live)
    except (ProjectError, LocalError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
