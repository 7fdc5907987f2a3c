"""What a run leaves in the log: one line for its end, whose metrics CloudWatch can read."""

import json
from typing import Any

import pytest

from shared.settings import settings

from .conftest import World


def lines(capsys: pytest.CaptureFixture[str], message: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in found if line.get("message") == message]


@pytest.mark.parametrize("level", ["INFO", "WARNING"])
@pytest.mark.parametrize(
    ("directive", "status", "code"), [("words=3", "complete", None), ("fail=400", "failed", "invalid_request")]
)
def test_an_end_is_one_line_with_its_metrics(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    level: str, directive: str, status: str, code: str | None,
) -> None:  # fmt: skip
    monkeypatch.setenv("LOG_LEVEL", level)  # metrics are no chatter
    settings.cache_clear()
    task = world.submit(f"[[sim {directive}]] hello")
    world.work()
    (end,) = lines(capsys, "settled")
    assert (end["task_id"], end["lane"], end["status"], end["code"]) == (task.task_id, "normal", status, code)
    sets = {tuple(one["Dimensions"][0]): one for one in end["_aws"]["CloudWatchMetrics"]}
    assert set(sets) == {("lane", "status"), ("status",)}
    assert [one["Name"] for one in sets["status",]["Metrics"]] == ["Runs"]
    for one in sets.values():
        assert one["Namespace"] == settings().metrics_namespace
        assert all(isinstance(end[metric["Name"]], int | float) for metric in one["Metrics"])
        assert all(isinstance(end[name], str) for name in one["Dimensions"][0])
    assert (end["Runs"], end["ModelCalls"]) == (1, 1 if status == "complete" else 0)
    assert 0 <= end["RunSeconds"] < 60
