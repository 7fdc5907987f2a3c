"""Logs for people: followed from now on, by run, tracebacks as tracebacks."""

import io
import json
import logging
import sys
from pathlib import Path

import pytest
from rich.console import Console

from localstack.logs import Reader, follow, print_lines
from shared.logs import JsonFormatter

RUN = "task_01a224270691aaac8f169a5a6d7b79e5"


def record(message: str, level: str = "INFO", **more: object) -> str:
    head = {"timestamp": "2026-11-28T21:54:29.944Z", "level": level, "message": message, "logger": "sluice.runner"}
    return json.dumps(head | more)


def shown(lines: list[str], **how: object) -> str:
    out = io.StringIO()
    print_lines(lines, Reader(**how), Console(file=out, width=200))  # type: ignore[arg-type]
    return out.getvalue()


def failed() -> str:
    try:
        raise RuntimeError("no such page")
    except RuntimeError:
        made = logging.LogRecord("sluice.runner", logging.WARNING, "", 1, "run failed", None, sys.exc_info())
        return JsonFormatter().format(made)


def test_a_traceback_is_printed_as_one() -> None:
    text = shown([failed()])
    lines = text.splitlines()
    assert "WARNING" in lines[0]
    assert "run failed" in lines[0]
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[-1] == "    RuntimeError: no such page"
    assert any(line.strip() == 'raise RuntimeError("no such page")' for line in lines)


def test_one_runs_lines_only() -> None:
    lines = [
        record("settled", task_id=RUN, code=None),
        record("settled", task_id="task_other"),
        record("request", path=f"/result/{RUN}"),
        "a line of nobody's",
    ]
    text = shown(lines, run=RUN)
    assert text.count("\n") == 2
    assert "task_other" not in text


@pytest.mark.parametrize(("level", "count"), [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)])
def test_levels(level: str, count: int) -> None:
    lines = [record(name, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR")]
    assert shown(lines, level=level).count("\n") == count


def test_what_the_local_aws_says_of_itself_is_left_out_and_what_breaks_is_not() -> None:
    lines = [
        "2026-11-28 22:10:26 INFO [lambda] ESM: Lambda processed 1 SQS messages",
        "START RequestId: 7 Version: $LATEST",
        '{"_aws": {"Timestamp": 1}, "Runs": 1}',
        "2026-11-28 22:10:26 ERROR [lambda] no such function",
        "Traceback (most recent call last):",
        '  File "handler.py", line 1, in <module>',
        "ModuleNotFoundError: No module named 'x'",
        "{not json",
    ]
    text = shown(lines)
    assert [line.strip() for line in text.splitlines()] == [line.strip() for line in lines[3:]]


def test_raw_lines_stay_json() -> None:
    lines = [record("one", task_id=RUN, markup="[red]"), "plain", record("two", "DEBUG")]
    text = shown(lines, raw=True)
    assert [json.loads(line)["message"] for line in text.splitlines()] == ["one"]
    assert json.loads(text)["markup"] == "[red]"


def test_a_forged_line_in_a_message_cannot_pass_for_another() -> None:
    text = shown([record("x\ny", task_id=RUN, note="a\nb [bold]c")])
    assert "a b [bold]c" in text


def test_it_follows_from_now_on_and_over_a_new_start(tmp_path: Path) -> None:
    file = tmp_path / "aws.log"
    file.write_text("old\n")
    seen: list[str] = []

    def append(text: str) -> None:
        with file.open("a") as opened:
            opened.write(text)

    steps = iter(
        [
            lambda: append("new\nha"),
            lambda: append("lf\n"),
            lambda: (file.unlink(), file.write_text("again\n")),
            lambda: None,
        ]
    )

    def stop() -> bool:
        step = next(steps, None)
        if step is not None:
            step()
        return step is None

    seen += follow([file, tmp_path / "none.log"], from_start=False, stop=stop)
    assert seen == ["new", "half", "again"]


def test_from_the_beginning_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "aws.log"
    file.write_text("old\nolder\n")
    assert list(follow([file], from_start=True, stop=lambda: True)) == ["old", "older"]
