"""What `sluice init` writes, and what it refuses."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from deploy.project import load
from deploy.reached import reached
from sluice.cli import app
from sluice.cli.origin import origin
from sluice.cli.scaffold import FILES, write
from sluice.client import Event, Run
from sluice.project import ProjectError


def test_a_new_project_is_whole(tmp_path: Path) -> None:
    root = write(tmp_path, "my-shop")
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} >= set(FILES.values())
    project = load(root)
    assert project.agents() == {"hello": "agents.hello"}
    assert project.stage("production").stack == "my-shop"
    assert tomllib.loads((root / "pyproject.toml").read_text())["project"]["name"] == "my-shop"
    assert reached(root, ["agents.hello"], set()).missing == []
    for path in root.rglob("*"):
        assert not path.is_file() or "REQUIREMENT" not in path.read_text(errors="replace"), path
    steps = yaml.safe_load((root / ".github/workflows/test.yml").read_text())["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps[-2:]] == ["sluice check", "python -m pytest"]
    compile((root / "tests/test_hello.py").read_text(), "test_hello.py", "exec")


@pytest.mark.parametrize("name", ["", "1shop", "a b", "../up", "a/b", "x" * 65, "-rf"])
def test_a_name_that_will_not_do_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProjectError, match="begins with a letter"):
        write(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine.txt").write_text("mine")
    with pytest.raises(ProjectError, match="not empty"):
        write(tmp_path, "shop")
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["mine.txt"]


def test_it_says_how_this_sluice_was_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "sluice-1-py3-none-any.whl"
    wheel.write_bytes(b"")
    assert origin({"url": wheel.as_uri(), "archive_info": {}}) == (f"wheels/{wheel.name}", wheel)
    git = {"url": "https://git.test/sluice", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    assert origin(git).requirement == "sluice @ git+https://git.test/sluice@abc"
    assert origin({"url": tmp_path.as_uri(), "dir_info": {}}).requirement == f"sluice @ {tmp_path.as_uri()}"
    assert origin(None).requirement.startswith("sluice==")


def test_commands_outside_of_a_project_say_so_in_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLUICE_URL", raising=False)
    for command in (["up"], ["down"], ["check"], ["run", "hello", "hi"], ["list"], ["logs"], ["key", "list"]):
        told = CliRunner().invoke(app, [*command, "--json"])
        assert told.exit_code == 1, command
        assert "sluice init NAME" in told.stdout, command
        assert told.stdout.startswith('{"error": {"code": "project"'), command


@pytest.mark.parametrize("command", ["list", "run hello hi", "logs", "key list"])
def test_commands_that_need_a_system_end_with_3_where_there_is_none(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write(tmp_path, "shop"))
    monkeypatch.delenv("SLUICE_URL", raising=False)
    told = CliRunner().invoke(app, [*command.split(), "--json"])
    assert (told.exit_code, json.loads(told.stdout)["error"]["code"]) == (3, "no_system")


def test_status_says_that_nothing_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, "shop"))
    told = CliRunner().invoke(app, ["status"])
    assert told.exit_code == 1
    assert "sluice up" in told.stdout


@pytest.mark.parametrize(
    "command", ["key make bob", "key create", "key list x", "logs nope", "nothing", "run", "up A=1 B"]
)
def test_what_is_not_understood_ends_with_2(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, "shop"))
    assert CliRunner().invoke(app, command.split()).exit_code == 2


def test_help_names_every_command() -> None:
    told = CliRunner().invoke(app, ["--help"]).stdout
    for name in [
        "init",
        "up",
        "down",
        "deploy",
        "operate",
        "run",
        "watch",
        "list",
        "logs",
        "key",
        "check",
        "--install-completion",
    ]:
        assert name in told


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"status": "waiting", "waiting_for": [{"kind": "approval", "name": "approval:1", "tool": "pay"}]}, "pay)"),
        ({"status": "queued", "reason": "running_cap"}, "queued (running_cap)"),
        ({"status": "complete", "reason": "retry"}, "complete\n"),
    ],
)
def test_a_run_that_does_not_go_on_is_shown_with_the_reason(
    told: dict[str, Any], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("sluice.client.Client.result", lambda *_, **__: Run.read({"task_id": "task_1", **told}))
    assert shown in CliRunner().invoke(app, ["result", "task_1"]).output


ASKS = [
    {"kind": "approval", "name": "approval:49763d504b17f1c6", "fingerprint": "49763d504b17f1c6", "tool": "pay"},
    {"kind": "signal", "name": "go"},
]
RUN = "task_01a2282b44b76b45c6d4f6678fbb016b"


def test_whoever_follows_a_run_that_asks_is_told_how_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def follow(*_: Any, **__: Any) -> Iterator[Event]:
        yield Event(3, "waiting", "2026-01-01T00:00:00.000Z", {"for": ASKS})
        raise KeyboardInterrupt

    monkeypatch.setenv("SLUICE_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("sluice.client.Client.follow", follow)
    told = CliRunner().invoke(app, ["watch", RUN])
    assert told.exit_code == 130
    for words in (f"sluice allow {RUN} 49763d504b17f1c6", f"sluice signal {RUN} go", f"sluice cancel {RUN}"):
        assert words in told.output


def test_what_is_typed_again_is_shown_whole_in_a_narrow_window(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {**ASKS[0], "task_id": RUN, "arguments": {"amount": 120}, "cost_usd": 0.0}
    monkeypatch.setenv("SLUICE_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("sluice.client.Client.approvals", lambda _: [asked])
    monkeypatch.setattr("sluice.cli.waits.out", Console(width=80, soft_wrap=True))
    told = CliRunner().invoke(app, ["approvals"])
    assert RUN in told.output
    assert "49763d504b17f1c6" in told.output
