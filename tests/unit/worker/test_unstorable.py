"""What cannot be stored is refused where it is made, and ends its run once: nothing is paid again for it."""

import asyncio
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functions.worker.model import call as model_client
from functions.worker.model import refusal
from functions.worker.model.progress import Progress
from functions.worker.model.sse import DEAF, Assembler
from functions.worker.run import runner
from shared.errors import DependencyDown, TooLarge, Unstorable
from shared.retry import ModelError
from shared.tasks import blobs, checkpoints, events, spend, store
from shared.tasks.model import Status, Task
from sluice import AgentResult

from .conftest import Install, World

UNSTORABLE = [float("nan"), datetime(2026, 1, 1, tzinfo=UTC), "half \ud83d", {1j: 1}]
NAMES = ["nan", "object", "surrogate", "key"]


def asked(key: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"[[sim key={key} words=2]] hello"}]


async def ask(ctx: Any) -> AgentResult:
    """An agent that records its one call before it ends."""
    reply = await ctx.model(ctx.asked())
    return AgentResult(reply.content)


def ended_at_once(world: World, task: Task, code: str) -> Task:
    """Work once; the run must have failed in that, by no crash and without another try."""
    assert world.work() == []
    row = store.get(task.task_id)
    assert row.error is not None, row
    assert (row.status, row.error["code"], row.crashes, row.attempt) == (Status.FAILED, code, 0, 0)
    assert spend.load("ann", row.day) == (row.usage.tokens, row.micro_usd)
    return row


@pytest.mark.parametrize("value", UNSTORABLE, ids=NAMES)
def test_an_event_is_refused_where_it_is_emitted(world: World, install: Install, value: Any) -> None:
    refused: list[str] = []

    async def run(ctx: Any) -> AgentResult:
        try:
            await ctx.emit("progress", {"score": value})
        except Unstorable as error:
            refused.append(error.message)
        reply = await ctx.model(asked("e"))
        return AgentResult(reply.content)

    install(run)
    task = world.submit("x")
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.calls, world.calls("e")["started"]) == (Status.COMPLETE, 1, 1)
    assert refused[0].startswith("event progress")


@pytest.mark.parametrize("kind", sorted(events.OWN))
def test_no_agent_tells_what_sluice_tells_itself(world: World, install: Install, kind: str) -> None:
    """A client that follows would take it for the run's end, or stumble over what it does not say."""

    async def run(ctx: Any) -> AgentResult:
        with pytest.raises(ValueError, match="Sluice's own"):
            await ctx.emit(kind, {})
        await ctx.emit(f"my_{kind}", {})
        return AgentResult("told")

    install(run)
    task = world.submit("x")
    world.work()
    assert store.get(task.task_id).status is Status.COMPLETE
    assert [event.type for event in events.read(task.task_id, 0).events] == [
        "queued", "started", f"my_{kind}", "complete"
    ]  # fmt: skip


def test_every_event_that_sluice_tells_is_its_own() -> None:
    root = Path(events.__file__).parents[2]
    code = "".join(path.read_text() for part in ("functions", "shared") for path in (root / part).rglob("*.py"))
    told = set(re.findall(r"(?:[^.\w]Event\(|log\.add\(|_piece\()\s*\"(\w+)\"", code))
    assert told | events.TERMINAL_EVENTS | events.WRITTEN == events.OWN


def test_an_event_that_nobody_refuses_ends_the_run(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        reply = await ctx.model(asked("f"))
        await ctx.emit("progress", {"at": datetime.now(UTC)})
        return AgentResult(reply.content)

    install(run)
    row = ended_at_once(world, world.submit("x"), "unstorable_value")
    assert (row.calls, world.calls("f")["started"]) == (1, 1)


def test_an_event_shows_what_it_was_when_emitted(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        state: dict[str, Any] = {"done": 1}
        await ctx.emit("progress", state)
        state["done"] = float("nan")
        return AgentResult("done")

    install(run)
    task = world.submit("x")
    world.work()
    assert [event.data for event in events.read(task.task_id, 0).events if event.type == "progress"] == [{"done": 1}]


def test_a_tools_arguments_are_looked_at_before_its_work(world: World, install: Install) -> None:
    """As the page for agents' authors has it: the arguments as the model wrote them, which JSON's reader took."""
    effects: list[str] = []

    async def pay() -> str:
        effects.append("paid")
        return "paid"

    async def run(ctx: Any) -> AgentResult:
        await ctx.tool("pay.1", pay, json.loads('{"amount": NaN}'))
        return AgentResult("done")

    install(run)
    row = ended_at_once(world, world.submit("x"), "unstorable_value")
    assert effects == []
    assert row.error is not None
    assert "the arguments of tool pay.1" in row.error["message"]


@pytest.mark.parametrize("kind", ["step", "tool"])
@pytest.mark.parametrize("value", UNSTORABLE, ids=NAMES)
def test_work_whose_result_cannot_be_recorded_is_not_done_again(
    world: World, install: Install, kind: str, value: Any
) -> None:
    effects: list[str] = []

    async def work() -> Any:
        effects.append("done")
        return {"value": value}

    async def run(ctx: Any) -> AgentResult:
        await (ctx.step("s", work) if kind == "step" else ctx.tool("s", work, {}))
        return AgentResult("done")

    install(run)
    ended_at_once(world, world.submit("x"), "unstorable_value")
    assert effects == ["done"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(TooLarge("fits nowhere"), "too_large"), (ValueError("no JSON"), "unstorable_value"),
     (RuntimeError("nobody knows"), "unstorable_value")],
)  # fmt: skip
def test_a_reply_that_cannot_be_recorded_is_charged_and_not_asked_for_again(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    def record(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(checkpoints, "record", record)
    install(ask)
    task = world.submit("[[sim key=u words=4]] hello")
    row = ended_at_once(world, task, code)
    assert world.calls("u")["started"] == 1
    assert row.usage.output_tokens == 4
    assert row.micro_usd > 0
    shown = [event.data["text"] for event in events.read(task.task_id, 0).events if event.type == "token"]
    assert len("".join(shown).split()) == 4  # what was streamed before is still told


def test_a_reply_that_an_outage_kept_from_being_recorded_is_charged(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.worker.record import persist

    install(ask)
    real, down = checkpoints.record, [True]

    def record(*args: Any, **kwargs: Any) -> None:
        if down:
            raise DependencyDown("dynamodb", retry_after_s=0.1)
        real(*args, **kwargs)

    monkeypatch.setattr(persist, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(checkpoints, "record", record)
    task = world.submit("[[sim key=o words=4]] hello")
    world.work()
    row = store.get(task.task_id)
    assert (row.status, row.reason, row.usage.output_tokens) == (Status.QUEUED, "dynamodb_down", 4)
    down.clear()
    world.work_until_quiet()
    row = store.get(task.task_id)
    assert (row.status, world.calls("o")["completed"], row.usage.output_tokens) == (Status.COMPLETE, 2, 8)


@pytest.mark.parametrize("value", UNSTORABLE, ids=NAMES)
def test_a_result_with_unstorable_data_fails_its_run(world: World, install: Install, value: Any) -> None:
    async def run(ctx: Any) -> AgentResult:
        await ctx.emit("progress", {"n": 1})
        return AgentResult("done", {"score": value})

    install(run)
    task = world.submit("x")
    ended_at_once(world, task, "unusable_result")
    log = events.read(task.task_id, 0).events
    assert [event.type for event in log] == ["queued", "started", "progress", "failed"]


def test_a_response_with_half_a_character_fails_its_run(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        return AgentResult("half \ud83d")

    install(run)
    ended_at_once(world, world.submit("x"), "unusable_result")


@pytest.mark.parametrize(
    ("result", "named"),
    [
        (None, "NoneType"),
        ("done", "str"),
        ({"response": "done"}, "dict"),
        (AgentResult(42), "text, and this one int"),  # type: ignore[arg-type]
        (AgentResult("done", [1]), "object, and this one list"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_result_fails_its_run_at_once_and_says_so(
    world: World, install: Install, result: Any, named: str
) -> None:
    async def run(ctx: Any) -> Any:
        return result

    install(run)
    row = ended_at_once(world, world.submit("x"), "unusable_result")
    assert row.error is not None
    assert named in row.error["message"]


@pytest.mark.parametrize("where", ["tool", "step", "agent"])
def test_code_that_would_end_the_process_ends_its_own_run_only(world: World, install: Install, where: str) -> None:
    async def leave() -> None:
        sys.exit(2)

    async def run(ctx: Any) -> AgentResult:
        if ctx.message == "stay":
            return AgentResult("done")
        match where:
            case "tool":
                await ctx.tool("parse", leave, {})
            case "step":
                await ctx.step("parse", leave)
            case _:
                await leave()
        return AgentResult("unreached")

    install(run)
    leaving, staying = world.submit("leave"), world.submit("stay")
    world.work_until_quiet()
    assert store.get(staying.task_id).status is Status.COMPLETE
    row = store.get(leaving.task_id)
    assert (row.status, row.crashes) == (Status.FAILED, 0)
    assert row.error is not None
    assert "sys.exit(2)" in row.error["message"]


def test_a_response_over_the_storable_size_fails_its_run(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(ctx: Any) -> AgentResult:
        return AgentResult("x" * 200_000)

    monkeypatch.setattr(blobs, "BLOB_BYTES", 100_000)
    install(run)
    ended_at_once(world, world.submit("x"), "too_large")


def test_events_that_fit_nowhere_do_not_keep_a_run_from_ending(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(ctx: Any) -> AgentResult:
        for n in range(6):
            await ctx.emit("page", {"n": n, "text": "x" * 60_000})
        raise TooLarge("the agent's own limit")

    monkeypatch.setattr(blobs, "BLOB_BYTES", 300_000)
    install(run)
    ended_at_once(world, world.submit("x"), "too_large")


def test_an_agents_error_with_half_a_character_is_told(
    world: World, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner._log, "disabled", True)  # pytest's workers cannot send what it would catch

    async def run(ctx: Any) -> AgentResult:
        raise RuntimeError("half \ud83d")

    install(run)
    task = world.submit("x")
    assert world.work() == []
    row = store.get(task.task_id)
    assert (row.status, row.attempt) == (Status.QUEUED, 1)
    assert row.last_error is not None
    assert row.last_error["message"] == "RuntimeError: half ?"


BODY = rb'{"error": {"message": "invalid input: \ud83d", "code": "x\ud83d"}}'


@pytest.mark.parametrize("status", [400, 500])
def test_a_refusal_with_half_a_character_is_told(world: World, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    async def call(*args: Any, **kwargs: Any) -> Any:
        raise refusal.read(BODY, status, {})

    monkeypatch.setattr(model_client, "call", call)
    task = world.submit("x")
    assert world.work() == []
    row = store.get(task.task_id)
    error = row.error if status == 400 else row.last_error
    assert error is not None
    assert error["message"] == "invalid input: ?"


def test_an_error_in_the_stream_with_half_a_character_is_told() -> None:
    assembler = Assembler("m", DEAF, Progress())
    with pytest.raises(ModelError) as caught:
        assembler.feed(b"data: " + BODY + b"\n")
    assert (caught.value.message, caught.value.code) == ("invalid input: ?", "x?")


def test_a_replys_model_and_end_can_be_stored() -> None:
    assembler = Assembler("m", DEAF, Progress())
    assembler.feed(
        rb'data: {"model": "m\ud83d", "choices": [{"finish_reason": "st\ud83d", "delta": {"content": "x"}}]}' + b"\n"
    )
    reply = assembler.reply()
    assert (reply.model, reply.finish_reason) == ("m?", "st?")


def test_a_steps_name_must_be_storable(world: World, install: Install) -> None:
    async def run(ctx: Any) -> AgentResult:
        await ctx.step("half \ud83d", lambda: asyncio.sleep(0))
        return AgentResult("done")

    install(run)
    ended_at_once(world, world.submit("x"), "unstorable_value")
