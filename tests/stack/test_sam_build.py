"""`sam build`, which a deployment on AWS begins with, makes what the local system builds without SAM's command."""

from __future__ import annotations

import os
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING

from deploy import bundle, paths
from localstack.environ import ROOT, bundle_platform
from localstack.sam_local import SAM

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack_fixture import Stack


def held(folder: Path, known: dict[tuple[int, int], str]) -> dict[str, str]:
    """Name the files below a folder, with digests of what they hold; ``known``: by their places on the disk.

    Bundles are links to the same files, mostly: seconds of a processor to read each of them.
    """
    found = {}
    for inner, _, names in os.walk(folder):
        for name in names:
            path = f"{inner}/{name}"
            about = os.stat(path)
            place = (about.st_dev, about.st_ino)
            if place not in known:
                with open(path, "rb") as file:
                    known[place] = sha256(file.read()).hexdigest()
            found[path.removeprefix(str(folder))] = known[place]
    return found


def test_sam_builds_the_bundles_that_the_local_system_runs(stack: Stack, tmp_path: Path) -> None:
    assert stack.outputs  # deployed, so built
    environment = {**os.environ, "BUNDLE_PLATFORM": bundle_platform(), "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(
        [str(SAM), "build", "--build-in-source", "--parallel", "--build-dir", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {*bundle.FUNCTIONS, "template.yaml"}
    known: dict[tuple[int, int], str] = {}
    for name in bundle.FUNCTIONS:
        assert held(tmp_path / name, known) == held(paths.BUILT / name, known), name
