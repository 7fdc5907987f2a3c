"""Log injection: nothing that a user writes makes a line of its own, for any reader of lines."""

from __future__ import annotations

import io
import json
import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.dead_letter.handler import handler as bury
from shared import metrics
from shared.logs import JsonFormatter, fields
from tests.unit.fuzz.hostile import CONTROLS, FEW, HALF_PAIR, texts

FORGED = '\n{"level": "ERROR", "message": "forged"}'


def line_of(text: str, *, error: bool = False) -> str:
    found = logging.LogRecord("sluice.x", logging.INFO, "f", 1, "said %s", (text,), None)
    found.task_id = text
    setattr(found, f"n{text}", [text])
    if error:
        try:
            raise ValueError(text)
        except ValueError as raised:
            found.exc_info = (type(raised), raised, raised.__traceback__)
    with fields(user=text):
        return JsonFormatter().format(found)


@FEW
@given(texts, st.booleans())
@example(CONTROLS, True)
@example(FORGED, True)
@example(HALF_PAIR, False)
def test_a_log_record_is_one_line_of_printable_json(text: str, error: bool) -> None:
    line = line_of(text, error=error)
    line.encode()
    assert line.splitlines() == [line]
    assert line.isprintable()
    assert json.loads(line)["task_id"] == text


@FEW
@given(texts)
@example(CONTROLS)
@example(HALF_PAIR)
def test_a_metric_is_one_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    capsys.readouterr()
    metrics.count("Refused", limit=text)
    line = capsys.readouterr().out
    assert line.splitlines(keepends=True) == [line]
    assert json.loads(line)["limit"] == text


def lines_are_json(out: str) -> None:
    for line in out.splitlines():
        assert isinstance(json.loads(line), dict), line


def test_a_dead_letter_makes_no_line_of_its_own(
    fake_aws: dict[str, str], redis_settings: str, logged: io.StringIO
) -> None:
    bury({"Records": [{"messageId": FORGED, "body": FORGED, "eventSourceARN": FORGED}]}, None)
    assert len(logged.getvalue().splitlines()) == 1
    lines_are_json(logged.getvalue())
