"""What a run sees of its conversation: whole exchanges, as many as its model takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared.limits import models
from shared.settings import settings
from shared.tasks import sessions, settle, store
from shared.tasks.model import Status
from tests.examples import examples
from tests.unit.worker.conftest import World
from tests.unit.worker.test_agents import Provider, finish, provider

__all__ = ["provider"]

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture
def context_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def set_to(tokens: int) -> None:
        monkeypatch.setenv("CONTEXT_TOKENS", json.dumps({"gpt-4o-mini": tokens}))
        settings.cache_clear()
        models.forget()

    yield set_to
    models.forget()


def shown(provider: Provider, request: int = -1) -> list[str]:
    return [one["content"] for one in provider.asked[request]["messages"][1:]]


def test_a_tool_loop_over_many_runs_is_seen_from_its_question_on(
    world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOOP_PAGE", examples(sessions.LOOP_PAGE, usual=4))
    rounds = examples(61, usual=26)  # more than are read at first, and than two pages
    provider.replies = [*([("weather", '{"city": "Oslo"}')] for _ in range(rounds)), "dry"]
    finish(world, "an older question", agent="chat", session_id="s", params={"tools": [TOOL]})
    outputs = json.dumps([{"role": "tool", "tool_call_id": "call_0", "content": "rain"}])
    for _ in range(rounds):
        finish(world, outputs, agent="chat", session_id="s", params={"tools": [TOOL], "input_json": True})
    roles = [one["role"] for one in provider.asked[-1]["messages"]]
    assert roles == ["system", "user", *["assistant", "tool"] * rounds]
    assert provider.asked[-1]["messages"][1]["content"] == "an older question"


def test_a_loop_longer_than_can_be_read_is_an_error_with_a_name(
    world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOOP_TURNS", 23)
    monkeypatch.setattr(sessions, "LOOP_PAGE", 2)
    provider.replies = [[("weather", "{}")]]
    finish(world, "question", agent="chat", session_id="s", params={"tools": [TOOL]})
    outputs = json.dumps([{"role": "tool", "tool_call_id": "call_0", "content": "rain"}])
    params = {"tools": [TOOL], "input_json": True}
    rows = [finish(world, outputs, agent="chat", session_id="s", params=params)[0] for _ in range(24)]
    assert {row.status for row in rows} == {Status.COMPLETE}
    task = world.submit(outputs, agent="chat", session_id="s", params=params)
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, row.error and row.error["code"]) == (Status.FAILED, "conversation_too_long")
    assert row.calls == 0


def test_history_is_fitted_to_the_models_context(world: World, provider: Provider, context_of: Any) -> None:
    context_of(8_000)
    provider.replies = ["a" * 2_000]
    for n in range(12):
        row, _ = finish(world, f"{n} " + "q" * 2_000, agent="chat", session_id="s")
        assert row.status is Status.COMPLETE
    seen = shown(provider)
    assert 1 < len(seen) < 23
    assert len(seen) % 2 == 1
    assert seen[0].split()[0] == str(11 - len(seen) // 2)
    assert len(json.dumps(provider.asked[-1])) / 3 < 8_000


def test_without_a_session_each_run_stands_for_itself(world: World, provider: Provider) -> None:
    provider.replies = ["a"]
    for n in range(3):
        row, _ = finish(world, f"question {n}", agent="chat", session_id="")
        assert shown(provider) == [f"question {n}"]
    assert sessions.read("ann", "", limit=5) == []
    result = settle.result_of(row)
    assert result is not None
    assert result["session_id"] is None


@pytest.mark.parametrize(("params", "most"), [({}, 1024), ({"dialect": "chat"}, 4096), ({"max_output_tokens": 9}, 9)])
def test_a_call_may_write_what_its_client_expects(
    world: World, provider: Provider, params: dict[str, Any], most: int
) -> None:
    provider.replies = ["yes"]
    finish(world, "hi", agent="chat", params=params)
    assert provider.asked[-1]["max_tokens"] == most
