"""The local streaming address: how many requests at once, and when it starts anew after a deployment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localstack import streaming


@pytest.mark.parametrize(
    ("variables", "each"),
    [
        ({"API_RESERVED_CONCURRENCY": "170"}, 85),
        ({"API_RESERVED_CONCURRENCY": "1"}, 1),
        ({"API_RESERVED_CONCURRENCY": "0"}, 200),
        ({}, 200),
    ],
)
def test_both_processes_share_what_is_reserved(variables: dict[str, str], each: int) -> None:
    assert streaming._at_once(variables) == each


DEPLOYED: dict[str, Any] = {
    "CodeSha256": "one",
    "Environment": {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/start"}},
    "Handler": "functions.api.app.handler",
    "Role": "arn:aws:iam::000000000000:role/streaming",
    "Timeout": 900,
    "LastModified": "2026-01-01",
}


@pytest.mark.parametrize(
    ("changed", "current"),
    [
        ({}, True),
        ({"LastModified": "2026-01-02"}, True),  # the stack was updated, this function was not
        ({"CodeSha256": "two"}, False),
        ({"Environment": {"Variables": {}}}, False),
        ({"Timeout": 60}, False),
    ],
)
def test_streams_are_cut_only_where_their_function_has_changed(
    changed: dict[str, Any], current: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = {"functions": {"streaming": "s"}, "aws_endpoint_url": "http://127.0.0.1:1"}
    monkeypatch.setattr(streaming, "_deployed", lambda _: DEPLOYED)
    monkeypatch.setattr(streaming, "BUILT", tmp_path / "built")
    assert not streaming.is_current(tmp_path, found)
    streaming.set_up(tmp_path, found)
    assert json.loads((tmp_path / "streaming.json").read_text())["seconds"] == 900
    monkeypatch.setattr(streaming, "_deployed", lambda _: DEPLOYED | changed)
    assert streaming.is_current(tmp_path, found) is current
