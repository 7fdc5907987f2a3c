"""Says what a project would fail with once it is deployed: ``python -m deploy.project_check STAGE [--json]``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from deploy import agents, bundle, paths
from deploy.change_set import DeployError
from deploy.nearby import bundle_platform
from deploy.project import LOCAL, Project, ProjectError, load
from deploy.stack import check_parameters, read_template


def complaints(root: Path, stage: str) -> tuple[Project | None, list[str]]:
    """Return the project and what is wrong with it, a sentence each."""
    try:
        project = load(root)
        parameters = project.stage(stage).parameters
        found = agents.gather(project, bundle.packages_of("worker", project))
    except ProjectError as error:
        return None, str(error).splitlines()
    del found
    try:
        check_parameters(read_template(paths.SYSTEM / "template.yaml"), dict(parameters))
    except DeployError as error:
        return project, [f"parameters of {stage}: {error}"]
    return project, []


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="check", description=__doc__)
    parser.add_argument("stage", nargs="?", default=LOCAL)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    root = paths.project() or Path.cwd()
    if asked.stage == LOCAL:  # with the packages that `sluice up` takes, not with others beside them
        os.environ["BUNDLE_PLATFORM"] = bundle_platform()
    project, wrong = complaints(root, asked.stage)
    names = sorted(project.agents()) if project else []
    if asked.json:
        print(json.dumps({"ok": not wrong, "agents": names, "complaints": wrong}))
    else:
        for each in wrong:
            print(f"error: {each}", file=sys.stderr)
        if not wrong:
            print(f"nothing to complain about; agents: {', '.join(names)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
