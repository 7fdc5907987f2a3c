"""The agents that README.md and docs/agents.md show run, and so does the test that they show."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from functions.worker import agents
from shared.tasks import checkpoints, settle, store
from sluice import AgentResult
from sluice.testing import world as worlds
from tests.docs import BLOCKS, Block

from .conftest import World

SHOWN = [block for block in BLOCKS if block.language == "python" and block.page in ("README.md", "docs/agents.md")]
AGENTS = [block for block in SHOWN if "async def run(" in block.code and "..." not in block.code]
TESTS = [block for block in SHOWN if "def test_" in block.code]


def run_of(block: Block) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(block.code, block.page, "exec"), names)
    return names


@pytest.mark.parametrize("block", AGENTS, ids=lambda block: f"{block.page}:{block.line}")
def test_an_agent_as_shown_answers(world: World, monkeypatch: pytest.MonkeyPatch, block: Block) -> None:
    monkeypatch.setattr(agents, "load", lambda name: SimpleNamespace(run=run_of(block)["run"]))
    says = '[[sim tool=count_words args={"text":"one two three"}]] hello' if "COUNT" in block.code else "hello"
    task = world.submit(says, agent="shown")
    world.work()
    result = settle.result_of(store.get(task.task_id))
    assert result is not None
    assert result["response"]
    steps = [(name, step.value) for (name, _), step in checkpoints.load(task.task_id).items() if name != "model"]
    if "COUNT" in block.code:
        assert steps == [("count_words.1", 3)]
    else:
        assert [name for name, _ in steps] == (["look-up"] if "look-up" in block.code else [])


def test_both_pages_show_one() -> None:
    assert {block.page for block in AGENTS} == {"README.md", "docs/agents.md"}
    assert len(TESTS) == 1


@pytest.mark.parametrize("name", re.findall(r"def (test_\w+)", TESTS[0].code))
def test_the_tests_as_shown_pass_for_an_agent_that_asks_once(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def ask(ctx: Any) -> AgentResult:
        return AgentResult((await ctx.model(ctx.asked())).content)

    with worlds.world(world, monkeypatch, {}) as given:
        given.agent("NAME", ask)
        run_of(TESTS[0])[name](given)
