"""`sluice schedules` in front of the real API."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from sluice.cli import app, schedules
from sluice.client import Client
from tests.unit.api.conftest import Api


@pytest.fixture
def command(api: Api, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what runs a command: its exit code, and what it printed."""

    def forward(request: httpx2.Request) -> httpx2.Response:
        answer = api.client.request(
            request.method,
            request.url.path,
            params=dict(request.url.params),
            content=request.content,
            headers=dict(request.headers),
        )
        return httpx2.Response(answer.status_code, content=answer.content, headers=dict(answer.headers))

    def client(user: str) -> Client:
        return Client("http://api.test", api.keys[user], patience_s=0, transport=httpx2.MockTransport(forward))

    monkeypatch.setattr(schedules, "client", client)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["schedules", *arguments])
        return result.exit_code, result.stdout

    return run


def said(command: Any, *arguments: str) -> Any:
    code, text = command(*arguments, "--json")
    assert code == 0, text
    return json.loads(text)


def test_a_schedule_is_made_listed_paused_resumed_and_removed(command: Any) -> None:
    made = said(command, "add", "Sum up the news.", "--cron", "0 8 * * mon-fri", "--tz", "Europe/Berlin", "--name", "n")
    assert (made["run"], made["cron"], made["timezone"], made["name"]) == (
        *({"message": "Sum up the news."}, "0 8 * * mon-fri", "Europe/Berlin", "n"),
    )
    one = made["schedule_id"]
    assert [each["schedule_id"] for each in said(command, "list")["schedules"]] == [one]
    assert said(command)["schedules"] == said(command, "list")["schedules"]
    assert said(command, "pause", one)["status"] == "paused"
    assert said(command, "resume", one)["status"] == "active"
    code, text = command("list")
    assert code == 0
    assert one in text
    assert said(command, "list", "--as", "other") == {"schedules": []}
    assert said(command, "rm", one) == {"schedule_id": one, "deleted": True}
    assert said(command, "list") == {"schedules": []}


def test_a_one_off_is_made(command: Any) -> None:
    made = said(
        command, "add", "hi", "--at", "2031-07-01T08:00:00Z", "--agent", "tools", "--overlap", "queue", "--paused"
    )
    assert (made["at"], made["run"]["agent"], made["overlap"], made["status"]) == (
        *("2031-07-01T08:00:00.000Z", "tools", "queue", "paused"),
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["add", "hi"], 2),
        (["add", "hi", "--cron", "* * * * *", "--at", "2031-07-01T08:00:00Z"], 2),
        (["add", "hi", "--cron", "no cron"], 4),
        (["pause", "sch_no"], 4),
        (["rm", "sch_no"], 4),
    ],
)
def test_what_is_wrong_is_told_by_the_exit_code(command: Any, arguments: list[str], code: int) -> None:
    assert command(*arguments)[0] == code
