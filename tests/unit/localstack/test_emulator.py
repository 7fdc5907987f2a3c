"""The emulator tells what goes wrong in a function, and leaves nothing running."""

from pathlib import Path

import psutil
import pytest

from localstack.emulator import binary, emulated
from localstack.environ import LocalError

FUNCTION = """
import os
def echo(event, context):
    print("seen", event)
    return {"event": event, "known": os.environ.get("KNOWN"), "left": context.get_remaining_time_in_millis()}
def fail(event, context):
    raise ValueError("no good")
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    try:
        binary()
    except LocalError as error:
        pytest.skip(str(error))
    (tmp_path / "code").mkdir()
    (tmp_path / "code/module.py").write_text(FUNCTION)
    (tmp_path / "code/lacking.py").write_text("import boto3\ndef handler(event, context): ...\n")
    return tmp_path / "code"


def test_a_function_answers_knows_its_variables_and_its_time(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAY", "of the developer")
    before = set(psutil.Process().children(recursive=True))  # other tests' systems
    with emulated("module.echo", bundle, {"KNOWN": "yes"}, tmp_path / "log", timeout_s=20) as function:
        answer = function.invoke({"n": 1})
        assert (answer["event"], answer["known"]) == ({"n": 1}, "yes")
        assert 10_000 < answer["left"] <= 20_000
        assert "seen" in function.printed()
        children = set(psutil.Process().children(recursive=True)) - before
        assert any("awslambdaric" in child.cmdline() for child in children)
    assert [child for child in children if child.is_running()] == []


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        ("module.fail", "ValueError: no good"),
        ("lacking.handler", "No module named 'boto3'"),
        ("module.none", "HandlerNotFound"),
    ],
)
def test_what_goes_wrong_is_told(bundle: Path, tmp_path: Path, handler: str, told: str) -> None:
    with (
        emulated(handler, bundle, {}, tmp_path / "log") as function,
        pytest.raises(LocalError, match=told),
    ):
        function.invoke({})
