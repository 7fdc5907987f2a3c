"""A response that goes on from another sees the whole chain, and nothing of other branches."""

from __future__ import annotations

from typing import Any

import pytest

from shared.clock import iso
from shared.tasks import chains, sessions, store
from shared.tasks.model import Status, Task
from tests.examples import examples
from tests.unit.worker.conftest import World
from tests.unit.worker.test_agents import Provider, finish, provider
from tests.unit.worker.test_memory import context_of

__all__ = ["context_of", "provider"]


def say(world: World, text: str, before: Task | None = None, **params: Any) -> Task:
    """Run a response, as one that goes on from another."""
    asked = {"dialect": "responses", "instructions": "", **params}
    if before is not None:
        asked["previous_response_id"] = f"resp_{before.task_id}"
    more = {"session_id": before.session_id} if before is not None else {}
    task = world.submit(text, agent="chat", params=asked, **more)
    world.work_until_quiet()
    return store.get(task.task_id)


def seen(provider: Provider) -> list[str]:
    return [one["content"] for one in provider.asked[-1]["messages"]]


def test_all_of_a_long_chain_is_seen(world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LOOP_PAGE", examples(sessions.LOOP_PAGE, usual=10))
    long = examples(60, usual=23)  # more than two pages
    provider.replies = ["a"] * long
    task = begun(world)
    for n in range(1, long):
        task = say(world, f"q{n}", task)
    assert task.status is Status.COMPLETE
    assert [text for text in seen(provider) if text.startswith("q")] == [f"q{n}" for n in range(long)]


def begun(world: World) -> Task:
    """Begin a chain: its session is named like its first task."""
    row, _ = finish(world, "q0", agent="chat", session_id="s", params={"dialect": "responses", "instructions": ""})
    return row


def test_two_branches_do_not_see_each_other(world: World, provider: Provider) -> None:
    provider.replies = ["a"] * 5
    root = begun(world)
    left = say(world, "left", root)
    right = say(world, "right", root)
    assert seen(provider) == ["q0", "a", "right"]
    say(world, "left again", left)
    assert seen(provider) == ["q0", "a", "left", "a", "left again"]
    say(world, "right again", right)
    assert seen(provider) == ["q0", "a", "right", "a", "right again"]


def test_long_texts_stay_whole(world: World, provider: Provider) -> None:
    long = "x" * 40_000
    provider.replies = [long, "short"]
    row, _ = finish(world, long, agent="chat", session_id="s", params={"dialect": "responses", "instructions": ""})
    say(world, "and?", row)
    assert seen(provider) == [long, long, "and?"]


def test_a_chain_that_cannot_be_seen_whole_is_an_error(
    world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "CHAIN_TURNS", 3)
    provider.replies = ["a"] * 5
    task = begun(world)
    for n in range(1, 4):
        task = say(world, f"q{n}", task)
        assert task.status is Status.COMPLETE
    late = say(world, "q4", task)
    assert late.error is not None
    assert late.error["code"] == "conversation_too_long"


def test_a_chain_whose_middle_was_deleted_is_an_error_that_names_it(world: World, provider: Provider) -> None:
    provider.replies = ["a"] * 3
    first = begun(world)
    middle = say(world, "q1", first)
    last = say(world, "q2", middle)
    assert middle.session_id is not None
    assert middle.ended_at is not None
    sessions.delete_turn(middle.user, middle.session_id, at=iso(middle.ended_at), name=middle.task_id)
    late = say(world, "q3", last)
    assert late.error is not None
    assert late.error["code"] == "previous_response_not_found"
    assert middle.task_id in late.error["message"]


def test_a_chain_longer_than_the_context_is_an_error_unless_it_may_be_cut(
    world: World, provider: Provider, context_of: Any
) -> None:
    context_of(3000)
    provider.replies = ["a"] * 5
    row, _ = finish(
        world, "x" * 7000, agent="chat", session_id="s", params={"dialect": "responses", "instructions": ""}
    )
    refused = say(world, "and?", row)
    assert refused.error is not None
    assert refused.error["code"] == "conversation_too_long"
    assert say(world, "and?", row, echo={"truncation": "auto"}).status is Status.COMPLETE
    assert seen(provider) == ["and?"]


def test_what_many_responses_go_on_from_is_seen_behind_any_number_of_branches(
    world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "CHAIN_TURNS", 3)
    monkeypatch.setattr(sessions, "LOOP_PAGE", 2)
    provider.replies = ["a"] * 12
    root = begun(world)
    first = say(world, "first", root)
    for n in range(8):
        assert say(world, f"other {n}", root).status is Status.COMPLETE
    assert say(world, "and?", first).status is Status.COMPLETE
    assert seen(provider) == ["q0", "a", "first", "a", "and?"]


def test_of_a_chain_that_may_be_cut_the_newest_turns_are_seen(
    world: World, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "CHAIN_TURNS", 2)
    provider.replies = ["a"] * 4
    task = begun(world)
    for n in range(1, 4):
        task = say(world, f"q{n}", task, echo={"truncation": "auto"})
        assert task.status is Status.COMPLETE
    assert seen(provider) == ["q1", "a", "q2", "a", "q3"]
