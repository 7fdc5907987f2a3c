"""The examples of docs/api.md are run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack_fixture import Stack

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
EXAMPLES = re.findall(r"^```(sh|python)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("language", "code"), EXAMPLES, ids=[f"{kind}-{n}" for n, (kind, _) in enumerate(EXAMPLES, 1)])
def test_an_example_works(stack: Stack, language: str, code: str) -> None:
    command = ["sh", "-euc", code] if language == "sh" else [sys.executable, "-W", "error", "-c", code]
    environment = os.environ | {"SLUICE_URL": stack.api_url, "SLUICE_KEY": stack.keys["load"]}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()
    if language == "sh":
        assert '"status":"complete"' in ended.stdout
