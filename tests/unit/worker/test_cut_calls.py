"""Whatever was sent to a provider is charged: what it must have read, and what it wrote, shown or not."""

from __future__ import annotations

import time
from typing import Any

import pytest

from functions.worker.model import charges
from functions.worker.model.asked import Call
from functions.worker.model.phases import Phases
from functions.worker.model.progress import Progress
from shared.limits import prices
from shared.retry import ModelError
from shared.settings import settings
from shared.tasks import settle, spend, store
from shared.tasks.model import Status

from .conftest import World, meanwhile, until

CALL = Call("gpt-4o-mini", [{"role": "user", "content": "hello"}], None, None, 1_000)


def progress(*, sent_s_ago: float | None = 1.0, text: str = "", tool: str = "") -> Progress:
    made = Progress(prompt_tokens=50)
    made.tries.append(Phases())
    if sent_s_ago is not None:
        made.tries[0].sent_at = time.monotonic() - sent_s_ago
    for word in text.split():
        made.text(f"{word} ")
    for piece in tool.split():
        made.tool(piece)
    return made


@pytest.mark.parametrize(
    ("error", "charged"),
    [
        (None, True),  # the run was stopped
        (ModelError("", code="model_no_answer"), True),
        (ModelError("", code="model_stalled"), True),
        (ModelError("", status=None, code="provider_unreachable"), True),  # closed after it was asked
        (ModelError("", status=200, code="truncated_reply"), True),
        (ModelError("", status=200), True),  # malformed
        (ModelError("", status=504), True),  # the gateway gave up, what is behind it perhaps not
        (ModelError("", status=400), False),
        (ModelError("", status=401), False),
        (ModelError("", status=429), False),
        (ModelError("", status=500), False),
        (ModelError("", own_fault=True), False),
    ],
)
def test_what_was_sent_is_charged_unless_it_was_refused(error: ModelError | None, charged: bool) -> None:
    use = charges.of_cut("gpt-4o-mini", CALL, progress(), error)
    assert (use is not None and use.input_tokens == 50) == charged
    assert charges.of_cut("gpt-4o-mini", CALL, progress(sent_s_ago=None), error) is None


def test_what_was_written_is_charged_even_if_it_was_refused_then() -> None:
    use = charges.of_cut("gpt-4o-mini", CALL, progress(text="one two three"), ModelError("", status=500))
    assert use is not None
    assert use.output_tokens >= 3


def test_thoughts_that_are_not_shown_are_charged_by_the_time_they_may_have_taken() -> None:
    def hidden(model: str, made: Progress, **options: Any) -> int:
        call = Call(model, CALL.messages, None, None, 1_000, options=options)
        use = charges.of_cut(model, call, made, None)
        assert use is not None
        return use.output_tokens

    assert hidden("gpt-4o-mini", progress(sent_s_ago=5)) == 0
    assert 450 <= hidden("o1", progress(sent_s_ago=5)) <= 600
    assert 450 <= hidden("openai/gpt-5.1", progress(sent_s_ago=5)) <= 600
    assert 450 <= hidden("claude-sonnet-4-5", progress(sent_s_ago=5), reasoning_effort="high") <= 600
    assert hidden("o3", progress(sent_s_ago=5), reasoning_effort="none") == 0
    assert hidden("o1", progress(sent_s_ago=500)) == 1_000  # no more than it may write
    shown = progress(sent_s_ago=5)
    shown.reasoning("hm")
    assert hidden("o1", shown) <= 2


def test_a_call_cut_before_its_first_word_is_charged_for_what_it_read(world: World) -> None:
    words = " ".join(["word"] * 2_000)
    task = world.submit(f"[[sim key=b1 ttft=30 latency=40]] {words}", model="o1", params={"timeout_s": 4})
    world.work()
    row = store.get(task.task_id)
    assert (row.status, (row.error or {}).get("code")) == (Status.FAILED, "timeout")
    assert 2_000 <= row.usage.input_tokens <= 1.5 * 2_000
    assert row.usage.output_tokens > 0
    assert row.micro_usd == prices.cost_micro_usd("o1", row.input_tokens, row.output_tokens)
    assert spend.load("ann", row.day) == (row.usage.tokens, row.micro_usd)


def test_a_run_cancelled_while_its_model_thinks_pays_for_the_thoughts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEARTBEAT_SECONDS", "0.2")
    settings.cache_clear()
    task = world.submit("[[sim key=b3 ttft=30 latency=40]] hello", model="o1")

    def cancel() -> None:
        until(lambda: world.calls("b3")["started"])
        time.sleep(0.5)  # of thoughts
        settle.cancel(task.task_id, "ann")

    with meanwhile(cancel):
        world.work()
    row = store.get(task.task_id)
    assert row.status is Status.CANCELLED
    assert row.usage.input_tokens > 0
    assert row.usage.output_tokens > 0


def test_a_reply_of_tool_calls_that_is_cut_is_charged(world: World) -> None:
    args = '{"text":"' + " ".join(["word"] * 100) + '"}'
    task = world.submit(f"[[sim key=b2 tool=current_time args={args} fail=truncate]] go", agent="tools")
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert row.status is Status.FAILED
    tries = world.calls("b2")["started"]
    assert row.usage.input_tokens > 0
    assert row.usage.output_tokens >= tries * 45


def test_calls_of_a_worker_that_lost_its_task_are_charged_to_its_owners_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.worker.run import runner
    from shared.errors import LeaseLost

    async def lost(self: Any, decision: Any) -> None:
        raise LeaseLost("another has it")

    monkeypatch.setattr(runner._Run, "carry_out", lost)
    task = world.submit("[[sim key=lost fail=drop words=20]] hello")
    world.work()
    row = store.get(task.task_id)
    assert row.micro_usd == 0
    tokens, micro_usd = spend.load("ann", row.day)
    assert min(tokens, micro_usd) > 0
