"""What the fault campaign holds for right of each habit is what the real model client makes of it."""

from collections.abc import Callable

import pytest

from benchmarks.faults import habits as campaign
from localstack.llm import habits
from shared.retry import ModelError, classify

from .test_model_client import ask, run, use

__all__ = ["use"]


def test_the_campaign_knows_every_habit_that_it_can_meet() -> None:
    assert set(campaign.RIGHT) == set(habits.HABITS) - campaign.LEFT_OUT
    assert len(campaign.RIGHT) >= 80
    assert set(campaign.LEFT_OUT) <= set(habits.HABITS)


@pytest.mark.parametrize("name", campaign.NAMES)
def test_what_is_right_for_a_habit_is_what_the_client_does(simulator: str, use: Callable[..., None], name: str) -> None:
    use(f"{simulator}/v1")
    right = campaign.RIGHT[name]
    text = f"[[sim key=campaign-{name} words=3 habit={name}]] hi"
    try:
        reply = run(lambda: ask(text, max_output_tokens=1_000))
    except ModelError as error:
        verdict = classify(error)
        met = campaign.RETRIED if verdict.kind == "transient" else verdict.code
    else:
        assert reply.content or reply.tool_calls
        met = campaign.TAKEN
    assert met == right


async def kinds(directives: str) -> list[str]:
    met = []
    for _ in range(4):
        try:
            await ask(f"[[sim words=3 {directives}]] hi")
        except ModelError as error:
            met.append(classify(error).kind)
        else:
            met.append("taken")
    return met


def test_a_habit_is_met_after_some_calls_and_so_many_times(simulator: str, use: Callable[..., None]) -> None:
    use(f"{simulator}/v1")

    async def both() -> list[list[str]]:
        return [
            await kinds(f"key=once {campaign.directive('wait_overloaded', 1)}"),
            await kinds(f"key=ever {campaign.directive('shape_message', 1)}"),
        ]

    assert run(both) == [["taken", "transient", "taken", "taken"], ["taken", *["permanent"] * 3]]
