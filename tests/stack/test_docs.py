"""Blocks marked `runnable` in README.md and docs/ are run as they stand there, at the root of the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localstack.environ import CREDENTIALS
from tests.docs import BLOCKS, ROOT, Block
from tests.stack import aws_command
from tests.stack_fixture import Stack, high_lane

RUNNABLE = [block for block in BLOCKS if block.run_by == "tests/stack/test_docs.py"]
SHELL, PYTHON = ([block for block in RUNNABLE if block.language == language] for language in ("bash", "python"))


@pytest.fixture(scope="session")
def command_line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `aws`, which is told the address of the local AWS: its `sqs` does not read AWS_ENDPOINT_URL."""
    folder = tmp_path_factory.mktemp("bin")
    python, script, address = ROOT / ".tools/awscli/bin/python", aws_command.__file__, folder / "socket"
    command = folder / "aws"
    command.write_text(
        f'#!/bin/sh\nexec {python} -IS {script} call {address} --endpoint-url "$AWS_ENDPOINT_URL" "$@"\n'
    )
    command.chmod(0o755)
    served = [python, script, "serve", address]
    with subprocess.Popen(served, stdout=subprocess.PIPE, text=True, env=os.environ | CREDENTIALS) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield folder
        server.terminate()


@pytest.mark.parametrize(
    "block",
    [pytest.param(one, marks=high_lane if "pause high" in one.code else ()) for one in SHELL],
    ids=[f"{one.page}:{one.line}" for one in SHELL],
)
def test_an_example_works(stack: Stack, block: Block, command_line: Path) -> None:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "OPENAI_", "REDIS_"))}
    environment = keep | CREDENTIALS | {
        "AWS_ENDPOINT_URL": stack.outputs["aws_endpoint_url"],
        "PATH": f"{command_line}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLUICE_URL": stack.api_url,
        "SLUICE_KEY": stack.keys["load"],
        "OPERATOR_KEY": stack.keys["operator"],
        "SLUICE_STATE": stack.outputs["state_dir"],
        "STATE": stack.outputs["state_dir"],
    }  # fmt: skip
    ended = subprocess.run(
        ["bash", "-euc", block.whole],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{block.page}:{block.line}")
def test_an_example_in_python_works(stack: Stack, block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_URL", stack.api_url)
    monkeypatch.setenv("SLUICE_KEY", stack.keys["load"])
    names: dict[str, Any] = {}
    exec(compile(block.code, block.page, "exec"), names)
    names["client"].close()
    assert names["response"].status == "completed"
    assert stack.result(names["response"].id.removeprefix("resp_"))["status"] == "complete"


def test_the_first_run_answers(stack: Stack) -> None:
    """It would also end well if its second call found no task."""
    (block,) = [block for block in SHELL if block.page == "docs/index.md" and "TASK=" in block.code]
    environment = {"PATH": os.environ["PATH"], "SLUICE_URL": stack.api_url, "SLUICE_KEY": stack.keys["load"]}
    ended = subprocess.run(["bash", "-euc", block.code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout)["status"] == "complete", ended.stdout
