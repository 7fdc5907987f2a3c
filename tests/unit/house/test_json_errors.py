"""Whatever stands in a command's way, `--json` prints it as JSON, and the exit code says of what kind it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sluice.cli import main, where
from sluice.cli.console import AWAY, FAILED, USAGE


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        ("list --limit 99999", USAGE, "usage"),
        ("list --limit few", USAGE, "usage"),
        ("list --nonsense", USAGE, "usage"),
        ("nonsense", USAGE, "usage"),
        ("run", USAGE, "usage"),
        ("allow task_x", USAGE, "usage"),
        ("list", AWAY, "no_system"),
        ("schedules", AWAY, "no_system"),
        ("result task_x", AWAY, "no_system"),
    ],
)
def test_an_error_is_json(
    words: str,
    status: int,
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.sluice]\n")
    monkeypatch.chdir(tmp_path)
    for name in ("SLUICE_URL", "SLUICE_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert _run(f"{words} --json", monkeypatch) == status
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == code
    assert error["message"]


def test_an_address_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SLUICE_URL", "example.com")
    assert _run("list --json", monkeypatch) == FAILED
    assert "SLUICE_URL is 'example.com'" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_key_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SLUICE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SLUICE_KEY", "schlüssel")
    assert _run("list --json", monkeypatch) == FAILED
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "SLUICE_KEY" in message
    assert "schl" not in message


def test_a_system_that_does_not_answer_is_told_soon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(where, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setenv("SLUICE_URL", "http://127.0.0.1:1")
    assert _run("list --json", monkeypatch) == AWAY
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "unreachable"
    assert "cannot be reached" in error["message"]
    assert "SLUICE_URL" in error["message"]  # what to do about it


def _run(words: str, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr("sys.argv", ["sluice", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code
