"""A guarded system ends with whoever wanted it, even if that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from localstack.environ import ROOT
from localstack.guard import guarded
from localstack.processes import Part, minimal_environment

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
HOLDER = f"""
import sys, time
from pathlib import Path
from localstack.guard import guarded
from localstack.processes import Part, minimal_environment
with guarded(Path(sys.argv[1])) as system:
    system.processes.start(Part("aws", {SLEEPER!r}, minimal_environment(), None, lambda: True))
    print(system.processes.running("aws").pid, flush=True)
    time.sleep(600)
"""


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_it_ends_with_its_block(tmp_path: Path) -> None:
    with guarded(tmp_path) as system:
        system.processes.start(Part("aws", SLEEPER, minimal_environment(), None, lambda: True))
        process = system.processes.running("aws")
        assert process is not None
    assert gone(process.pid)


def test_it_ends_with_its_killed_holder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert not gone(pid)
        os.kill(holder.pid, signal.SIGKILL)
    give_up = time.monotonic() + 60
    while not gone(pid):
        assert time.monotonic() < give_up
        time.sleep(0.05)
